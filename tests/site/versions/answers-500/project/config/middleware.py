def site_version(get_response):
    """Fail at every request, and at nothing before it."""

    def middleware(request):
        raise RuntimeError("This version answers every request with an error.")

    return middleware
