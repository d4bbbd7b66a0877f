# Make this bare Debian an ACME CA: Pebble, and the DNS that it asks. Prints the certificate to trust its API by.
# acme.sh ADDRESS: the address that every name resolves to, until /etc/pebble/env or the DNS is told otherwise.
# shellcheck shell=bash
set -euo pipefail
address=$1
if ! command -v pebble >/dev/null; then
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends pebble openssl curl >/dev/null 2>&1
fi
mkdir -p /etc/pebble
cd /etc/pebble

# The API has a CA of its own, whose name the server finds in its /etc/hosts
if [ ! -e cert.pem ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj '/CN=The lab' \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign \
    -keyout ca.key -out ca.pem 2>/dev/null
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj '/CN=acme.test' \
    -CA ca.pem -CAkey ca.key -addext subjectAltName=DNS:acme.test,DNS:localhost -addext basicConstraints=CA:FALSE \
    -keyout key.pem -out cert.pem 2>/dev/null
fi

# env is where the tests change Pebble's mind. Nonces are not rejected, so that what fails fails by intent.
[ -e env ] || echo 'PEBBLE_WFE_NONCEREJECT=0' >env
cat >config.json <<'JSON'
{"pebble": {
  "listenAddress": "0.0.0.0:14000", "managementListenAddress": "0.0.0.0:15000",
  "certificate": "/etc/pebble/cert.pem", "privateKey": "/etc/pebble/key.pem",
  "httpPort": 80, "tlsPort": 443, "certificateValidityPeriod": 7776000, "domainBlocklist": ["refused.test"]
}}
JSON
cat >/etc/systemd/system/pebble-dns.service <<UNIT
[Service]
ExecStart=/usr/bin/pebble-challtestsrv -dns01 127.0.0.1:8053 -http01 "" -https01 "" -tlsalpn01 "" -doh "" -defaultIPv4 $address -defaultIPv6 ""
[Install]
WantedBy=multi-user.target
UNIT
cat >/etc/systemd/system/pebble.service <<'UNIT'
[Unit]
Wants=pebble-dns.service
[Service]
Environment=PEBBLE_VA_NOSLEEP=1 PEBBLE_AUTHZREUSE=0
EnvironmentFile=/etc/pebble/env
ExecStart=/usr/bin/pebble -config /etc/pebble/config.json -dnsserver 127.0.0.1:8053
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl --quiet enable pebble pebble-dns
systemctl restart pebble-dns pebble
for _try in $(seq 100); do
  if curl --silent --cacert ca.pem https://localhost:14000/dir >/dev/null; then cat ca.pem; exit; fi
  sleep 0.2
done
journalctl --no-pager --unit pebble >&2
exit 1
