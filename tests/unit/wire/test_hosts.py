import pytest

from isolet.wire.hosts import is_host


@pytest.mark.parametrize(
    "host",
    [
        *(b"a", b"localhost:80", b"A.Test", b"a_b.test.", b"1.2.3.4", b"1.2.3.4:65535", b"a:", b"xn--caf-dma.test"),
        *(b"[::1]", b"[::1]:8080", b"[2001:DB8::1]", b"[::ffff:1.2.3.4]", b"a!$&'()*+,;=~b", b"a%20b", b"h" * 253),
    ],
)
def test_names_and_addresses_with_or_without_a_port(host: bytes) -> None:
    assert is_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            b"",
            b":80",
            b"a b",
            b" a",
            b"a ",
            b"a/b",
            b"a/b?c@d",
            b"h.test/admin?x=",
            b"a?b",
            b"a#b",
            b"user@a",
            b"u:p@a",
        ),
        *(b"a\\b", b"a:80:80", b"a:b", b"a:-1", b"a:65536", b"a:999999", b"::1", b"[::1", b"::1]", b"[]", b"[::1]a"),
        *(
            b"[1.2.3.4]",
            b"[fe80::1%25eth0]",
            b"[::g]",
            b"[v1.a]",
            b"a%2",
            b"a%zz",
            b"a\tb",
            b"caf\xe9",
            b"a\x7f",
            b"a,b c",
        ),
        *(b"a<b", b'a"b', b"a|b", b"a^b", b"a`b", b"a{b}", b"http://a", b"h" * 1025),
    ],
)
def test_what_is_more_or_less_than_a_host_is_none(host: bytes) -> None:
    assert not is_host(host)
