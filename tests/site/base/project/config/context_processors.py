from config.version import VERSION


def site_version(request):
    return {"site_version": VERSION}
