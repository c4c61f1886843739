"""Signing in to the dashboard, and what a request needs that changes something."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.support.projects import Project
from tests.support.server import NO_CAS, Server

LOGIN = "/dashboard/login"
FUNCTIONS = "/dashboard/projects/{slug}/functions"


class Visitor:
    """A browser without a window: it keeps cookies and sends what browsers send."""

    def __init__(self, server: Server) -> None:
        self.origin = server.pages_url
        self.http = httpx.Client(base_url=server.pages_url, trust_env=False, verify=NO_CAS, timeout=60)

    def sign_in(self, key: str) -> httpx.Response:
        return self.post(LOGIN, {"key": key})

    def post(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        return self.http.post(path, data=form, headers={"Origin": self.origin, **headers})

    def token(self, path: str) -> str:
        found = re.search(r'name="form_token" value="([0-9a-f]{64})"', self.http.get(path).text)
        assert found is not None
        return found[1]

    @property
    def is_in(self) -> bool:
        return bool(self.http.get("/dashboard/").headers["location"] != LOGIN)


@pytest.fixture
def visitor(server: Server) -> Iterator[Visitor]:
    made = Visitor(server)
    with made.http:
        yield made


@pytest.fixture
def operator(server: Server) -> Iterator[Visitor]:
    """Another browser, signed in with the root key."""
    made = Visitor(server)
    with made.http:
        made.sign_in(server.root_key)
        yield made


def test_a_key_signs_in_and_signing_out_ends_the_session(visitor: Visitor, server: Server) -> None:
    assert visitor.http.get("/dashboard").headers["location"] == LOGIN
    wrong = visitor.sign_in("isk_wrong")
    assert (wrong.status_code, "not valid" in wrong.text, "set-cookie" in wrong.headers) == (401, True, False)
    reply = visitor.sign_in(server.root_key)
    assert (reply.status_code, reply.headers["location"]) == (303, "/dashboard/")
    cookie = reply.headers["set-cookie"]
    assert re.fullmatch(r"isolet_session=[\w-]{43}; Path=/dashboard; Max-Age=604800; HttpOnly; SameSite=Strict", cookie)
    page = FUNCTIONS.format(slug="default")
    assert visitor.http.get("/dashboard/").headers["location"] == page
    shown = visitor.http.get(page)
    assert (shown.status_code, shown.headers["cache-control"]) == (200, "no-store")
    kept = visitor.http.cookies["isolet_session"]
    gone = visitor.post("/dashboard/logout", {"form_token": visitor.token(page)})
    assert (gone.status_code, gone.headers["location"]) == (303, LOGIN)
    assert visitor.http.get(page, headers={"Cookie": f"isolet_session={kept}"}).headers["location"] == LOGIN


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "{api}"},
        {"Origin": "{pages}", "Sec-Fetch-Site": "same-site"},
        {"Origin": "{pages}", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_what_no_page_of_ours_sent_changes_nothing(visitor: Visitor, server: Server, headers: dict[str, str]) -> None:
    headers = {name: value.format(api=server.url, pages=server.pages_url) for name, value in headers.items()}
    assert visitor.http.post(LOGIN, data={"key": server.root_key}, headers=headers).status_code == 403
    assert visitor.sign_in(server.root_key).status_code == 303
    token = visitor.token("/dashboard/projects")
    form = {"form_token": token, "slug": "stolen"}
    assert visitor.http.post("/dashboard/projects", data=form, headers=headers).status_code == 403
    assert visitor.http.post("/dashboard/logout", data=form, headers=headers).status_code == 403
    relayed = visitor.http.delete("/dashboard/api/projects/default", headers={**headers, "X-Form-Token": token})
    assert relayed.status_code == 403
    assert visitor.is_in
    assert "stolen" not in visitor.http.get("/dashboard/projects").text


def test_a_changing_request_needs_the_token_of_its_session(visitor: Visitor, operator: Visitor, server: Server) -> None:
    visitor.sign_in(server.root_key)
    for token in ("", "0" * 64, "\u00e9", operator.token("/dashboard/projects")):
        assert visitor.post("/dashboard/projects", {"form_token": token, "slug": "stolen"}).status_code == 403
        assert visitor.post("/dashboard/logout", {"form_token": token}).status_code == 403
        for method in ("GET", "DELETE"):
            headers = {b"Origin": server.pages_url.encode(), b"X-Form-Token": token.encode()}
            reply = visitor.http.request(method, "/dashboard/api/projects/default", headers=headers)
            assert (reply.status_code, reply.json()["error"]["code"]) == (403, "forbidden")
    assert visitor.post("/dashboard/projects", {"slug": "stolen"}).status_code == 403
    assert visitor.is_in


def test_scripts_of_pages_reach_the_native_api_and_nothing_else(visitor: Visitor, server: Server) -> None:
    visitor.sign_in(server.root_key)
    headers = {"X-Form-Token": visitor.token("/dashboard/projects")}
    reply = visitor.http.get("/dashboard/api/projects?limit=1", headers=headers)
    assert (reply.headers["x-api-status"], len(reply.json()["data"])) == ("200", 1)
    assert "sandbox" in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    for path in ("../../f/hello", "..%2f..%2fhealthz", "/healthz", "nothing"):
        reply = visitor.http.get("/dashboard/api/" + path, headers=headers)
        assert "404" in (reply.headers.get("x-api-status"), str(reply.status_code)), path


def test_a_session_can_do_what_its_key_can_and_ends_with_it(visitor: Visitor, home: Project, stranger: Project) -> None:
    key = home.key("read")
    visitor.sign_in(key)
    own, others = (FUNCTIONS.format(slug=project.slug) for project in (home, stranger))
    assert visitor.http.get(own).status_code == 200
    for path in (others, others + "/new", "/dashboard/projects/nothing/functions"):
        assert visitor.http.get(path).status_code == 404
    made = visitor.post(own + "/new", {"form_token": visitor.token(own), "name": "no", "starter": "hello"})
    assert (made.status_code, "needs deploy" in made.text) == (403, True)
    keys = f"/isolet/v1/projects/{home.slug}/keys"
    (made,) = (one for one in home.client.get(keys).json()["data"] if one["name"] == "read")
    assert home.client.delete(f"{keys}/{made['id']}").status_code == 204
    assert visitor.http.get(own).headers["location"] == LOGIN


def test_a_function_that_is_tried_gets_no_credential(visitor: Visitor, home: Project) -> None:
    code = "export default { fetch: (request) => Response.json([...request.headers]) }"
    made = home.client.post(
        f"/isolet/v1/projects/{home.slug}/functions", params={"wait": 60}, json={"name": "echo", "code": code}
    )
    visitor.sign_in(home.key("deploy"))
    page = f"{FUNCTIONS.format(slug=home.slug)}/{made.json()['id']}/try"
    form = {"form_token": visitor.token(page), "method": "PUT", "path": "/a", "headers": "X-Mine: yes", "body": "b"}
    shown = visitor.post(page, form)
    assert (shown.status_code, "x-mine" in shown.text) == (200, True)
    record = re.search(r'href="([^"]+)">The record of this call', shown.text)
    assert record is not None
    answer = shown.text.partition('id="answer-body"')[2].partition("</pre>")[0]
    assert "x-mine" in answer
    assert "x-api-key" not in answer
    for text in (shown.text, visitor.http.get(record[1]).text):
        for secret in ("isk_", "isolet_session", visitor.http.cookies["isolet_session"]):
            assert secret not in text, secret


def test_a_form_that_is_too_large_or_no_form_is_refused(visitor: Visitor, server: Server) -> None:
    assert visitor.post(LOGIN, {"key": "x" * 5000}).status_code == 413
    headers = {"Origin": server.pages_url}
    assert visitor.http.post(LOGIN, json={"key": "x"}, headers=headers).status_code == 400
    visitor.sign_in(server.root_key)
    token = visitor.token("/dashboard/projects")
    large = visitor.post("/dashboard/projects", {"form_token": token, "slug": "x" * 1024 * 1024})
    many = visitor.post("/dashboard/projects", {"form_token": token, **{f"a{n}": "" for n in range(300)}})
    assert (large.status_code, many.status_code) == (413, 400)
    odd = visitor.post("/dashboard/projects", {"form_token": token, "slug": "\u2028\x00\ud7ff<b>"})
    assert (odd.status_code, "&lt;b&gt;" in odd.text) == (422, True)


def test_sessions_are_listed_and_ended(visitor: Visitor, operator: Visitor, server: Server) -> None:
    visitor.http.headers["User-Agent"] = "<script>alert(1)</script>"
    visitor.sign_in(server.root_key)
    listed = operator.http.get("/dashboard/sessions").text
    assert "&lt;script&gt;alert(1)" in listed
    assert "<script>alert" not in listed
    row = next(one for one in listed.split("<tr>") if "alert(1)" in one)
    address = re.search(r'action="(/dashboard/sessions/[^"]+/end)"', row)
    assert address is not None
    ended = operator.post(address[1], {"form_token": operator.token("/dashboard/sessions")})
    assert (ended.status_code, visitor.is_in, operator.is_in) == (303, False, True)
    assert operator.post(address[1], {"form_token": operator.token("/dashboard/sessions")}).status_code == 404


def test_a_link_on_another_site_asks_once_more(visitor: Visitor) -> None:
    page = FUNCTIONS.format(slug="default")
    first = visitor.http.get(page, headers={"Sec-Fetch-Site": "cross-site"})
    assert (first.status_code, f'http-equiv="refresh" content="0; url={page}?from=1"' in first.text) == (200, True)
    for site in ("same-origin", "cross-site"):
        again = visitor.http.get(page + "?from=1", headers={"Sec-Fetch-Site": site})
        assert (again.status_code, again.headers["location"]) == (303, LOGIN)


def test_a_cookie_that_another_page_set_beside_it_changes_nothing(visitor: Visitor, server: Server) -> None:
    visitor.sign_in(server.root_key)
    kept = visitor.http.cookies["isolet_session"]
    for cookie in (f"isolet_session={'x' * 43}; isolet_session={kept}", f"a=1; isolet_session={kept}; b=2"):
        reply = visitor.http.get("/dashboard/projects", headers={"Cookie": cookie})
        assert reply.status_code == 200
