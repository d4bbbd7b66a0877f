"""What a site has gathered in some years."""

MORE_APPS = [
    "easy_thumbnails",
    "guardian",
    "markdownx",
    "rest_framework",
    "reversion",
    "storages",
    "analysis",
]
