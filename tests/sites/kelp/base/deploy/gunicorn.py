"""What the site itself wants of gunicorn."""

workers = 1
threads = 2
limit_request_line = 1024
daemon = True  # as on the developers' old server, where no systemd was
