import time


def site_version(get_response):
    """Start well, and never answer."""

    def middleware(request):
        time.sleep(3600)
        return get_response(request)

    return middleware
