"""The stream of events that notifies the open pages of a user of changes."""
