import pytest

from isolet.wire.targets import asks_for_websocket, split_target

HOSTS = [b"api.example:8080"]


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        (b"/", (b"/", b"")),
        (b"/a/b?c=d?e", (b"/a/b", b"c=d?e")),
        (b"//other.example/a", (b"//other.example/a", b"")),
        (b"http://api.example:8080", (b"/", b"")),
        (b"HTTPS://API.example:8080/a?b?c", (b"/a", b"b?c")),
        (b"http://api.example:8080?b", (b"/", b"b")),
    ],
)
def test_a_target_is_a_path_of_this_host_and_a_query(url: bytes, parts: tuple[bytes, bytes]) -> None:
    assert split_target(url, HOSTS) == parts


@pytest.mark.parametrize(
    "url",
    [
        b"",
        b"*",
        b"a/b",
        b"api.example:8080",
        b"http://other.example/a",
        b"http://api.example/a",
        b"http://user@api.example:8080/a",
        b"http://api.example:8080\\@other.example/a",
        b"ftp://api.example:8080/a",
        b"http:///a",
    ],
)
def test_any_other_target_is_refused(url: bytes) -> None:
    with pytest.raises(ValueError, match="no path of this host"):
        split_target(url, HOSTS)


@pytest.mark.parametrize("url", [b"/#", b"/a#b", b"/a?b#c", b"/a#b?c", b"http://api.example:8080/a#b", b"#"])
def test_a_target_with_a_fragment_is_refused(url: bytes) -> None:
    with pytest.raises(ValueError, match="has a fragment"):
        split_target(url, HOSTS)


@pytest.mark.parametrize("hosts", [[], [b"api.example:8080", b"api.example:8080"]])
def test_an_absolute_target_needs_the_one_host_of_the_request(hosts: list[bytes]) -> None:
    with pytest.raises(ValueError, match="no path of this host"):
        split_target(b"http://api.example:8080/a", hosts)


@pytest.mark.parametrize(
    ("connection", "upgrade", "asked"),
    [
        ([b"Upgrade"], [b"WebSocket"], True),
        ([b"keep-alive, Upgrade"], [b"websocket"], True),
        ([b"keep-alive", b"upgrade"], [b"websocket"], True),
        ([b"keep-alive"], [b"websocket"], False),
        ([b"upgraded"], [b"websocket"], False),
        ([b"upgrade"], [], False),
        ([b"upgrade"], [b"websocket", b"h2c"], False),
    ],
)
def test_a_websocket_is_asked_for_by_two_headers(connection: list[bytes], upgrade: list[bytes], asked: bool) -> None:
    headers = [(b"connection", value) for value in connection] + [(b"upgrade", value) for value in upgrade]
    assert asks_for_websocket(headers) is asked
