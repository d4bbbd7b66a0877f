import logging

from django.db import DatabaseError, connection
from django.http import JsonResponse
from django.views.decorators.cache import never_cache

from config.version import VERSION

logger = logging.getLogger(__name__)


@never_cache
def health(request):
    """Answer for the whole chain down to the database, whose words stay in the log."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        logger.exception("The database does not answer")
        return JsonResponse({"version": VERSION, "database": "error"}, status=503)
    return JsonResponse({"version": VERSION, "database": "ok"})
