from django.utils import timezone

from maintenance import notice as notices


def notice(request):
    notice = notices.read()
    if notice:
        notice["begun"] = notice["start"] <= timezone.now()
    return {"maintenance": notice}
