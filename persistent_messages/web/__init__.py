"""Requests and responses: page or fragment, out-of-band parts, decorators, redirects."""
