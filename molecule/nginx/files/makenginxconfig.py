"""Write the site's own configuration, as a management command of its own would."""

from pathlib import Path

Path("/srv/reef/own.conf").write_text("""server {
    listen 80;
    server_name own.test;
    location / {
        return 200 "generated";
    }
    location /echo {
        proxy_pass http://shore;
        proxy_set_header X-Forwarded-Proto $visitor_scheme;
        add_header X-Request-ID $request_id;
    }
}
""")
