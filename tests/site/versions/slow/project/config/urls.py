from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path
from django.views.generic import TemplateView

from config.health import health
from config.slow import slow

urlpatterns = [
    path("", TemplateView.as_view(template_name="home.html"), name="home"),
    path("health/", health, name="health"),
    path("slow/", slow),
    path("admin/", admin.site.urls),
    path("accounts/", include("accounts.urls")),
    path("", include("sources.urls")),
    # Only with DEBUG: elsewhere nginx serves media.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
