from config.version import VERSION


def site_version(get_response):
    """Name the version in a header: a probe can tell who answered, whatever the page."""

    def middleware(request):
        response = get_response(request)
        response["X-Site-Version"] = VERSION
        return response

    return middleware
