"""Code that the site shares with others, beside its project."""

VERSION = "v1"
