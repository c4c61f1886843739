from __future__ import annotations

import pytest

from isolet.domain.public_routes import (
    HostNames,
    Place,
    check_access,
    check_cors,
    check_hosts,
    check_path,
    host_of,
    labels_of,
    plain_host,
    shared_place,
)
from isolet.errors import InvalidInput, RequestError

NAMES = HostNames(domain="fn.example.com", reserved=frozenset({"api.example.com", "x.fn.example.com"}))


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"/f/default/todo", (b"/", b"/f/default/todo")),
        (b"/f/default/todo/", (b"/", b"/f/default/todo")),
        (b"/f/default/todo/a/b%2Fc//d", (b"/a/b%2Fc//d", b"/f/default/todo")),
        (b"/f/default/to%64o/...", (b"/...", b"/f/default/to%64o")),
        (b"/f/default/todo/%E2%98%83", (b"/%E2%98%83", b"/f/default/todo")),
    ],
)
def test_a_path_names_project_function_and_what_the_function_sees(path: bytes, place: tuple[bytes, bytes]) -> None:
    assert shared_place(path) == Place(project="default", function="todo", path=place[0], prefix=place[1])


@pytest.mark.parametrize("path", [b"/f/", b"/f/default", b"/f/default/", b"/f//todo", b"/f//"])
def test_a_path_without_a_function_names_none(path: bytes) -> None:
    assert shared_place(path) is None


@pytest.mark.parametrize(
    "path",
    [
        b"/f/default/todo/../other",
        b"/f/default/todo/%2e%2e/other",
        b"/f/default/todo/%2E./other",
        b"/f/default/..",
        b"/f/../isolet/v1",
        b"/f/default/todo/..%2fother",
        b"/f/default/todo/..\\other",
        b"/f/default/todo/..%5Cother",
        b"/f/default/todo/%00",
        b"/f/default/to%00do",
        b"/f/default/todo/.. /a",
    ],
)
def test_an_unsafe_path_is_refused(path: bytes) -> None:
    with pytest.raises(RequestError):
        check_path(path)


@pytest.mark.parametrize("path", [b"/f/p/n/a..b", b"/f/p/n/%2e", b"/f/p/n/...", b"/f/p/n/%252e%252e/x", b"/f/p/n/100%"])
def test_a_path_that_only_looks_like_one_passes(path: bytes) -> None:
    check_path(path)


@pytest.mark.parametrize(
    ("label", "meanings"),
    [
        ("todo", [("todo", None)]),
        ("todo--shop", [("todo", "shop"), ("todo--shop", None)]),
        ("a--b--c", [("a--b", "c"), ("a", "b--c"), ("a--b--c", None)]),
        ("a---b", [("a-", "b"), ("a", "-b"), ("a---b", None)]),
        ("--b", [("--b", None)]),
        ("a--", [("a--", None)]),
        ("a.b", []),
        ("x" * 64, []),
    ],
)
def test_what_a_label_may_mean(label: str, meanings: list[tuple[str, str | None]]) -> None:
    assert labels_of(label) == meanings


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("todo.fn.example.com", "todo"),
        ("a.b.fn.example.com", "a.b"),
        ("fn.example.com", None),
        ("evilfn.example.com", None),
        ("api.example.com", None),
        ("x.fn.example.com", None),
        ("", None),
    ],
)
def test_labels_are_below_the_functions_domain_only(host: str, label: str | None) -> None:
    assert NAMES.label_of(host) == label


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"Todo.FN.example.com:7878", "todo.fn.example.com"),
        (b"todo.fn.example.com.", "todo.fn.example.com"),
        (b"[::1]:7878", "[::1]"),
        (b"", ""),
    ],
)
def test_a_host_is_known_without_case_and_port(value: bytes, host: str) -> None:
    assert plain_host(value) == host


def test_a_function_has_a_host_where_its_label_fits() -> None:
    assert NAMES.url_of("todo", None) == "todo.fn.example.com"
    assert NAMES.url_of("todo", "shop") == "todo--shop.fn.example.com"
    assert NAMES.url_of("t" * 60, "shop") is None
    assert HostNames().url_of("todo", None) is None
    assert host_of("https://API.example.com:8443/x") == "api.example.com"
    assert host_of(None) is None


def test_claims_are_checked() -> None:
    assert check_hosts([" Shop.Example.com. ", "xn--mnchen-3ya.example"]) == [
        "shop.example.com",
        "xn--mnchen-3ya.example",
    ]
    assert check_hosts(None) == []


@pytest.mark.parametrize(
    "hosts",
    [
        "shop.example.com",
        [5],
        [""],
        ["localhost"],
        ["shop"],
        ["127.0.0.1"],
        ["1.2.3"],
        ["::1.example.com"],
        ["shop.example.com:80"],
        ["-a.example.com"],
        ["a b.example.com"],
        ["a\r\nb.example.com"],
        ["ü.example.com"],
        ["x" * 64 + ".example.com"],
        [".".join(["abcdefgh"] * 30)],
        ["a.example.com", "A.example.com"],
        [f"h{number}.example.com" for number in range(21)],
    ],
)
def test_a_bad_claim_is_refused(hosts: object) -> None:
    with pytest.raises(InvalidInput, match=r"^hosts"):
        check_hosts(hosts)


@pytest.mark.parametrize("host", ["api.example.com", "fn.example.com", "other.fn.example.com"])
def test_hosts_of_the_server_are_nobodys(host: str) -> None:
    with pytest.raises(InvalidInput, match=r"^hosts: "):
        NAMES.check_free([host])


def test_access_and_cors_are_words() -> None:
    assert check_access("user") == "user"
    assert check_cors("function") == "function"
    for value in ("all", None, 1):
        with pytest.raises(InvalidInput, match=r"^access must be one of public, key, user, none$"):
            check_access(value)
        with pytest.raises(InvalidInput, match=r"^cors must be one of platform, function$"):
            check_cors(value)


def test_a_server_that_does_not_know_its_own_name_gives_none_away() -> None:
    names = HostNames(knows_itself=False)
    names.check_free([])
    with pytest.raises(InvalidInput, match=r"^hosts: .*its operator sets ISOLET_PUBLIC_URL first$"):
        names.check_free(["api.example.com"])
