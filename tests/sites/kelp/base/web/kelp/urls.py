from django.contrib import admin
from django.urls import path

from kelp.views import front, status

urlpatterns = [path("", front), path("status/", status), path("admin/", admin.site.urls)]
