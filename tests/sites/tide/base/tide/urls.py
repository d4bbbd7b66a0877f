from django.contrib import admin
from django.urls import path

from tide.views import front

urlpatterns = [path("", front), path("admin/", admin.site.urls)]
