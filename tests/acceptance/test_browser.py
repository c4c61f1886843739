"""What pages of functions can do in a real browser, on the origin that they share: nothing to others."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.support.browser import Browser, Page
from tests.support.butterbase import Butterbase
from tests.support.projects import new_project
from tests.support.server import ROOT_KEY, Server

# It asks for every path of the origin.
WORKER = """export default { fetch() {
  const script = `self.addEventListener("install", () => self.skipWaiting());
    self.addEventListener("activate", (event) => event.waitUntil(clients.claim()));
    self.addEventListener("fetch", (event) => event.respondWith(new Response("tenant-a is here")));`;
  return new Response(script, { headers: { "content-type": "text/javascript", "service-worker-allowed": "/" } });
} }"""
VICTIM = """export default { fetch(request) {
  return Response.json({ cookie: request.headers.get("cookie"), said: "hello of b" });
} }"""
SCRIPT = """const told = [];
const attempt = async (name, work) => {
  try { told.push(name + "=" + await work()); } catch (error) { told.push(name + " refused"); }
};
(async () => { %s; document.documentElement.setAttribute("data-told", told.join(";") + ";end"); })();"""


class Functions:
    """Functions of one project, called by anybody."""

    def __init__(self, butterbase: Butterbase, server: Server) -> None:
        self._butterbase = butterbase
        self._base = f"{server.url}/v1/{butterbase.app}/fn/"

    def make(self, name: str, code: str) -> str:
        """Its address."""
        self._butterbase.deploy(name, code)
        return self._base + name

    def page(self, name: str, script: str, **headers: str) -> str:
        """A function that answers with a page that runs a script."""
        html = f"<!DOCTYPE html><title>{name}</title><p>page</p><script>{SCRIPT % script}</script>"
        return self.body(name, html, **{"content_type": "text/html", **headers})

    def body(self, name: str, body: str, **headers: str) -> str:
        told = [[header.replace("_", "-"), value] for header, value in headers.items()]
        bytes_ = f"new TextEncoder().encode({json.dumps(body)})"
        return self.make(
            name, f"export default {{ fetch: () => new Response({bytes_}, {{ headers: {json.dumps(told)} }}) }}"
        )


@pytest.fixture
def functions(butterbase: Butterbase, server: Server) -> Functions:
    return Functions(butterbase, server)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.page() as opened:
        yield opened


def told(page: Page) -> list[str]:
    """What the script of an attacking page says of its attempts."""
    ended = "(document.documentElement.getAttribute('data-told') || '').endsWith(';end')"
    page.wait_for(ended, "the page's script ended")
    return str(page.run("document.documentElement.getAttribute('data-told')")).split(";")[:-1]


def register(worker: str) -> str:
    asked = f"navigator.serviceWorker.register('{worker}', {{ scope: '/' }})"
    return f"await attempt('register', async () => (await {asked}).scope)"


def test_no_service_worker_is_installed(functions: Functions, page: Page, server: Server) -> None:
    worker, victim = functions.make("sw", WORKER), functions.make("victim", VICTIM)
    attack = functions.page("attack", register(worker))
    assert told(page.open(attack)) == ["register refused"]
    assert "hello of b" in page.open(victim).text
    assert page.open(f"{server.url}/healthz").text.startswith("{")


def test_no_service_worker_is_installed_where_pages_are_plain(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("plain") / "data"
    with (
        Server(folder, shared_pages="plain") as plain,
        plain.client() as root,
        plain.client("") as public,
        new_project(plain, root) as project,
        browser.page() as page,
    ):
        functions = Functions(Butterbase(project.client, public), plain)
        worker, victim = functions.make("sw", WORKER), functions.make("victim", VICTIM)
        script = register(worker) + ";await attempt('origin', () => self.origin)"
        assert told(page.open(functions.page("attack", script))) == ["register refused", f"origin={plain.url}"]
        assert "hello of b" in page.open(victim).text


@pytest.mark.parametrize("kind", ["text/html", "application/xhtml+xml", "image/svg+xml", "text/xml"])
def test_a_page_is_an_origin_of_its_own(functions: Functions, page: Page, kind: str) -> None:
    script = """await attempt("origin", () => self.origin); await attempt("store", () => localStorage.length);
      await attempt("cookie", () => { document.cookie = "isolet_session=x; path=/"; return document.cookie; })"""
    if kind == "text/html":
        address = functions.page("own", script)
    else:
        root = "svg" if "svg" in kind else "html"
        space = "http://www.w3.org/2000/svg" if root == "svg" else "http://www.w3.org/1999/xhtml"
        body = f'<{root} xmlns="{space}"><script><![CDATA[{SCRIPT % script}]]></script></{root}>'
        address = functions.body("own", body, content_type=kind)
    assert told(page.open(address)) == ["origin=null", "store refused", "cookie refused"]
    assert page.cookies() == {}


def test_a_page_that_is_still_good_stays_an_origin_of_its_own(functions: Functions, page: Page) -> None:
    """The policy of a 304 takes the place of that of the page which the browser has kept."""
    script = SCRIPT % 'await attempt("origin", () => self.origin)'
    html = f"<!DOCTYPE html><script>{script}</script>"
    policy = "script-src * 'unsafe-inline'"
    address = functions.make(
        "kept",
        f"""let again = 0;
        export default {{ fetch(request) {{
          if (request.url.endsWith("?again")) return Response.json(again);
          const headers = {{ etag: '"1"', "cache-control": "no-cache", "content-security-policy": "{policy}" }};
          if (request.headers.has("if-none-match")) {{
            again += 1;
            return new Response(null, {{ status: 304, headers }});
          }}
          headers["content-type"] = "text/html";
          return new Response({json.dumps(html)}, {{ headers }});
        }} }}""",
    )
    assert told(page.open(address)) == ["origin=null"]
    assert told(page.open(address)) == ["origin=null"]
    assert page.open(f"{address}?again").text == "1"


@pytest.mark.parametrize("kind", ["", "text/plain", "*/*", "application/octet-stream;x", "unknown/unknown"])
def test_what_says_not_that_it_is_a_page_is_none(functions: Functions, page: Page, kind: str) -> None:
    address = functions.body(
        "odd", "<html><script>document.title = 'ran'</script>", **({"content_type": kind} if kind else {})
    )
    page.open_or_save(address)
    assert page.run("document.title") != "ran"


def test_cookies_of_functions_are_not_the_dashboards(functions: Functions, page: Page, server: Server) -> None:
    cookies = [
        "isolet_session=evil; Path=/dashboard",
        "=isolet_session=evil; Path=/",
        "isolet_session",
        "own=1; Path=/",
    ]
    pairs = json.dumps([["set-cookie", cookie] for cookie in cookies])
    page.open(functions.make("set", f"export default {{ fetch: () => new Response('', {{ headers: {pairs} }}) }}"))
    assert page.cookies() == {"own": "1"}
    # Cookies know no ports: this one of the pages' origin comes with every request to functions.
    page.set_cookie(server.pages_url, "isolet_session", "of-an-operator", path="/")
    page.set_cookie(server.pages_url, "__Host-isolet_session", "of-an-operator", path="/", secure=True)
    seen = json.loads(page.open(functions.make("victim", VICTIM)).text)
    assert seen["cookie"] == "own=1"


def test_no_project_gets_or_sets_the_cookies_of_another(
    functions: Functions, page: Page, server: Server, root: httpx.Client, anonymous: httpx.Client
) -> None:
    cookies = json.dumps([["set-cookie", "session=of-a; Path=/; HttpOnly"], ["set-cookie", "theirs=1; Path=/v1/"]])
    page.open(functions.make("set", f"export default {{ fetch: () => new Response('', {{ headers: {cookies} }}) }}"))
    assert json.loads(page.open(functions.make("own", VICTIM)).text)["cookie"] == "session=of-a; theirs=1"
    with new_project(server, root) as other:
        victim = Functions(Butterbase(other.client, anonymous), server).make("victim", VICTIM)
        assert json.loads(page.open(victim).text)["cookie"] is None


def test_no_function_clears_what_others_stored(functions: Functions, page: Page, server: Server) -> None:
    page.set_cookie(server.url, "of_b", "1", path="/")
    page.open(functions.page("clear", "", clear_site_data='"*"', set_login="logged-out", origin_agent_cluster="?1"))
    assert page.cookies() == {"of_b": "1"}


def test_no_function_reads_or_frames_the_pages_of_the_platform(
    functions: Functions, page: Page, server: Server
) -> None:
    docs, projects = f"{server.pages_url}/docs", f"{server.url}/isolet/v1/projects"
    script = f"""
      await attempt("read", async () => (await fetch("{docs}")).status);
      await attempt("describe", async () => (await fetch("{docs}/openapi.json")).status);
      await attempt("frame", () => new Promise((resolve, reject) => {{
        const frame = document.createElement("iframe");
        frame.src = "{docs}";
        frame.onload = () => {{ try {{ resolve(frame.contentDocument.title); }} catch (error) {{ reject(error); }} }};
        document.body.append(frame);
      }}));
      await attempt("manage", async () => (await fetch("{projects}", {{ credentials: "include" }})).status)"""
    answers = told(page.open(functions.page("attack", script)))
    assert answers == ["read refused", "describe refused", "frame refused", "manage refused"]


def test_the_api_pages_work_under_their_policy(page: Page, server: Server) -> None:
    page.open(f"{server.url}/docs")
    assert page.run("location.href") == f"{server.pages_url}/docs"
    # The page draws only those of a long list that are in view.
    look = "document.querySelectorAll('.opblock').forEach((one) => seen.add(one.id))"
    page.run("window.seen = new Set(), 0")
    page.wait_for(f"({look}, scrollBy(0, innerHeight), seen.size > 50)", "the operations are shown")
    page.run("scrollTo(0, 0)")
    page.wait_for("!!document.querySelector('[id$=-projects_list]')", "the first of them are in view")
    click = "document.querySelector(%s).click()"
    page.run(click % "'.btn.authorize'")
    page.wait_for("!!document.querySelector('.auth-container input')", "the dialog is there")
    assert page.run("document.querySelectorAll('.auth-container').length") == 2
    page.run("document.querySelector('.auth-container input').focus()")
    page.send("Input.insertText", text=ROOT_KEY)
    page.run(click % "'.auth-container .authorize'")
    page.run(click % "'.btn-done'")
    listing = "[id$=-projects_list]"
    page.run(click % f"'{listing} .opblock-summary-control'")
    for button in (".try-out__btn", ".execute"):
        page.wait_for(f"!!document.querySelector('{listing} {button}')", button)
        page.run(click % f"'{listing} {button}'")
    answer = f"document.querySelector('{listing} .live-responses-table tbody')"
    page.wait_for(f"!!{answer}", "an answer")
    assert page.run(f"{answer}.innerText").startswith("200")
    assert page.errors == []
