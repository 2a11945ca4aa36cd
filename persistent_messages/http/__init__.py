"""What a request says of its reader, and a response to caches and cookies."""
