"""A strict Content Security Policy, to show that nothing here needs a looser one."""

POLICY = "default-src 'self'"


class StrictPolicyMiddleware:
    """Sets the header; Django has a middleware of its own for this from 6.0 on."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response
