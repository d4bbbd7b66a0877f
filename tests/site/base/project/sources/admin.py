from django.contrib import admin

from sources.models import Annotation, Image, Label, Source

admin.site.register([Annotation, Image, Label, Source])
