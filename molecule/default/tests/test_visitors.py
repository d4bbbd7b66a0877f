"""The site as its visitors see it, through nginx."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import time
from typing import Any

import pytest
import requests
from shared.visitor import Visitor, png


@pytest.fixture
def member(visitor: Visitor, variable: Any) -> Visitor:
    superuser = variable("site_superuser")
    visitor.log_in(superuser["username"], superuser["password"])
    return visitor


def test_front_page_is_the_sites_own(host: Any, visitor: Visitor) -> None:
    page = visitor.get("/")
    assert page.status_code == 200
    assert "CoralNet sample site" in page.text
    assert page.headers["X-Site-Version"] == "v1"
    assert page.headers["X-Release"] == host.check_output(
        "basename $(readlink /srv/www/coralnet/current/app.sock) .sock"
    )


def test_static_files_come_from_nginx(visitor: Visitor) -> None:
    style = re.search(r'href="(/static/[^"]+\.css)"', visitor.get("/").text)
    assert style
    answer = visitor.get(style[1])
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/css")
    assert "X-Release" not in answer.headers, "the application served it"


def test_static_files_are_compressed_once_and_kept_for_good(host: Any, visitor: Visitor) -> None:
    style = re.search(r'href="(/static/admin/css/base[^"]+\.css)"', visitor.get("/admin/login/").text)
    assert style
    answer = visitor.get(style[1])
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.text == visitor.get(style[1], headers={"Accept-Encoding": "identity"}).text
    compressed = host.file(f"/srv/www/coralnet{style[1]}.gz")
    assert int(answer.headers["Content-Length"]) == compressed.size, "it was compressed anew"


def test_unknown_host_gets_no_answer(address: str) -> None:
    with pytest.raises(requests.ConnectionError):
        Visitor(address, "somebody-elses.test").get("/")


def test_nginx_does_not_tell_its_version(visitor: Visitor) -> None:
    assert visitor.get("/").headers["Server"] == "nginx"


@pytest.mark.parametrize("side", [64, 1100], ids=["in memory", "through a temporary file"])
def test_an_upload_comes_back(member: Visitor, side: int) -> None:
    source = member.submit("/sources/new/", {"name": f"Reef {side}"}).headers["Location"]
    picture = png(side)
    member.submit(source, {}, files={"files": ("coral.png", picture, "image/png")})
    page = member.get(source).text
    patch = re.search(r'src="(/media/patches/[^"]+)"', page)
    assert patch
    assert member.get(patch[1]).headers["Content-Type"].startswith("image/")
    image = re.search(r'href="(/images/\d+/)"', page)
    assert image
    original = re.search(r'src="(/media/(?!patches)[^"]+)"', member.get(image[1]).text)
    assert original
    answer = member.get(original[1])
    assert answer.content == picture
    assert "X-Release" not in answer.headers, "the application served it"


def test_annotations_are_kept_and_exported(member: Visitor) -> None:
    source = member.submit("/sources/new/", {"name": "Annotated"}).headers["Location"]
    member.submit(f"{source}labelset/", {"name": "Porites", "code": "POR"})
    member.submit(source, {}, files={"files": ("coral.png", png(64), "image/png")})
    image = re.search(r'href="(/images/\d+/)"', member.get(source).text)
    assert image
    label = re.search(r'<option value="(\d+)"', member.get(image[1]).text)
    assert label
    member.submit(image[1], {"label": label[1], "x": 12, "y": 34})
    assert "<td>12, 34</td>" in member.get(image[1]).text
    # made in a temporary directory by a program that the site starts
    export = gzip.decompress(member.get(f"{source}export/").content)
    with tarfile.open(fileobj=io.BytesIO(export)) as tar:
        rows = tar.extractfile("annotations.csv")
        assert rows
        assert b"12,34" in rows.read().replace(b", ", b",")


def test_too_large_an_upload_is_refused_before_it_is_read(visitor: Visitor) -> None:
    headers = {"Content-Length": str(41 * 1024 * 1024), "Expect": "100-continue"}
    assert visitor.post("/", headers=headers, data=b"").status_code == 413


def test_registration_and_activation(host: Any, visitor: Visitor) -> None:
    host.run("rm -f /srv/www/coralnet/shared/mail/*")
    name = f"newcomer{time.time_ns()}"
    fields = {"username": name, "email": "newcomer@example.org", "password": "reef-and-sand-9"}
    visitor.submit("/accounts/register/", fields)
    mail = host.check_output("cat /srv/www/coralnet/shared/mail/*")
    link = re.search(r"http://coralnet\.test(/accounts/activate/\S+)", mail)
    assert link, mail
    assert visitor.get(link[1]).status_code == 302
    visitor.log_in(name, "reef-and-sand-9")


def test_the_superuser_reaches_the_admin(member: Visitor) -> None:
    assert "Site administration" in member.get("/admin/").text
