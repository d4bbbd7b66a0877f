import json

from django.core.exceptions import ImproperlyConfigured


class Secrets(dict):
    """The values that belong to one server, read from a JSON file.

    Without the file it is empty: a development server needs none.
    """

    def __init__(self, path):
        self.path = path
        try:
            super().__init__(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            super().__init__()
        except OSError as error:
            raise ImproperlyConfigured(f"{path} cannot be read: {error.strerror}.") from error
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"{path} is not a JSON object: {error}.") from error

    def require(self, keys):
        """Name all that is missing at once, so that one correction is enough."""
        missing = [key for key in keys if self.get(key) in (None, "")]
        if missing:
            absent = "" if self.path.exists() else ", which does not exist"
            raise ImproperlyConfigured(f"{', '.join(missing)} must be set in {self.path}{absent}.")
