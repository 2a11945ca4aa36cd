"""What leaves the site with a message: mail."""
