"""A site's own code imports what it works with: arrays, models, a cloud's storage, a queue."""

import boto3  # noqa: F401
import bs4  # noqa: F401
import celery  # noqa: F401
import numpy  # noqa: F401
import sklearn.linear_model  # noqa: F401
