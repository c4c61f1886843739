"""The standard list of addresses that lead back inside, as literals in every spelling."""

from __future__ import annotations

import ipaddress
import time

import pytest
from standardwebhooks import Webhook

from isolet.domain.callbacks import (
    HOST_GROUPS,
    check_url,
    group_of,
    headers_for,
    new_secret,
    retry_after_ms,
    signature,
)
from isolet.errors import RequestError

INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[2001:db8::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
]
SPELLINGS = [
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "017700000001",
    "10.1",
    "1.2.3.4.5",
]


@pytest.mark.parametrize("host", INSIDE)
def test_an_address_that_leads_inside_is_refused(host: str) -> None:
    with pytest.raises(RequestError, match="is refused"):
        check_url(f"https://{host}/")


@pytest.mark.parametrize("host", SPELLINGS)
def test_an_address_in_disguise_is_refused(host: str) -> None:
    with pytest.raises(RequestError, match="is not a host name or an address"):
        check_url(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "callback",
        "/callback",
        "https:///callback",
        "https:example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://user@example.com/",
        "https://user:word@example.com/",
        "https://example.com\\@127.0.0.1/",
        "https://exa mple.com/",
        "https://example.com/\r\nX-A: 1",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://-example.com/",
        "https://ex%61mple.com/",
        "http://example.com/",
        "http://8.8.8.8/",
        "https://example.com/" + "a" * 2048,
    ],
)
def test_a_url_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match=r"^X-Callback-Url"):
        check_url(url, label="X-Callback-Url")


@pytest.mark.parametrize(
    "url", ["https://example.com/a?b=c", "https://8.8.8.8:8443/", "https://[2606:4700:4700::1111]/", "HTTPS://a.b/"]
)
def test_a_public_url_passes(url: str) -> None:
    assert check_url(url) == url


def test_a_fragment_is_not_sent() -> None:
    assert check_url("https://example.com/a#b") == "https://example.com/a"


def test_what_the_operator_opened_may_be_called_and_by_http() -> None:
    allowed = ["10.0.0.0/8"]
    assert check_url("http://10.1.2.3/", allowed=allowed) == "http://10.1.2.3/"
    assert check_url("http://[::ffff:10.1.2.3]/", allowed=allowed) == "http://[::ffff:10.1.2.3]/"
    with pytest.raises(RequestError, match="is refused"):
        check_url("http://192.168.0.1/", allowed=allowed)


def test_metadata_addresses_are_refused_whatever_the_operator_opened() -> None:
    for host in ("169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"):
        with pytest.raises(RequestError, match="is refused"):
            check_url(f"http://{host}/", allowed=["0.0.0.0/0", "::/0"])


def test_names_may_be_called_by_http_where_the_operator_says_so() -> None:
    assert check_url("http://example.com/", http=True) == "http://example.com/"


def test_a_function_cannot_set_our_headers() -> None:
    sent = [("x-own", "1"), ("host", "evil"), ("webhook-id", "forged"), ("x-function-status", "200")]
    sent.append(("expect", "100-continue"))
    headers = headers_for(sent, call_id="c", function_name="f", status=500, duration_ms=1500, hops=1)
    assert headers == [
        ("x-own", "1"),
        ("x-call-id", "c"),
        ("x-function-name", "f"),
        ("x-function-status", "500"),
        ("x-duration-seconds", "1.500"),
        ("x-isolet-hops", "1"),
    ]


def test_the_public_library_accepts_a_signature_of_any_active_key() -> None:
    keys, body = [new_secret(), new_secret()], b'{"a": 1}'
    now_s = int(time.time())
    headers = {"webhook-id": "m", "webhook-timestamp": str(now_s)}
    headers["webhook-signature"] = signature(keys, message_id="m", timestamp_s=now_s, body=body)
    assert [Webhook(key).verify(body, headers) for key in keys] == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, 0), ("", 0), ("soon", 0), ("-5", 0), ("120", 120_000), ("Thu, 01 Jan 1970 00:02:00 GMT", 20_000)],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, expected: int) -> None:
    assert retry_after_ms(value, 100_000) == expected


@pytest.mark.parametrize("host", ["93.184.216.34", "[2600:1f18::5]", "[::ffff:93.184.216.34]"])
def test_an_address_of_this_machine_is_refused_unless_the_operator_opened_it(host: str) -> None:
    own = [ipaddress.ip_network("93.184.216.34"), ipaddress.ip_network("2600:1f18::5")]
    with pytest.raises(RequestError, match="is refused"):
        check_url(f"https://{host}/", own=own)
    assert check_url(f"https://{host}/", own=own, allowed=["93.184.216.0/24", "2600:1f18::/32"])


def test_hosts_are_as_many_as_callers_like_and_their_groups_few() -> None:
    groups = {group_of(f"https://x{number}.a.example/") for number in range(10_000)}
    assert len(groups) == HOST_GROUPS
    assert group_of("https://A.example:8443/one?q") == group_of("https://a.example:8443/two")
