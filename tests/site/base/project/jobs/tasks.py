import time

from huey.contrib.djhuey import task

from jobs import log


@task(context=True)
def work(seconds, task=None):
    """Take a while, and leave word of who began and who ended it."""
    log.write(task.id, "begun")
    time.sleep(seconds)
    log.write(task.id, "done")
