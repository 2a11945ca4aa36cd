"""A strict Content Security Policy, to show that the app works with it."""

POLICY = "default-src 'self'"


class StrictPolicyMiddleware:
    """Sets the header. Django has its own middleware for this since version 6.0."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response
