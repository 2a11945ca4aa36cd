"""The stream of events that tells the open pages of a user that something changed."""
