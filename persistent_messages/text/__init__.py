"""Texts as such: as plain text, folded for a search, cut to a length."""
