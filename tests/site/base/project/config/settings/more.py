"""What a version adds to the applications of all."""

MORE_APPS = []
