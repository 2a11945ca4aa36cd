"""Delivery of messages outside the site: mail."""
