from __future__ import annotations

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._page import Page

FORM = """
<form method="post" action="/logout/"><input type="hidden" name="token" value="a"><button name="out">Out</button></form>
<form method="POST" enctype="multipart/form-data">
  <input type="hidden" name="token" value="b&amp;c">
  <input name="title" value="old"><input type="checkbox" name="public"><input type="checkbox" name="kept" checked>
  <input type="radio" name="size" value="s"><input type="radio" name="size" value="m" checked>
  <textarea name="note">
two lines</textarea>
  <select name="label"><option value="">-</option><option value="7">Porites (POR)
    <option value="8" selected>Sand &amp; mud</select>
  <select name="empty"></select>
  <input type="file" name="picture"><input type="submit" name="go" value="Go"><input value="nameless">
</form>
<input name="outside">
"""


def test_forms_are_read_as_a_browser_reads_them() -> None:
    out, upload = Page(FORM).forms

    assert (out.action, out.method, out.encoding, out.fields) == ("/logout/", "post", "", {"token": "a"})
    assert (upload.action, upload.method, upload.encoding) == ("", "post", "multipart/form-data")
    assert upload.fields == {
        "token": "b&c",
        "title": "old",
        "kept": "on",
        "size": "m",
        "note": "\ntwo lines",
        "label": "8",
        "empty": "",
    }
    assert upload.files == {"picture"}
    assert upload.takes({"title", "public", "picture"})
    assert not upload.takes({"title", "outside"})
    assert not upload.takes({"go"})


@pytest.mark.parametrize(
    ("given", "sent"),
    [("Porites (POR)", "7"), ("Sand & mud", "8"), ("7", "7"), ("-", ""), ("Acropora", "Acropora")],
)
def test_a_list_is_chosen_from_by_what_is_seen(given: str, sent: str) -> None:
    assert Page(FORM).forms[1].choose("label", given) == sent


def test_the_first_of_a_list_is_sent_where_none_is_chosen() -> None:
    [form] = Page('<form><select name="a"><option>one</option><option>two</option></select></form>').forms
    assert form.choose("a", "two") == "two"
    assert form.fields == {"a": "one"}


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("", ""),
        ("plain text", "plain text"),
        ("<title>Reef</title><p>Fish</p>", "Reef: Fish"),
        ("<title>Reef</title><nav>Home</nav><main>Fish <b>and</b> sand</main>", "Reef: Fish and sand"),
        ("<title>Reef</title><script>let fish</script><style>p {}</style>", "Reef:"),
        ('<title>Reef</title><ul class="errorlist nonfield"><li>No<br> fish<li>No sand</ul><p>More', "No fish No sand"),
        ('<p class="message error">Too late</p><p>More</p>', "Too late"),
        ('<p class="errors">Not one</p>', "Not one"),
        ('<div class="alert alert-danger"><p>A</p></div><p>B</p>', "A"),
        ('{"detail": "not found"}', '{"detail": "not found"}'),
        ("<p>&lt;fish&gt;", "<fish>"),
        ("</p></div><p>stray</main>", "stray"),
        ("<p>Fish <![)B2 x> and sand", "Fish and sand"),
        ("<p>Fish <![CDATA[x]]> and sand", "Fish and sand"),
        ("<p>Fish <![if IE]>and<![endif]> sand", "Fish and sand"),
    ],
)
def test_words(page: str, words: str) -> None:
    assert Page(page).words == words


def test_a_page_that_ends_in_the_middle_of_a_section() -> None:
    assert Page("<p>Fish <![)B2").words.startswith("Fish")
