"""The site's users: whether they exist, their names, how to look them up."""
