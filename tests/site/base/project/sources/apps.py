from django.apps import AppConfig


class SourcesConfig(AppConfig):
    name = "sources"

    def ready(self):
        from sources import cleanup  # noqa: F401  (connects its receiver)
