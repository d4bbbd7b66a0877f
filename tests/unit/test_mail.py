"""What is found about a host's mail, from what dig, Postfix and the journal say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._mail import (
    LOOK,
    OK,
    WRONG,
    Delivery,
    Dns,
    DnsError,
    Finding,
    check_deliveries,
    check_greeting,
    check_name,
    check_port,
    check_queue,
    check_records,
    check_services,
    deliveries,
    judge_dkim,
    judge_dmarc,
    judge_spf,
    next_hop,
    table,
)

SPF, DMARC, DKIM = "v=spf1 a:www.reef.example -all", "v=DMARC1; p=quarantine", "v=DKIM1; k=rsa; p=MIIB"


class Dig:
    """Answers as dig does, from records by name and kind; a name without any does not exist."""

    def __init__(self, records: dict[tuple[str, str], list[str]], status: str = "", rc: int = 0) -> None:
        self.records = records
        self.status = status
        self.rc = rc
        self.calls: list[list[str]] = []

    def __call__(self, argv: list[str]) -> tuple[int, str, str]:
        self.calls.append(argv)
        name, kind = argv[-2:]
        found = self.records.get((name, kind), [])
        exists = any(known == name for known, _kind in self.records)
        status = self.status or ("NOERROR" if exists else "NXDOMAIN")
        head = f";; ->>HEADER<<- opcode: QUERY, status: {status}, id: 1\n;; flags: qr rd ra;\n\n;; ANSWER SECTION:\n"
        if self.rc:
            return self.rc, ";; no servers could be reached\n", ""
        return 0, head + "".join(f"{name}.\t300\tIN\t{kind}\t{data}\n" for data in found), ""


def dns(records: dict[tuple[str, str], list[str]], **said: Any) -> Dns:
    return Dns(Dig(records, **said))


@pytest.mark.parametrize(
    ("kind", "data", "found"),
    [
        ("A", "192.0.2.1", "192.0.2.1"),
        ("PTR", "WWW.Reef.Example.", "www.reef.example"),
        ("MX", "10 mx.reef.example.", "10 mx.reef.example"),
        ("TXT", '"v=spf1 -all"', "v=spf1 -all"),
        ("TXT", '"v=DKIM1; p=MI" "IB"', "v=DKIM1; p=MIIB"),
        ("TXT", r'"a \"b\" \\c"', r'a "b" \c'),
    ],
)
def test_dns_answers(kind: str, data: str, found: str) -> None:
    assert dns({("reef.example", kind): [data]}).ask("reef.example", kind) == [found]


def test_dns_asks_the_wanted_server_and_passes_over_aliases() -> None:
    dig = Dig({("reef.example", "A"): ["192.0.2.1"]})

    assert Dns(dig, "192.0.2.53").ask("reef.example", "AAAA") == []
    [argv] = dig.calls
    assert argv[0] == "dig"
    assert argv[-3:] == ["@192.0.2.53", "reef.example", "AAAA"]


@pytest.mark.parametrize("said", [{"status": "SERVFAIL"}, {"status": "REFUSED"}, {"rc": 9}])
def test_no_answer_is_not_an_empty_one(said: dict[str, Any]) -> None:
    with pytest.raises(DnsError, match=r"reef\.example"):
        dns({}, **said).ask("reef.example", "TXT")
    assert dns({}).ask("reef.example", "TXT") == []


@pytest.mark.parametrize(
    ("published", "state", "words"),
    [
        ([SPF], OK, SPF),
        (["google-site-verification=x", SPF], OK, SPF),
        (["v=spf1 include:other.example a:www.reef.example ~all"], OK, "include:other.example"),
        (["v=spf1 a:www.reef.example"], LOOK, SPF[:20]),
        ([], WRONG, "there is no SPF record"),
        (["v=spf10 x"], WRONG, "there is no SPF record"),
        ([SPF, SPF], WRONG, "there are 2 SPF records"),
        (["v=spf1 -all"], WRONG, "lacks a:www.reef.example"),
    ],
)
def test_spf(published: list[str], state: str, words: str) -> None:
    found = judge_spf(SPF, published)

    assert found[0] == state
    assert words in found[1]


@pytest.mark.parametrize(
    ("published", "state"),
    [
        ([DKIM], OK),
        (["k=rsa; p=MI IB"], OK),
        (["v=DKIM1; p=another"], WRONG),
        (["v=DKIM1; p="], WRONG),
        ([], WRONG),
        ([DKIM, DKIM], WRONG),
    ],
)
def test_dkim(published: list[str], state: str) -> None:
    assert judge_dkim(DKIM, published)[0] == state


@pytest.mark.parametrize(
    ("published", "state"),
    [
        ([DMARC], OK),
        (["v=DMARC1; p=reject; rua=mailto:a@b.example"], OK),
        (["v=DMARC1; p=none"], WRONG),
        (["v=DMARC1; p=odd"], WRONG),
        (["v=DMARC1"], WRONG),
        ([], WRONG),
        ([DMARC, DMARC], WRONG),
    ],
)
def test_dmarc(published: list[str], state: str) -> None:
    assert judge_dmarc(DMARC, published)[0] == state


def test_records_by_their_names() -> None:
    found = {
        ("reef.example", "TXT"): [f'"{SPF}"'],
        ("_dmarc.reef.example", "TXT"): ['"v=DMARC1; p=none"'],
        ("s1._domainkey.reef.example", "TXT"): [f'"{DKIM}"'],
    }
    wanted = [("reef.example", SPF), ("_dmarc.reef.example", DMARC), ("s1._domainkey.reef.example", DKIM)]

    assert [(each.check, each.state) for each in check_records(dns(found), wanted)] == [
        ("SPF reef.example", OK),
        ("DMARC _dmarc.reef.example", WRONG),
        ("DKIM s1._domainkey.reef.example", OK),
    ]
    assert {each.state for each in check_records(dns(found, rc=9), wanted)} == {WRONG}


NAME = {("www.reef.example", "A"): ["192.0.2.1"], ("1.2.0.192.in-addr.arpa", "PTR"): ["www.reef.example."]}
V6 = {("www.reef.example", "AAAA"): ["2001:db8::1"]}


@pytest.mark.parametrize(
    ("records", "ipv6", "states"),
    [
        (NAME, False, [OK]),
        ({**NAME, **V6}, False, [OK]),
        ({**NAME, **V6}, True, [OK, WRONG]),
        ({**NAME, ("1.2.0.192.in-addr.arpa", "PTR"): ["ec2-192-0-2-1.cloud.example."]}, False, [WRONG]),
        ({("www.reef.example", "A"): ["192.0.2.1"]}, False, [WRONG]),
        ({}, False, [WRONG]),
    ],
)
def test_the_name_and_back(records: dict[tuple[str, str], list[str]], ipv6: bool, states: list[str]) -> None:
    assert [each.state for each in check_name(dns(records), "www.reef.example", ipv6)] == states
    assert [each.state for each in check_name(dns(records, status="SERVFAIL"), "www.reef.example", ipv6)] == [WRONG]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
        ("2001:db8::1", "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"),
        ("::1", "1." + "0." * 31 + "ip6.arpa"),
        ("2001:db8:0:0:0:0:0:1", "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_the_name_of_an_address(address: str, name: str) -> None:
    kind = "AAAA" if ":" in address else "A"
    records = {("www.reef.example", kind): [address], (name, "PTR"): ["www.reef.example."]}

    assert [each.state for each in check_name(dns(records), "www.reef.example", ipv6=True)] == [OK]


@pytest.mark.parametrize(
    ("destination", "hop"),
    [
        ("reef.example", ("mx1.reef.example", 25)),
        ("other.example", ("other.example", 25)),
        ("[relay.example]:587", ("relay.example", 587)),
        ("[192.0.2.9]", ("192.0.2.9", 25)),
        ("other.example:2525", ("other.example", 2525)),
    ],
)
def test_next_hop(destination: str, hop: tuple[str, int]) -> None:
    records = {("reef.example", "MX"): ["20 mx2.reef.example.", "5 mx1.reef.example."]}

    assert next_hop(dns(records), destination) == hop


@pytest.mark.parametrize(
    ("destination", "words"),
    [("[127.0.0.1]:1", "refused"), ("nowhere.example", "has no address"), ("[a]:b", "neither a domain")],
)
def test_a_port_that_cannot_be_reached(destination: str, words: str) -> None:
    finding = check_port(dns({}), destination)

    assert finding.state == WRONG
    assert words in finding.found


def test_postfix_that_does_not_answer() -> None:
    [finding] = check_greeting("www.reef.example", "", port=1)

    assert finding.state == WRONG
    assert "refused" in finding.found


def waiting(*reasons: str) -> str:
    entries = [
        {"arrival_time": 0, "recipients": [{"address": "a@b.example", "delay_reason": reason}]} for reason in reasons
    ]
    return "".join(json.dumps(entry) + "\n" for entry in entries)


@pytest.mark.parametrize(
    ("out", "state", "words"),
    [
        ("", OK, "empty"),
        (waiting("x"), LOOK, "1 waiting"),
        (waiting("x", "y", "y"), WRONG, "mostly: y"),
    ],
)
def test_queue(out: str, state: str, words: str) -> None:
    finding = check_queue(lambda _argv: (0, out, ""), 2)

    assert finding.state == state
    assert words in finding.found


def test_a_queue_that_cannot_be_read_is_wrong() -> None:
    assert check_queue(lambda _argv: (69, "", "postqueue: fatal: no\n"), 2) == Finding(
        "queue", WRONG, "postqueue: fatal: no"
    )


def entry(pid: int, message: str) -> str:
    return json.dumps({"_PID": str(pid), "MESSAGE": message, "__REALTIME_TIMESTAMP": "1000000"})


def tls(pid: int, peer: str = "mx.b.example[192.0.2.9]:25") -> str:
    return entry(pid, f"Trusted TLS connection established to {peer}: TLSv1.3 with cipher X (256/256 bits)")


def tried(pid: int, queued: str, status: str = "sent", peer: str = "mx.b.example[192.0.2.9]:25") -> str:
    words = (
        f"{queued}: to=<a@b.example>, relay={peer}, delay=0.7, delays=0/0/0/0, dsn=2.0.0, status={status} (250 (ok))"
    )
    return entry(pid, words)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([tls(1), tried(1, "A")], [("sent", "TLSv1.3")]),
        # One connection, one message for two people; the next message has a connection of its own
        ([tls(1), tried(1, "A"), tried(1, "A"), tried(1, "B")], [("sent", "TLSv1.3")] * 2 + [("sent", "")]),
        ([tls(1), tried(2, "A")], [("sent", "")]),
        ([tls(1), tls(2), tried(1, "A"), tried(2, "B")], [("sent", "TLSv1.3")] * 2),
        ([tls(1, "x[192.0.2.8]:25"), tried(1, "A")], [("sent", "")]),
        ([tried(1, "A", "deferred", "none")], [("deferred", "")]),
        ([entry(1, "A: host mx said: 450 later"), entry(1, "A: removed")], []),
    ],
)
def test_deliveries(lines: list[str], found: list[tuple[str, str]]) -> None:
    assert [(each.status, each.tls) for each in deliveries(lines)] == found


SENT = Delivery(1.0, "ann@b.example", "mx.b.example", "sent", "TLSv1.3", "250 ok")
CLEAR = Delivery(1.0, "ann@b.example", "mx.b.example", "sent", "", "250 ok")
BOUNCED = Delivery(1.0, "ann@b.example", "mx.b.example", "bounced", "TLSv1.3", "550 no")


@pytest.mark.parametrize(
    ("tried", "states"),
    [
        ([], [LOOK]),
        ([SENT], [OK, OK, OK]),
        ([SENT, CLEAR], [OK, LOOK, OK, OK]),
        ([SENT, BOUNCED], [LOOK, OK, OK, LOOK]),
        ([BOUNCED], [WRONG, LOOK]),
    ],
)
def test_sum_of_deliveries(tried: list[Delivery], states: list[str]) -> None:
    findings = list(check_deliveries(tried))

    assert [finding.state for finding in findings] == states
    # Who wrote to whom is nobody's business
    assert "ann" not in str(findings)


def test_services() -> None:
    states = {"postfix": (0, "active\n", ""), "opendkim": (3, "failed\n", "")}
    found = list(check_services(lambda argv: states[argv[-1]], ["postfix", "opendkim"]))

    assert found == [Finding("postfix", OK, "active"), Finding("opendkim", WRONG, "failed")]


def test_table() -> None:
    assert table([Finding("a", OK, "x"), Finding("longer", WRONG, "y")]) == ["ok     a       x", "wrong  longer  y"]
    assert table([]) == []
