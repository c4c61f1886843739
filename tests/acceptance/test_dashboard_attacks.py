"""A hostile page of a function, on the same host and in the same browser, reads and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.browser import Browser
from tests.support.dashboard import Desk
from tests.support.server import ROOT_KEY, Server

# What a page tells of its attempts; `D` is the dashboard.
SCRIPT = """
const D = %s, told = {};
const attempt = async (name, work) => {
  try { told[name] = String(await work()); } catch (error) { told[name] = "refused"; }
};
const settled = (element, ...events) => new Promise((resolve) => {
  for (const event of events) element.addEventListener(event, () => resolve(event));
  document.body.append(element);
});
const posted = (fields, path) => settled((() => {
  const frame = document.createElement("iframe");
  frame.name = "target-" + path;
  setTimeout(() => {
    const form = document.createElement("form");
    Object.assign(form, { method: "POST", action: D + path, target: frame.name });
    for (const [name, value] of Object.entries(fields)) {
      form.append(Object.assign(document.createElement("input"), { name, value }));
    }
    document.body.append(form);
    form.submit();
  });
  return frame;
})(), "load");
(async () => { %s; document.documentElement.dataset.told = JSON.stringify(told); })();
"""
ATTACKS = {
    "fetch": """
      for (const path of ["/dashboard/", "/dashboard/projects", "/dashboard/api/projects"]) {
        await attempt(path, async () => (await fetch(D + path, { credentials: "include" })).text());
        await attempt("opaque " + path, async () =>
          (await (await fetch(D + path, { credentials: "include", mode: "no-cors" })).text()).length);
      }
      await attempt("change", async () => (await fetch(D + "/dashboard/projects", {
        method: "POST", credentials: "include", mode: "no-cors",
        body: new URLSearchParams({ slug: "stolen" }) })).text());
      await attempt("token", async () => (await fetch(D + "/dashboard/api/projects/default", {
        method: "DELETE", credentials: "include", headers: { "x-form-token": "x" } })).status)""",
    "form": """
      await attempt("create", () => posted({ slug: "stolen" }, "/dashboard/projects"));
      await attempt("sign out", () => posted({}, "/dashboard/logout"));
      await attempt("sign in", () => posted({ key: "isk_of-the-attacker" }, "/dashboard/login"))""",
    "frame": """
      const frame = Object.assign(document.createElement("iframe"), { src: D + "/dashboard/projects" });
      await settled(frame, "load", "error");
      await attempt("read", () => frame.contentDocument.body.innerText.includes("Projects"));
      await attempt("location", () => frame.contentWindow.location.href)""",
    "script": """
      const script = Object.assign(document.createElement("script"), { src: D + "/dashboard/projects" });
      await attempt("script", () => settled(script, "load", "error"));
      const image = Object.assign(document.createElement("img"), { src: D + "/dashboard/assets/icon.svg" });
      await attempt("image", () => settled(image, "load", "error"))""",
    "window": """
      const opened = window.open(D + "/dashboard/projects");
      const there = () => {
        try { return opened.closed || opened.location.href !== "about:blank"; } catch { return true; }
      };
      while (!there()) await new Promise((resolve) => setTimeout(resolve, 20));
      await attempt("read", () => opened.document.body.innerText.includes("Projects"));
      await attempt("call", () => opened.eval("1"))""",
    "cookie": """
      for (const path of ["/", "/dashboard", "/dashboard/projects", "/dashboard/projects/default/functions"]) {
        await attempt("set " + path, () => { document.cookie = "isolet_session=" + "x".repeat(43) + "; Path=" + path });
      }
      await attempt("see", () => document.cookie.includes("isolet_session=" + "x".repeat(43)) && "its own")""",
    "worker": """
      await attempt("register", async () =>
        (await navigator.serviceWorker.register(location.pathname + "/sw.js", { scope: "/" })).scope);
      await attempt("register there", async () =>
        (await navigator.serviceWorker.register(D + "/dashboard/assets/app.js", { scope: "/" })).scope)""",
}
# What an attempt may say that gives nothing away: nobody knows more by it than that the dashboard is there.
HARMLESS = {"refused", "0", "load", "error", "undefined", "", "its own", "false"}


@pytest.fixture(scope="module", params=["sandboxed", "plain"])
def desk(request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Signed in with the root key, where pages of functions are sandboxed, and where they act as their origin."""
    folder = tmp_path_factory.mktemp(request.param) / "data"
    with Server(folder, shared_pages=request.param) as server, browser.page() as page:
        desk = Desk(page=page, server=server, slug="default")
        desk.sign_in(ROOT_KEY)
        yield desk


def test_a_link_of_another_site_leads_to_the_page(desk: Desk) -> None:
    html = f'<a id="link" href="{desk.address("functions")}?q=x">the functions</a>'
    typed = '{ headers: { "content-type": "text/html" } }'
    code = f"export default {{ fetch: () => new Response({json.dumps(html)}, {typed}) }}"
    with desk.server.client() as root:
        made = {"name": "linker", "code": code, "access": "public"}
        root.post("/isolet/v1/projects/default/functions", params={"wait": 60}, json=made).raise_for_status()
    desk.page.open(desk.server.url.replace("127.0.0.1", "localhost") + "/f/default/linker")
    desk.page.run("void document.getElementById('link').click()")
    desk.page.wait_for("location.search === '?q=x&from=1' && Boolean(document.querySelector('.side'))", "it is there")


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_page_reads_and_changes_nothing(desk: Desk, attack: str) -> None:
    server, page = desk.server, desk.page
    html = f"<!DOCTYPE html><body><script>{SCRIPT % (json.dumps(server.pages_url), ATTACKS[attack])}</script>"
    code = f"""export default {{ fetch(request) {{
      if (request.url.endsWith("sw.js")) {{
        return new Response("", {{ headers: {{ "content-type": "text/javascript", "service-worker-allowed": "/" }} }});
      }}
      return new Response({json.dumps(html)}, {{ headers: [["content-type", "text/html"],
        ["set-cookie", "isolet_session=tossed; Path=/dashboard"]] }});
    }} }}"""
    with server.client() as root:
        made = root.post(
            "/isolet/v1/projects/default/functions",
            params={"wait": 60},
            json={"name": attack, "code": code, "access": "public"},
        )
        assert made.status_code == 201, made.text
        before = page.cookies()["isolet_session"]
        page.open(f"{server.url}/f/default/{attack}")
        told = json.loads(page.wait_for("document.documentElement.dataset.told ?? ''", "the attack ended"))
        assert told
        assert {name: said for name, said in told.items() if said not in HARMLESS} == {}
        slugs = [project["slug"] for project in root.get("/isolet/v1/projects").json()["data"]]
        assert slugs == ["default"]
    desk.open("functions")
    desk.see(attack)
    assert page.run("location.pathname").endswith("/functions")
    if attack != "cookie":
        assert page.cookies()["isolet_session"] == before
