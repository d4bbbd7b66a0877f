"""A repository that stands in for nginx.org, and all that can be wrong with one.

repository serve                     make keys, certificate, packages and repository, and serve them as https://nginx.org
repository publish SUITE [OPTION…]   sign a suite anew, without what was wrong; see the options
repository spoil SUITE FILE          change a file of a suite that is signed: InRelease, Packages or deb
repository keys FILE NAME…           write a file of keys, such as signing.key old new
repository fingerprints NAME…        print them
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import re
import shutil
import ssl
import subprocess
import tempfile
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path("/srv/nginx.org")
KEYS = ROOT / "keys"
DEBIAN = ROOT / "packages" / "debian"
DEBS = Path("/srv/debs")
TLS = Path("/srv/tls")
SUITES = ("bookworm", "trixie")
VERSIONS = ("1.30.4", "1.30.5")
DAY = 86400
# As on nginx.org: three keys in one file, of which one signs and one will expire
PINNED = ("signing", "second", "third")


def sh(*argv: str, cwd: Path | None = None) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, cwd=cwd).stdout


def gpg(*argv: str, at: float = 0) -> str:
    """Run gpg, with its clock at another time if wanted."""
    clock = ["--faked-system-time", str(int(at))] if at else []
    return sh("gpg", "--batch", "--quiet", "--homedir", "/srv/gnupg", *clock, *argv)


def make_key(name: str, kind: str = "rsa2048", expires: str = "never", at: float = 0) -> None:
    gpg("--passphrase", "", "--allow-weak-key-signatures", "--quick-generate-key", name, kind, "sign", expires, at=at)


def fingerprint(name: str) -> str:
    listing = gpg("--with-colons", "--list-keys", f"={name}")
    return str(re.findall(r"(?m)^fpr:+([0-9A-F]+):", listing)[0])


def write_keys(path: Path, *names: str) -> None:
    """Write each key as a block of its own, as nginx.org does."""
    path.write_text("".join(gpg("--armor", "--export", fingerprint(name)) for name in names))


def make_keys() -> None:
    Path("/srv/gnupg").mkdir(mode=0o700)
    now = time.time()
    make_key("signing")
    make_key("second", "rsa3072")
    make_key("third", "ed25519", "1y")
    make_key("evil")
    make_key("weak", "rsa1024")
    make_key("closing", expires="30d")
    make_key("expired", expires="30d", at=now - 60 * DAY)
    # A copy of a key that was given more time afterwards, as nginx.org's was in 2024
    make_key("renewed", expires="30d", at=now - 60 * DAY)
    write_keys(KEYS / "stale.key", "renewed")
    gpg("--passphrase", "", "--quick-set-expire", fingerprint("renewed"), "2y")
    write_keys(KEYS / "nginx_signing.key", *PINNED)


def make_certificate() -> None:
    TLS.mkdir()
    for name, subject, extra in (
        ("ca", "/CN=Lab of nginx_origin", ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]),
        ("nginx", "/CN=nginx.org", ["-addext", "subjectAltName=DNS:nginx.org", "-CA", "ca.pem", "-CAkey", "ca.key"]),
    ):
        sh(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "3650", "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.pem", *extra,
            *(["-addext", "basicConstraints=critical,CA:FALSE"] if name != "ca" else []), cwd=TLS,
        )  # fmt: skip


NGINX_CONF = """user nginx;
worker_processes auto;
pid /run/nginx.pid;
events {}
http {
    include /etc/nginx/mime.types;
    include /etc/nginx/conf.d/*.conf;
}
"""
DEFAULT_CONF = """server {
    listen 80;
    server_name localhost;
    location / {
        root /usr/share/nginx/html;
    }
}
"""
UNIT = """[Unit]
Description=nginx, as nginx.org's package has it
After=network-online.target

[Service]
Type=forking
PIDFile=/run/nginx.pid
ExecStart=/usr/sbin/nginx -c /etc/nginx/nginx.conf
ExecReload=/bin/kill -s HUP $MAINPID
ExecStop=/bin/kill -s TERM $MAINPID

[Install]
WantedBy=multi-user.target
"""
PREINST = """#!/bin/sh
set -e
getent group nginx >/dev/null || groupadd --system nginx
getent passwd nginx >/dev/null || useradd --system --gid nginx --home-dir /nonexistent --shell /usr/sbin/nologin nginx
"""
# Restarts by the policy's leave, and starts without asking
POSTINST = """#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
    deb-systemd-helper unmask nginx.service >/dev/null || true
    deb-systemd-helper enable nginx.service >/dev/null || true
    systemctl daemon-reload
    [ -z "$2" ] || deb-systemd-invoke restart nginx.service >/dev/null || true
    systemctl start nginx || true
fi
"""
PRERM = """#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop nginx.service >/dev/null || true
fi
"""


def make_package(suite: str, version: str) -> None:
    """Make nginx.org's package of a Debian's nginx: other files around the program, which tells the new version."""
    debs = DEBS / suite
    nginx, common = next(debs.glob("nginx_*.deb")), next(debs.glob("nginx-common_*.deb"))
    with tempfile.TemporaryDirectory() as parent:
        tree, other = Path(parent, "nginx"), Path(parent, "common")
        sh("dpkg-deb", "--extract", str(nginx), str(tree))
        sh("dpkg-deb", "--extract", str(common), str(other))
        tree.chmod(0o755)
        program = tree / "usr/sbin/nginx"
        said = re.findall(rb"nginx/(\d+\.\d+\.\d+)", program.read_bytes())[0]
        assert len(said) == len(version)
        program.write_bytes(program.read_bytes().replace(b"nginx/" + said, b"nginx/" + version.encode()))
        shutil.rmtree(tree / "usr/share", ignore_errors=True)
        files = {
            "etc/nginx/nginx.conf": NGINX_CONF,
            "etc/nginx/conf.d/default.conf": DEFAULT_CONF,
            "etc/nginx/mime.types": (other / "etc/nginx/mime.types").read_text(),
            "usr/share/nginx/html/index.html": "<h1>Welcome to nginx!</h1>\n",
            "usr/lib/systemd/system/nginx.service": UNIT,
        }
        for name, content in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(content)
        for name in ("var/cache/nginx", "var/log/nginx"):
            (tree / name).mkdir(parents=True)
        control = sh("dpkg-deb", "--field", str(nginx), "Depends", "Architecture")
        depends = [each for each in re.findall(r"Depends: (.*)", control)[0].split(", ") if "nginx-common" not in each]
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(
            f"Package: nginx\nVersion: {version}-1~{suite}\nSection: httpd\nPriority: optional\n"
            f"Maintainer: The lab <root@localhost>\nDepends: {', '.join(depends)}\n"
            f"{re.findall(r'Architecture: .*', control)[0]}\nProvides: httpd\n"
            "Conflicts: nginx-common, nginx-core\nReplaces: nginx-common, nginx-core\n"
            "Description: stands in for nginx.org\n"
        )
        (tree / "DEBIAN/conffiles").write_text("".join(f"/{name}\n" for name in files if name.startswith("etc/")))
        for name, script in (("preinst", PREINST), ("postinst", POSTINST), ("prerm", PRERM)):
            (tree / "DEBIAN" / name).write_text(script)
            (tree / "DEBIAN" / name).chmod(0o755)
        pool = DEBIAN / "pool" / suite
        pool.mkdir(parents=True, exist_ok=True)
        sh("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(pool))


def source_stanzas(suite: str) -> str:
    """List sources, so that deb-src finds an index; a file stands in for what is in them."""
    stanzas = ""
    for version in VERSIONS:
        name = f"nginx_{version}.orig.tar.gz"
        path = DEBIAN / "pool" / suite / name
        path.write_bytes(gzip.compress(version.encode(), mtime=0))
        content = path.read_bytes()
        line = f"{hashlib.sha256(content).hexdigest()} {len(content)} {name}"
        stanzas += (
            f"Package: nginx\nBinary: nginx\nVersion: {version}-1~{suite}\nArchitecture: any\nFormat: 1.0\n"
            f"Directory: pool/{suite}\nChecksums-Sha256:\n {line}\nFiles:\n {hashlib.md5(content).hexdigest()} "
            f"{len(content)} {name}\n\n"
        )
    return stanzas


def publish(suite: str, arguments: argparse.Namespace) -> None:
    """Write the indices of a suite and sign them."""
    dists, pool = DEBIAN / "dists" / suite, DEBIAN / "pool" / suite
    for package in pool.glob("*.kept"):
        package.replace(package.with_suffix(""))
    stanzas = sh("apt-ftparchive", "packages", f"pool/{suite}", cwd=DEBIAN)
    chosen = [each for each in stanzas.split("\n\n") if re.search(rf"Version: ({'|'.join(arguments.versions)})-", each)]
    packages, architecture = "\n\n".join(chosen) + "\n\n", sh("dpkg", "--print-architecture").strip()
    # An older time than the last one would be refused as a replay, so the directory is made anew without trace of it
    for name, content in ((f"binary-{architecture}/Packages", packages), ("source/Sources", source_stanzas(suite))):
        path = dists / "nginx" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.with_suffix(".gz").write_bytes(gzip.compress(content.encode(), mtime=0))
    for name in ("Release", "InRelease", "Release.gpg"):
        (dists / name).unlink(missing_ok=True)
    fields = {"Origin": "nginx", "Label": "nginx", "Suite": suite, "Codename": suite}
    fields |= {"Architectures": architecture, "Components": "nginx"}
    options = [f"-oAPT::FTPArchive::Release::{name}={value}" for name, value in fields.items()]
    release = sh("apt-ftparchive", *options, "release", str(dists))
    for name, offset in (("Date", arguments.date), ("Valid-Until", arguments.valid_until)):
        if offset is not None:
            stamp = time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime(time.time() + offset * DAY))
            release = re.sub(rf"(?m)^{name}: .*\n", "", release)
            release = f"{name}: {stamp}\n{release}"
    (dists / "Release").write_text(release)
    if arguments.unsigned:
        return
    at = time.time() + arguments.signed * DAY if arguments.signed else 0
    sign = ["--local-user", fingerprint(arguments.key), "--digest-algo", "SHA256"]
    gpg(*sign, "--clearsign", "--output", str(dists / "InRelease"), str(dists / "Release"), at=at)
    gpg(*sign, "--armor", "--detach-sign", "--output", str(dists / "Release.gpg"), str(dists / "Release"), at=at)


def spoil(suite: str, what: str) -> None:
    """Change one file and leave its signature or checksum as it was."""
    if what == "InRelease":
        for name in ("InRelease", "Release"):
            path = DEBIAN / "dists" / suite / name
            path.write_text(path.read_text().replace("Label: nginx", "Label: evil!"))
    elif what == "Packages":
        for path in (DEBIAN / "dists" / suite / "nginx").glob("binary-*/Packages*"):
            content = gzip.decompress(path.read_bytes()) if path.suffix else path.read_bytes()
            content = content.replace(b"Section: httpd", b"Section: evil!")
            path.write_bytes(gzip.compress(content, mtime=0) if path.suffix else content)
    else:
        for path in (DEBIAN / "pool" / suite).glob("*.deb"):
            shutil.copy2(path, f"{path}.kept")
            content = bytearray(path.read_bytes())
            content[-100] ^= 255
            path.write_bytes(content)


class Files(SimpleHTTPRequestHandler):
    # apt would take a connection that is closed for the end of a file that was cut off
    protocol_version = "HTTP/1.1"


def build(arguments: argparse.Namespace) -> None:
    KEYS.mkdir(parents=True)
    make_keys()
    for suite in SUITES:
        for version in VERSIONS:
            make_package(suite, version)
        publish(suite, arguments)
    make_certificate()
    (TLS / "ca.pem").replace(TLS / "made.pem")  # whoever finds it finds the rest


def serve() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "nginx.pem", TLS / "nginx.key")
    server = ThreadingHTTPServer(("", 443), partial(Files, directory=str(ROOT)))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    publishing = argparse.ArgumentParser(add_help=False)
    publishing.add_argument("--key", default="signing")
    publishing.add_argument("--versions", nargs="+", default=VERSIONS)
    publishing.add_argument("--unsigned", action="store_true")
    publishing.add_argument("--signed", type=float, default=0, help="when, in days from now")
    publishing.add_argument("--date", type=float, help="of the suite, in days from now")
    publishing.add_argument("--valid-until", type=float, help="in days from now")
    commands.add_parser("serve", parents=[publishing])
    one = commands.add_parser("publish", parents=[publishing])
    one.add_argument("suite", choices=SUITES)
    bad = commands.add_parser("spoil")
    bad.add_argument("suite", choices=SUITES)
    bad.add_argument("file", choices=["InRelease", "Packages", "deb"])
    for name in ("keys", "fingerprints"):
        listing = commands.add_parser(name)
        if name == "keys":
            listing.add_argument("file")
        listing.add_argument("names", nargs="+")
    arguments = parser.parse_args()
    if arguments.command == "serve":
        if not ROOT.exists():
            build(arguments)
        serve()
    elif arguments.command == "publish":
        publish(arguments.suite, arguments)
    elif arguments.command == "spoil":
        spoil(arguments.suite, arguments.file)
    elif arguments.command == "keys":
        write_keys(KEYS / arguments.file, *arguments.names)
    else:
        print("\n".join(fingerprint(name) for name in arguments.names))


if __name__ == "__main__":
    main()
