import pytest

from isolet.domain.platform_pages import PlatformPages, origin_of

PAGES = PlatformPages(host="127.0.0.1", port=7879, api_port=7878)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("isolet.example:7878", "isolet.example"),
        ("Isolet.Example", "isolet.example"),
        ("[::1]:7878", "[::1]"),
        ("10.0.0.1:1", "10.0.0.1"),
        ("", "127.0.0.1"),
        ("a/b?c@d", "127.0.0.1"),
        ("a; script-src *", "127.0.0.1"),
        ("a:b:c", "127.0.0.1"),
    ],
)
def test_pages_and_api_are_found_under_the_name_that_was_asked(asked: str, name: str) -> None:
    assert PAGES.base(asked) == f"http://{name}:7879"
    assert PAGES.api_base(asked) == f"http://{name}:7878"
    assert PAGES.are(f"http://{name}:7879", asked)


@pytest.mark.parametrize(
    "origin",
    ["http://isolet.example:7878", "https://isolet.example:7879", "http://evil.example:7879", "null", "", "*"],
)
def test_no_other_origin_is_theirs(origin: str) -> None:
    assert not PAGES.are(origin, "isolet.example:7878")


def test_addresses_that_were_set_hold_for_every_name() -> None:
    pages = PlatformPages(
        host="x", port=1, api_port=2, url="https://Pages.example:443/isolet", api_url="https://api.example"
    )
    assert (pages.base("a"), pages.api_base("a")) == ("https://Pages.example:443/isolet", "https://api.example")
    assert pages.are("https://pages.example", "api.example")
    assert not pages.are("http://api.example:1", "api.example")


def test_an_origin_is_written_as_browsers_write_it() -> None:
    assert origin_of("HTTP://A.example:80/path?q#f") == "http://a.example"
    assert origin_of("https://user@a.example:8443/") == "https://a.example:8443"
