"""What a page of the inbox shows, actions on all of it, and what users take away."""
