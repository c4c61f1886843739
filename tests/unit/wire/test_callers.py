import pytest

from isolet.errors import RequestError
from isolet.wire.callers import CLAIMS, Caller, Proxies, plain_address, told_of

PROXIES = Proxies(["10.0.0.0/8", "2001:db8::/32"])


def caller(*claims: tuple[bytes, bytes], proxy: str = "10.0.0.1", scheme: str = "http") -> Caller:
    return PROXIES.caller(proxy, list(claims), scheme)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [("10.1.2.3", True), ("11.0.0.1", False), ("2001:db8::5", True), ("::1", False), (None, False)],
)
def test_only_the_named_networks_are_trusted(address: str | None, trusted: bool) -> None:
    assert PROXIES.trusts(address) is trusted
    assert Proxies().trusts(address) is False


@pytest.mark.parametrize(
    ("chains", "client"),
    [
        ([], "10.0.0.1"),
        ([b"203.0.113.7"], "203.0.113.7"),
        ([b"6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        ([b"6.6.6.6", b"203.0.113.7,10.0.0.2"], "203.0.113.7"),
        ([b"6.6.6.6, 203.0.113.7, 10.0.0.2 , 10.0.0.3"], "203.0.113.7"),
        ([b"10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        ([b"203.0.113.7, unknown"], "10.0.0.1"),
        ([b"203.0.113.7, _hidden, 10.0.0.2"], "10.0.0.2"),
        ([b"203.0.113.7:4711"], "203.0.113.7"),
        ([b"[2001:db9::1]:4711"], "2001:db9::1"),
        ([b"2001:DB9:0::1"], "2001:db9::1"),
        ([b"::ffff:203.0.113.7"], "203.0.113.7"),
        ([b"6.6.6.6, ::ffff:10.0.0.2"], "6.6.6.6"),
        ([b" , ,"], "10.0.0.1"),
        ([b"203.0.113.7\xff"], "10.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_that_no_proxy_is(chains: list[bytes], client: str) -> None:
    found = caller(*((b"x-forwarded-for", chain) for chain in chains))
    assert found.address == client
    assert found.told[:3] == told_of(client)


@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "x_forwarded_for", "x-forwarded_for", "cf_connecting_ip", "Forwarded", "X_Real-IP"]
)
def test_a_claim_is_one_however_it_is_spelled(name: str) -> None:
    assert name.lower().encode() in CLAIMS
    assert b"host" not in CLAIMS


class CountsLooks(Proxies):
    looks = 0

    def trusts(self, address: str | None) -> bool:
        self.looks += 1
        return super().trusts(address)


def test_of_thousands_of_addresses_of_proxies_that_a_client_wrote_few_are_looked_at() -> None:
    proxies = CountsLooks(["10.0.0.0/8", "::1/128"])
    claims = [(b"x-forwarded-for", b"::1," * 10_000 + b"10.0.0.7," * 40), (b"x-forwarded-proto", b"https")]
    assert proxies.caller("10.0.0.1", claims, "http").address == "10.0.0.7"
    assert proxies.looks < 50


@pytest.mark.parametrize("name", [b"cf-connecting-ip", b"x-real-ip", b"forwarded", b"true-client-ip"])
def test_nothing_else_names_the_client(name: bytes) -> None:
    assert caller((name, b"6.6.6.6")).address == "10.0.0.1"


@pytest.mark.parametrize(
    ("chain", "said", "scheme"),
    [
        (b"203.0.113.7", b"https", "https"),
        (b"203.0.113.7", b"HTTPS", "https"),
        (b"203.0.113.7", b"gopher", "http"),
        (b"203.0.113.7", b"", "http"),
        (b"203.0.113.7, 10.0.0.2", b"https, http", "https"),
        (b"6.6.6.6, 203.0.113.7, 10.0.0.2", b"http, https, http", "https"),
        (b"203.0.113.7", b"http, https", "https"),
        # As some proxies name the scheme of a WebSocket.
        (b"203.0.113.7", b"wss", "https"),
        (b"203.0.113.7", b"ws", "http"),
    ],
)
def test_a_proxy_says_the_scheme(chain: bytes, said: bytes, scheme: str) -> None:
    found = caller((b"x-forwarded-for", chain), (b"x-forwarded-proto", said))
    assert found.scheme == scheme
    assert (b"x-forwarded-proto", scheme.encode()) in found.told


@pytest.mark.parametrize(
    ("chain", "said", "host"),
    [
        (b"203.0.113.7, 10.0.0.2", b"pub.example, inner.example", b"pub.example"),
        (b"6.6.6.6, 203.0.113.7", b"evil.example, pub.example", b"pub.example"),
        (b"203.0.113.7", b"evil.example, pub.example:8443", b"pub.example:8443"),
    ],
)
def test_each_proxy_says_the_host_that_it_was_asked_for(chain: bytes, said: bytes, host: bytes) -> None:
    assert caller((b"x-forwarded-for", chain), (b"x-forwarded-host", said)).host == host


def test_a_proxy_says_the_host() -> None:
    found = caller((b"x-forwarded-host", b"pub.example:8443"))
    assert found.host == b"pub.example:8443"
    assert caller().host is None


@pytest.mark.parametrize("host", [b"a/b", b"u@a", b"a b"])
def test_a_proxy_cannot_say_a_host_that_is_none(host: bytes) -> None:
    with pytest.raises(RequestError):
        caller((b"x-forwarded-host", host))


@pytest.mark.parametrize("text", ["", "a", "1.2.3", "1.2.3.4.5", "256.1.1.1", "[::1", "fe80::1%", "1.2.3.4:123456"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert plain_address(text) is None
