import time

from django.http import HttpResponse

from config.version import VERSION


def slow(request):
    """Take ?seconds= to answer: a long request to interrupt, or to wait for."""
    seconds = float(request.GET.get("seconds", 3))
    time.sleep(seconds)
    return HttpResponse(f"{VERSION} answered after {seconds:g} s\n", content_type="text/plain")
