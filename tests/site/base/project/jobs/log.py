"""What became of each job, and which release did it; kept by the broker."""

import os

from huey.contrib.djhuey import HUEY

from config.version import VERSION


def write(name, state):
    release = os.environ.get("RELEASE", "").partition(".")[0]
    HUEY.put(f"log-{name}", {"state": state, "release": release, "version": VERSION})


def read(name):
    return HUEY.get(f"log-{name}", peek=True) or {"state": "unknown"}
