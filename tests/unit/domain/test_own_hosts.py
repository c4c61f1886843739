"""Which hosts and origins are the server's own."""

from __future__ import annotations

import pytest

from isolet.domain.own_hosts import OwnHosts

HOSTS = OwnHosts(names=frozenset({"api.example.com"}))


@pytest.mark.parametrize(
    ("host", "own"),
    [
        (b"api.example.com", True),
        (b"API.example.com:443", True),
        (b"localhost:7878", True),
        (b"f.localhost", True),
        (b"127.0.0.1:1", True),
        (b"[::1]:80", True),
        (b"evil.example", False),
        (b"api.example.com.evil.example", False),
        (b"evil.example:127.0.0.1", False),
        (b"notlocalhost", False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_hosts(host: bytes, own: bool) -> None:
    assert HOSTS.has_host(host) is own


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        ("https://api.example.com", True),
        ("http://localhost:6274", True),
        ("http://[::1]:1", True),
        ("https://shop.example", True),
        ("https://evil.example", False),
        ("null", False),
        ("*", False),
        ("http://[", False),
        ("file://localhost", False),
    ],
)
def test_origins(origin: str, own: bool) -> None:
    assert HOSTS.has_origin(origin, ["*", "https://shop.example"]) is own
