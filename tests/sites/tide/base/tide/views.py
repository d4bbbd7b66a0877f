from django.shortcuts import render

from tide.models import Reading
from tide.version import VERSION


def front(request):
    """Show how many readings there are; the page itself is found in the working directory."""
    return render(request, "front.html", {"version": VERSION, "readings": Reading.objects.count()})
