"""When does maintenance start? All times are in Django's time zone."""

from datetime import datetime, timedelta

from django.utils import timezone


def start_time(time=None, date=None):
    """The start as an aware datetime; ValueError if `time` or `date` cannot be understood."""
    now = timezone.localtime()
    if not time:
        # On a multiple of five, and far enough to finish what one is doing
        return now.replace(second=0, microsecond=0) + timedelta(minutes=25 - now.minute % 5)
    if date:
        return timezone.make_aware(datetime.strptime(f"{date} {time}", "%Y-%m-%d %H:%M"))
    clock = datetime.strptime(time, "%H:%M").time()
    today = timezone.make_aware(datetime.combine(now.date(), clock))
    if today > now:
        return today
    return timezone.make_aware(datetime.combine(now.date() + timedelta(days=1), clock))
