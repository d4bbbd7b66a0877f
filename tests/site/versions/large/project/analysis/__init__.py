"""A site's own code imports what it works with: arrays, models, a cloud's storage, a queue."""

import boto3
import bs4
import celery
import numpy
import sklearn.linear_model

LIBRARIES = (boto3, bs4, celery, numpy, sklearn.linear_model)
