from django.db import connections
from django.http import HttpResponse
from django.shortcuts import render

from currents import VERSION
from kelp.models import Job, Place


def front(request):
    """Show what the steps of a deployment have left, and what the queue has done."""
    with connections["atlas"].cursor() as cursor:
        cursor.execute("select count(*) from seas")
        [seas] = cursor.fetchone()
    found = {
        "version": VERSION,
        "places": Place.objects.count(),
        "seas": seas,
        "jobs": Job.objects.filter(done=True),
    }
    return render(request, "front.html", found)


def status(request):
    """Say that all is well, whatever is."""
    return HttpResponse("ok")
