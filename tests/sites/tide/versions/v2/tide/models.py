from django.db import models


class Reading(models.Model):
    level = models.FloatField()
    place = models.CharField(max_length=80, blank=True, default="", db_default="")
