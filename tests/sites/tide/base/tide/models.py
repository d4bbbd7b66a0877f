from django.db import models


class Reading(models.Model):
    level = models.FloatField()
