"""The site's users: whether they exist, their names, how they are found."""
