import pytest

from isolet.domain.shared_origin import asks_for_worker, tamed

SANDBOX = (b"content-security-policy", b"sandbox allow-scripts allow-forms allow-popups")
NOSNIFF = (b"x-content-type-options", b"nosniff")


@pytest.mark.parametrize(
    "name",
    [
        b"service-worker-allowed",
        b"clear-site-data",
        b"strict-transport-security",
        b"alt-svc",
        b"nel",
        b"report-to",
        b"reporting-endpoints",
        b"origin-agent-cluster",
        b"public-key-pins",
        b"expect-ct",
        b"accept-ch",
        b"critical-ch",
        b"set-login",
        b"idp-signin-status",
        b"speculation-rules",
        b"document-policy",
    ],
)
def test_headers_that_rule_the_origin_are_dropped(name: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"x-own", b"1")]
    for sandboxed in (True, False):
        assert tamed([*headers, (name, b"x")], sandboxed=sandboxed) == [*headers, NOSNIFF]


@pytest.mark.parametrize(
    "kind",
    [
        b"text/html",
        b"Text/HTML; charset=utf-8",
        b" text/html",
        b"application/xhtml+xml",
        b"image/svg+xml",
        b"text/xml",
        b"application/xml",
        b"application/atom+xml; a=b",
        b"text/plain, text/html",
        b"multipart/x-mixed-replace; boundary=a",
        b"text/xsl",
    ],
)
def test_pages_get_an_origin_of_their_own(kind: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-security-policy", b"default-src 'self'")]
    assert tamed(headers, sandboxed=True) == [*headers, SANDBOX]
    assert tamed(headers, sandboxed=False) == headers


def test_of_several_types_any_may_be_the_one_that_counts() -> None:
    for kinds in ((b"text/html", b"text/plain"), (b"text/plain", b"text/html")):
        headers = [(b"content-type", kind) for kind in kinds]
        assert tamed(headers, sandboxed=True) == [*headers, SANDBOX]


@pytest.mark.parametrize("kind", [b"text/plain", b"application/json", b"", b"image/png", b"*/*", b"nonsense"])
def test_what_is_no_page_is_not_guessed_to_be_one(kind: bytes) -> None:
    headers = [(b"content-type", kind)]
    assert tamed(headers, sandboxed=True) == [*headers, NOSNIFF]
    assert tamed([*headers, (b"x-content-type-options", b"sniff")], sandboxed=True) == [*headers, NOSNIFF]
    assert tamed([], sandboxed=True) == [NOSNIFF]


def test_a_cookie_of_the_dashboards_name_is_dropped() -> None:
    kept = (b"set-cookie", b"a=1")
    assert tamed([kept, (b"set-cookie", b"=isolet_session=x")], sandboxed=True) == [kept, NOSNIFF]


@pytest.mark.parametrize("kind", [None, b"text/plain", b"application/json"])
def test_a_policy_of_its_own_never_goes_without_the_sandbox(kind: bytes | None) -> None:
    """A 304 may bring nothing else, and it takes the place of the policy of the page that a browser has kept."""
    headers = [(b"content-security-policy", b"default-src *"), *([] if kind is None else [(b"content-type", kind)])]
    assert tamed(headers, sandboxed=True) == [*headers, SANDBOX, NOSNIFF]
    assert tamed(headers, sandboxed=False) == [*headers, NOSNIFF]


@pytest.mark.parametrize(
    ("cookie", "kept"),
    [
        (b"a=1; Domain=example.com; Path=/", b"a=1; Path=/"),
        (b"a=1;domain = .example.com", b"a=1"),
        (b"a=1; Path=/;\tDOMAIN", b"a=1; Path=/"),
        (b"a=1; domain=a; x; Domain=b; Secure", b"a=1; x; Secure"),
        (b"domain=example.com; DomainX=y", b"domain=example.com; DomainX=y"),
        (b"a=1; Path=/; Secure", b"a=1; Path=/; Secure"),
    ],
)
def test_a_cookie_is_for_this_host_alone(cookie: bytes, kept: bytes) -> None:
    """Other hosts below the same name are the operator's, or other tenants'."""
    assert tamed([(b"set-cookie", cookie)], sandboxed=True) == [(b"set-cookie", kept), NOSNIFF]
    assert tamed([(b"set-cookie", cookie)], sandboxed=False) == [(b"set-cookie", cookie), NOSNIFF]


@pytest.mark.parametrize(
    ("asked", "root"),
    [
        (b"/v1/shop/fn/login", b"/v1/shop/"),
        (b"/f/shop/login/deep/er", b"/f/shop/"),
        (b"/spaces/shop/functions/login/invoke/a/b", b"/spaces/shop/"),
        (b"/platform/v1/functions/0197/invoke", b"/platform/v1/functions/0197/"),
        (b"/api/v1/functions/0197/invoke", b"/api/v1/functions/0197/"),
    ],
)
def test_a_cookie_is_for_paths_of_its_project_alone(asked: bytes, root: bytes) -> None:
    """Others on the host would be sent the sessions of its users, and could set theirs."""
    for given, kept in (
        (b"a=1; Path=/; Secure", b"a=1; Secure; Path=" + root),
        (b"a=1; path = /v1 ; Path=/v1/other/; HttpOnly", b"a=1; HttpOnly; Path=" + root),
        (b"a=1; Path=" + root[:-1], b"a=1; Path=" + root),
        (b"a=1; Path=" + root + b"x;Path; Secure", b"a=1; Secure;Path"),
        (b"a=1; Path=/;Path=" + root + b"x", b"a=1;Path=" + root + b"x"),
        (b"a=1; Path=" + root + b"x", b"a=1; Path=" + root + b"x"),
        (b"a=1; Path=relative", b"a=1; Path=relative"),
        (b"a=1", b"a=1"),
    ):
        assert tamed([(b"set-cookie", given)], sandboxed=True, asked=asked) == [(b"set-cookie", kept), NOSNIFF]
        assert tamed([(b"set-cookie", given)], sandboxed=False, asked=asked)[0] == (b"set-cookie", given)
    behind = tamed([(b"set-cookie", b"a=1; Path=/")], sandboxed=True, asked=asked, base=b"/isolet")
    assert behind[0] == (b"set-cookie", b"a=1; Path=/isolet" + root)


@pytest.mark.parametrize(
    ("challenge", "kept"),
    [
        (b'Basic realm="B"', b'Basic realm="/v1/shop/ B"'),
        (b"basic", b'Basic realm="/v1/shop/ "'),
        (b'Basic charset="UTF-8", realm="B", REALM = "C\\" d"', b'Basic realm="/v1/shop/ C\\" d", charset="UTF-8"'),
        (b'Bearer realm="x", Basic realm=B', b'Basic realm="/v1/shop/ B"'),
        (b'Bearer realm="basic"', b'Bearer realm="basic"'),
        (b"Negotiate", None),
        (b"NTLM", None),
        (b'Digest realm="B", nonce="1"', None),
    ],
)
def test_a_password_is_asked_for_in_a_realm_of_the_projects_own(challenge: bytes, kept: bytes | None) -> None:
    """Browsers send what was typed for one realm of a host to all who name it."""
    header, asked = b"www-authenticate", b"/v1/shop/fn/x"
    told = [] if kept is None else [(header, kept)]
    assert tamed([(header, challenge)], sandboxed=True, asked=asked) == [*told, NOSNIFF]
    assert tamed([(header, challenge)], sandboxed=False, asked=asked) == [(header, challenge), NOSNIFF]


def test_a_request_for_a_service_worker_is_told_from_others() -> None:
    for header in (
        (b"service-worker", b"script"),
        (b"service-worker", b" Script "),
        (b"sec-fetch-dest", b"serviceworker"),
    ):
        assert asks_for_worker([(b"accept", b"*/*"), header])
    assert not asks_for_worker([(b"service-worker-navigation-preload", b"true"), (b"sec-fetch-dest", b"script")])
