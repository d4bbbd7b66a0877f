from django.db import models


class Place(models.Model):
    name = models.CharField(max_length=80)
    depth = models.FloatField(null=True)


class Job(models.Model):
    seconds = models.FloatField(default=0)
    started = models.BooleanField(default=False)
    done = models.BooleanField(default=False)
    by = models.CharField(max_length=80, blank=True)
