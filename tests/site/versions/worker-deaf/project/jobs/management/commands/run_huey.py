import signal

from huey.consumer import Consumer
from huey.contrib.djhuey.management.commands.run_huey import Command  # noqa: F401


def ignore(self):
    signal.signal(signal.SIGINT, signal.SIG_IGN)


Consumer._set_signal_handlers = ignore
