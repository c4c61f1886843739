"""The pages of functions in a real browser: for everybody, and with text that would run where it is taken for HTML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tests.support.browser import Browser
from tests.support.dashboard import Desk
from tests.support.dashboard_story import FILES
from tests.support.projects import Project
from tests.support.server import Server

TABS = ("code", "try", "invocations", "logs", "metrics", "secrets", "triggers", "versions", "settings")


@pytest.fixture
def desk(browser: Browser, server: Server, home: Project) -> Iterator[Desk]:
    """Signed in with an admin key of a project of its own."""
    with browser.page() as page:
        desk = Desk(page=page, server=server, slug=home.slug)
        desk.sign_in_at_once(home.key())
        yield desk


def _function(home: Project, name: str, **more: object) -> str:
    made = home.client.post(
        f"/isolet/v1/projects/{home.slug}/functions", params={"wait": 60}, json={"name": name, **more}
    )
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def test_everybody_can_use_every_page(desk: Desk, home: Project) -> None:
    function_id = _function(home, "shown", files=FILES, variables={"REGION": "eu"})
    home.client.get(f"/f/{home.slug}/shown/a")
    v1 = f"/isolet/v1/functions/{function_id}"
    assert home.client.put(f"{v1}/secrets/TOKEN", json={"value": "x"}).status_code == 200
    assert home.client.post(f"{v1}/schedules", json={"cron": "0 3 * * *", "name": "nightly"}).status_code == 201
    assert home.client.post(f"{v1}/deploy", params={"wait": 60}).status_code == 200
    called = home.client.get("/isolet/v1/invocations").json()["data"][0]["id"]
    schedule = home.client.get(f"{v1}/schedules").json()["data"][0]["id"]
    of_function = ("functions", function_id)
    pages = [
        ("functions",),
        ("functions", "new"),
        *((*of_function, tab) for tab in TABS),
        (*of_function, "invocations", called),
        (*of_function, "triggers", schedule),
        (*of_function, "versions", "1"),
        (*of_function, "nothing"),
    ]
    addresses = [desk.address(*parts) for parts in pages]
    addresses += [f"{desk.server.pages_url}/dashboard/{path}" for path in ("projects", "sessions")]
    looks = [("light", 1280), ("dark", 390)]
    for address in addresses:
        desk.page.open(address)
        for scheme, width in looks:
            desk.page.resize(width, 800, scheme=scheme)
            assert desk.axe() == [], (address, scheme)
            assert desk.page.run("document.documentElement.scrollWidth <= innerWidth"), (address, width)
            assert desk.page.run("document.querySelectorAll('h1').length") == 1, address
        # The next page begins as this one ended.
        looks.reverse()
    # Not "no functions yet", and not "no runs yet".
    beyond = "ffffffff-ffff-7fff-bfff-ffffffffffff"
    for address, said in ((f"functions?cursor={beyond}", "There is nothing more"), ("runs?status=failed", "No run is")):
        desk.open(address)
        desk.see(said)
    unexpected = [one for one in desk.page.errors if "404" not in one]
    assert unexpected == []


def test_the_editor_completes_compares_and_keeps_what_is_not_saved(desk: Desk, home: Project) -> None:
    function_id = _function(home, "edited", files=FILES, variables={"REGION": "eu"})
    other = _function(home, "other", code="export default () => new Response();\n")
    assert home.client.put(f"/isolet/v1/functions/{function_id}/secrets/TOKEN", json={"value": "x"}).is_success
    page = desk.page
    desk.open("functions", function_id, "code")
    desk.write("export default { fetch(request, env) { env.")
    page.wait_for("document.querySelectorAll('.cm-tooltip-autocomplete li').length === 4", "what `env` has is offered")
    offered = page.run("[...document.querySelectorAll('.cm-completionLabel')].map((one) => one.textContent)")
    assert sorted(offered) == ["DB", "KV", "REGION", "TOKEN"]
    page.type("TOK")
    page.wait_for("document.querySelectorAll('.cm-tooltip-autocomplete li').length === 1", "what begins so is left")
    assert page.run("document.querySelector('.cm-completionDetail').textContent") == "secret"

    # A deleted file and a renamed one are so when the page is opened again, and no other function has the draft.
    desk.press("lib/words.js")
    desk.press("Rename")
    desk.press("Delete file")
    assert page.run("document.querySelector('.asked')") is None
    desk.press("Rename")
    desk.fill("New path", "main.js")
    desk.press("OK")
    files = "[...document.querySelectorAll('.files button')].map((one) => one.textContent).join()"
    page.wait_for(f"{files} === 'main.js •'", "both are changed")
    page.run("void document.querySelector('code-editor').disconnectedCallback()")
    desk.open("functions", other, "code")
    page.wait_for("document.querySelector('code-editor .state')?.textContent === 'Saved'", "this one is as it was")
    # Meanwhile somebody else saves.
    theirs = {"files": {**FILES, "theirs.js": ""}, "entry": "index.js"}
    assert home.client.put(f"/isolet/v1/functions/{function_id}/files", json=theirs).is_success
    desk.open("functions", function_id, "code")
    desk.see("was restored. The saved code has changed since")
    assert page.run(files) == "main.js •"
    desk.write("export default { fetch: () => new Response('new') };\n")
    desk.press("Deploy")
    desk.see("Version 2 is live.")
    stored = home.client.get(f"/isolet/v1/functions/{function_id}/files").json()
    assert (list(stored["files"]), stored["entry"]) == (["main.js"], "main.js")

    # What differs from the live version, until it is live itself.
    desk.press("Compare with live")
    desk.see("Stop comparing")
    assert page.run("document.querySelectorAll('.cm-changedLine, .cm-deletedChunk').length") == 0
    desk.write("export default { fetch: () => new Response('newest') };\n")
    page.wait_for("document.querySelector('.cm-deletedChunk')?.textContent.includes(\"'new'\")", "what it was is shown")
    assert "newest" in page.run("document.querySelector('.cm-changedLine').textContent")
    desk.press("Deploy")
    desk.see("Version 3 is live.")
    page.wait_for("!document.querySelector('.cm-changedLine, .cm-deletedChunk')", "nothing differs any more")
    assert page.errors == []


# What a chart says of each span, read with the keyboard from the last one backwards.
_READ = """(async () => {
  const place = document.querySelectorAll(".chart-place")[%d];
  const texts = [];
  for (const key of ["End", ...Array(59).fill("ArrowLeft")]) {
    place.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    texts.push(place.nextElementSibling.textContent);
  }
  place.dispatchEvent(new Event("blur"));
  return texts;
})()"""
_COLOURS = """(() => {
  const canvas = document.querySelector(".u-wrap canvas");
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  const found = new Set();
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) found.add(data.slice(at, at + 3).join());
  return [...found];
})()"""


def test_figures_are_drawn_in_the_readers_zone_and_follow_new_calls(desk: Desk, home: Project) -> None:
    code = "export default { fetch({ method }) { if (method === 'PUT') throw new Error('no'); return new Response() } }"
    function_id = _function(home, "measured", code=code)
    for method in ("GET", "GET", "GET", "PUT"):
        home.client.request(method, f"/f/{home.slug}/measured")
    page = desk.page
    page.send("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")
    desk.open("functions", function_id, "metrics?window=1h")
    page.wait_for("document.querySelectorAll('.u-wrap canvas').length === 4", "the charts are drawn")
    desk.see("Times in Asia/Tokyo")
    desk.check()

    told = [one.split(", ") for one in page.run(_READ % 0)]
    assert sum(int(calls.removeprefix("calls ")) for *_, calls, _ in told) == 4
    assert sum(int(errors.removeprefix("errors ")) for *_, errors in told) == 1
    begun = home.client.get("/isolet/v1/invocations").json()["data"][-1]["started_at"]
    there = datetime.fromisoformat(begun).astimezone(ZoneInfo("Asia/Tokyo")).strftime("%H:%M")
    assert any(there in one[1] and one[-2] != "calls 0" for one in told)
    durations = page.run(_READ % 1)
    assert sum(one.endswith("p50 –, p95 –, p99 –") for one in durations) >= 58
    assert any(one.endswith(" ms") for one in durations)

    # What the browser does with Alt and an arrow is left to it.
    move = "{ key: 'ArrowLeft', altKey: %s, cancelable: true }"
    press = f"document.querySelector('.chart-place').dispatchEvent(new KeyboardEvent('keydown', {move}))"
    assert [page.run(press % alt) for alt in ("false", "true")] == [False, True]
    page.run("void document.querySelector('.chart-place').dispatchEvent(new Event('blur'))")

    # Light, dark, and as narrow as a phone.
    assert "15,118,110" in page.run(_COLOURS)
    page.resize(390, 800, scheme="dark")
    page.wait_for(f"{_COLOURS}.includes('94,234,212')", "it is dark")
    page.wait_for("[...document.querySelectorAll('.uplot')].every((one) => one.clientWidth < 390)", "it is narrow")
    page.resize(1280, 800)
    page.wait_for(f"{_COLOURS}.includes('15,118,110')", "it is light")

    # A pointer reads the values of the same span in each chart.
    box = page.run("document.querySelector('.u-over').getBoundingClientRect().toJSON()")
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=box["x"] + box["width"] / 2, y=box["y"] + 20)
    page.wait_for("[...document.querySelectorAll('.chart-value')].every((one) => one.textContent !== '')", "it reads")

    # Another call: the same charts get longer bars, and what the reader opened stays open.
    desk.press("The same figures as a table")
    page.run("void document.querySelectorAll('.u-wrap canvas').forEach((one) => (one.seen = true))")
    home.client.get(f"/f/{home.slug}/measured")
    refresh = "document.querySelector('live-part').dispatchEvent(new CustomEvent('refresh'))"
    page.wait_for(f"{refresh} && document.querySelector('#metrics strong').textContent === '5'", "it is counted")
    assert page.run("[...document.querySelectorAll('.u-wrap canvas')].every((one) => one.seen)")
    assert sum(int(one.split(", ")[-2].removeprefix("calls ")) for one in page.run(_READ % 0)) == 5
    assert page.run("document.querySelector('details[open] tbody').textContent.includes('UTC')")
    desk.check()

    # What cannot be fetched is an error, and what was there stays.
    assert home.client.delete(f"/isolet/v1/functions/{function_id}").is_success
    title = page.run("document.title")
    page.run(f"void {refresh}")
    desk.see("Function not found")
    assert page.run("document.title") == title
    assert page.run("document.querySelectorAll('.u-wrap canvas').length") == 4
    assert page.errors == []


def test_everybody_can_sign_in(browser: Browser, server: Server) -> None:
    with browser.page() as page:
        desk = Desk(page=page, server=server, slug="default")
        for path in ("login", "login?code=some-code"):
            page.open(f"{server.pages_url}/dashboard/{path}")
            for scheme, width in (("light", 1280), ("dark", 390)):
                page.resize(width, 800, scheme=scheme)
                assert desk.axe() == [], (path, scheme)
                assert page.run("document.documentElement.scrollWidth <= innerWidth"), (path, width)
        assert page.errors == []


# A text for every field: whatever a page does with it, its script must not run.
HOSTILE = "</script><img src=x onerror=\"document.documentElement.dataset.hacked='yes'\">{{7*7}}'\"`<b>"


def test_what_functions_and_callers_say_is_shown_as_text(desk: Desk, home: Project) -> None:
    code = f"""const said = {HOSTILE!r};
    export default {{ async fetch(request) {{
      console.error(said, new Error(said));
      if (request.method === "PUT") throw new Error(said);
      return new Response(said, {{ status: 299, headers: {{ "content-type": "text/html", "x-said": said }} }});
    }} }}"""
    function_id = _function(home, HOSTILE, code=code, description=HOSTILE, variables={"HOSTILE": HOSTILE})
    v1 = f"/isolet/v1/functions/{function_id}"
    schedule = {"cron": "0 3 * * *", "name": HOSTILE, "payload": HOSTILE}
    assert home.client.post(f"{v1}/schedules", json=schedule).status_code in (201, 400)
    paused = home.client.post(f"{v1}/schedules", json={**schedule, "name": "paused"}).json()["id"]
    assert home.client.post(f"/isolet/v1/schedules/{paused}/pause", json={"reason": HOSTILE}).status_code == 200
    slug = home.client.get(v1).json()["slug"]
    for method in ("PUT", "POST"):
        address = f"/f/{home.slug}/{slug}/<img src=x onerror=alert(1)>"
        home.client.request(method, address, content=HOSTILE, headers={"X-Said": HOSTILE}, params={"q": HOSTILE})
    calls = [one["id"] for one in home.client.get("/isolet/v1/invocations").json()["data"]]
    assert len(calls) == 2
    page = desk.page
    pages = [("functions",), *(("functions", function_id, tab) for tab in TABS)]
    pages += [("functions", function_id, "invocations", call) for call in calls]
    pages += [("functions", function_id, "triggers", paused)]
    for parts in pages:
        desk.open(*parts)
        if parts[-1] == "try":
            desk.press("Send")
            desk.see("299")
        if parts[-1] == "logs":
            page.wait_for("document.querySelector('live-log .state')?.textContent === 'Live'", "the log is live")
            home.client.put(f"/f/{home.slug}/{slug}/", content=HOSTILE)
            desk.see("7*7")
            _miss_lines(desk)
        desk.see(HOSTILE[:40])
        assert page.run("document.documentElement.dataset.hacked ?? null") is None, parts
        assert page.run("document.querySelectorAll('main b, main img[src=x]').length") == 0, parts
    _send_hostile_event(desk, home)
    page.open(desk.address("functions") + "?q=%3Cimg%20src%3Dx%3E&done=%3Cb%3E")
    desk.see("<img src=x>")
    _end_the_session_elsewhere(desk)
    assert page.errors == []


def _miss_lines(desk: Desk) -> None:
    """What was not sent has no level, and is told whichever is chosen."""
    desk.press("Pause")
    desk.page.run(
        """void (() => {
          window.fetch = async () => new Response('event: missed\\ndata: {"count": 3}\\n\\n');
          document.getElementById("level").value = "debug";
        })()"""
    )
    desk.press("Go on")
    desk.see("3 lines were not sent")


def _end_the_session_elsewhere(desk: Desk) -> None:
    """A list that follows what happens goes where one signs in."""
    desk.page.run(
        """fetch("/dashboard/logout", {
          method: "POST",
          body: new URLSearchParams({ form_token: document.querySelector("[name=form_token]").value }),
        }).then(() => true)"""
    )
    desk.page.run("void (document.querySelector('live-part').dataset.seconds = 0.2)")
    desk.page.wait_for("location.pathname === '/dashboard/login'", "it asks to sign in")


def _call_a_tool(desk: Desk) -> None:
    """The other forms of the page stay as they are typed."""
    desk.fill("Body", "kept")
    desk.fill("Arguments", "[")
    desk.press("Call the tool")
    desk.see("The arguments must be a JSON object")
    desk.fill("Arguments", "{}")
    desk.press("Call the tool")
    desk.page.wait_for("Boolean(document.querySelector('#tool .badge'))", "the tool has answered")
    assert desk.page.run("document.getElementById('body').value") == "kept"


def _send_hostile_event(desk: Desk, home: Project) -> None:
    code = """export default async (request) => {
      const { event, payload } = await request.json();
      console.error(event, payload);
      return Response.json({ [event]: [payload] });
    }"""
    trigger = {"type": "websocket", "config": {"event": HOSTILE}}
    body = {"name": "taker", "code": code, "trigger": trigger}
    made = home.client.post(f"/v1/{home.slug}/functions", json=body)
    assert made.status_code in (200, 201), made.text
    function_id = home.client.get(f"/isolet/v1/projects/{home.slug}/functions/taker").json()["id"]
    tool = {"tool": {"mode": "read_only", "description": HOSTILE}}
    assert home.client.patch(f"/isolet/v1/functions/{function_id}", json=tool).is_success
    desk.open("functions", function_id, "try")
    desk.see(HOSTILE)
    _call_a_tool(desk)
    for payload, seen in (("{", "The payload must be JSON"), ("[" * 70 + "]" * 70, "too deeply")):
        desk.fill("Payload, JSON", payload)
        desk.press("Send event")
        desk.see(seen)
    desk.fill("Payload, JSON", json.dumps(HOSTILE))
    desk.press("Send event")
    desk.page.wait_for("document.querySelectorAll('#event pre, #event .console').length === 2", "the answer and a line")
    assert json.loads(desk.page.run("document.querySelector('#event pre').textContent")) == {HOSTILE: [HOSTILE]}
    assert desk.page.run("document.querySelector('#event .console').innerText").count(HOSTILE) == 2
    assert desk.page.run("document.querySelectorAll('main b, main img[src=x]').length") == 0
    desk.check()
