"""User models of other sites; see `tests.test_user_models`."""
