"""Facts about a request, and the cache headers and cookies of a response."""
