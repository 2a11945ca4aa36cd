"""User models as other sites have them, see `tests.test_user_models`."""
