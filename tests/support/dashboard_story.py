"""The steps of the story that `tests/acceptance/test_dashboard_story.py` tells: what somebody does in one place."""

from __future__ import annotations

import json
import re

import httpx
from msgspec import Struct

from tests.support.dashboard import Desk
from tests.support.projects import Project
from tests.support.server import NO_CAS
from tests.support.waiting import wait_until
from tests.support.workflows import a_line, a_node

BROKEN = "export default {\n  async fetch(request, env) {\n    const = 1;\n  },\n};\n"
GOOD = """import { word } from "./lib/words.js";
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    console.log("asked for", pathname);
    await env.KV.put("last-path", pathname);
    return Response.json({ said: word, secret: env.TOKEN ?? null });
  },
  async scheduled() {
    console.log("the clock struck");
  },
};
"""
WORDS = "export const word = 'hello';\n"
FILES = {"index.js": GOOD, "lib/words.js": WORDS}
TAKER = """export default async (request) => {
  const { payload } = await request.json();
  return Response.json({ got: payload.move });
}
"""
# A function may take longer than the browser waits for parts of pages.
_TIMER_OF_THE_NEXT = """void addEventListener("htmx:before:request", ({ detail }) => {
  window.timer = detail.ctx.requestTimeout ?? "none";
})"""
_MARKED = "[...document.querySelectorAll('.cm-line')].findIndex((one) => one.querySelector('.cm-lintRange-error'))"
# How often a part of the page asked for itself while it looked three times whether the tab is hidden.
_ASKED_WHILE_HIDDEN = """new Promise((tell) => {
  let [looks, asked] = [0, 0];
  document.querySelector("live-part").addEventListener("refresh", () => asked++);
  const look = () => {
    if (++looks === 3) setTimeout(() => { delete document.hidden; tell(asked); });
    return true;
  };
  Object.defineProperty(document, "hidden", { configurable: true, get: look });
})"""


class Story(Struct, kw_only=True):
    desk: Desk
    home: Project
    function_id: str = ""

    def open(self, tab: str) -> None:
        self.desk.open("functions", self.function_id, tab)

    def call(self, path: str = "") -> httpx.Response:
        return self.home.client.get(f"/f/{self.home.slug}/greeter{path}")


def sign_in_by_the_link(story: Story) -> None:
    """It is good once, and nobody uses it up for another."""
    desk, server = story.desk, story.desk.server
    found = re.search(r"^Dashboard: (\S+)$", server.output, re.MULTILINE)
    assert found is not None
    assert found[1].startswith(f"{server.pages_url}/dashboard/login?code=")
    code = found[1].rpartition("=")[2]
    with httpx.Client(base_url=server.pages_url, trust_env=False, verify=NO_CAS) as other:

        def sign_in(code: str, origin: str = server.pages_url) -> httpx.Response:
            return other.post("/dashboard/login", data={"code": code}, headers={"Origin": origin})

        # A preview of the link does not use it up.
        assert "set-cookie" not in other.get(found[1]).headers
        assert "set-cookie" not in other.get(found[1]).headers
        assert sign_in(code + "x").status_code == 401
        assert sign_in(code, origin="https://evil.example").status_code == 403
        desk.answer_questions()
        desk.page.open(found[1])
        desk.press("Sign in as the operator")
        desk.arrive()
        again = sign_in(code)
        assert (again.status_code, "used already" in again.text) == (401, True)


def write_a_function(story: Story) -> None:
    desk = story.desk
    desk.open("functions")
    desk.see("No functions yet")
    desk.press("Write a function")
    desk.fill("Name", "greeter")
    desk.press("Create and deploy")
    desk.see("The function was created and deployed.")
    story.function_id = desk.page.run("location.pathname.split('/')[5]")


def see_a_mistake_in_its_line(story: Story) -> None:
    """What is live stays."""
    desk, page = story.desk, story.desk.page
    desk.write(BROKEN)
    page.wait_for("document.querySelector('code-editor .state')?.textContent === 'Not saved'", "it says so")
    assert page.run("dispatchEvent(new Event('beforeunload', { cancelable: true }))") is False
    desk.press("Deploy")
    page.wait_for("Boolean(document.querySelector('.cm-lintRange-error'))", "the mistake is marked")
    assert page.run(_MARKED) == 2
    page.wait_for("document.querySelector('#function-state').innerText === 'error version 1'", "the head says so")
    assert "(index.js, line 3)" in page.run("document.querySelector('[role=alert]').textContent")
    assert story.home.client.get(f"/isolet/v1/functions/{story.function_id}").json()["version"] == 1
    story.open("code")
    desk.see("The last deploy failed")
    page.wait_for(f"{_MARKED} === 2", "it is marked when the page is opened again")


def mend_it(story: Story) -> None:
    """With a second file, and a text that was not saved when the page was left."""
    desk, page = story.desk, story.desk.page
    desk.press("Add file")
    desk.fill("Path of the new file", "lib/words.js")
    desk.press("OK")
    page.wait_for("document.querySelector('.cm-content').getAttribute('aria-label').endsWith('words.js')", "it opens")
    desk.write(WORDS)
    desk.press("index.js")
    desk.write(GOOD)
    assert page.run("Boolean(localStorage.getItem('isolet.draft.' + location.pathname.split('/')[5]))")
    page.run("void document.querySelector('code-editor').disconnectedCallback()")
    story.open("code")
    desk.see("was restored")
    assert "changed since" not in page.text
    desk.see("the clock struck")
    desk.press("Deploy")
    desk.see("Version 2 is live.")
    assert page.run("localStorage.length") == 0
    files = story.home.client.get(f"/isolet/v1/functions/{story.function_id}/files").json()["files"]
    assert files == FILES
    desk.press("Compare with live")
    desk.see("Stop comparing")


def try_it(story: Story) -> None:
    desk = story.desk
    desk.press("Try it")
    desk.see("Path and query")
    desk.fill("Path and query", "/some/where?x=1")
    desk.page.run(_TIMER_OF_THE_NEXT)
    desk.press("Send")
    desk.see('"secret":null')
    desk.see("asked for /some/where")
    assert desk.page.run("window.timer") == "none"


def add_a_secret(story: Story) -> None:
    desk = story.desk
    desk.press("Secrets")
    desk.see("No secrets yet.")
    desk.page.run("void (document.getElementById('secret-name').value = 'TOKEN')")
    desk.page.run("void (document.getElementById('secret-value').value = 'from-the-vault')")
    desk.press("Save secret")
    desk.see("The changes were saved.")
    assert "from-the-vault" not in desk.page.run("document.documentElement.outerHTML")


def read_the_log_live(story: Story) -> None:
    """The call that it tells of gets the secret."""
    desk = story.desk
    desk.press("Logs")
    desk.page.wait_for("document.querySelector('live-log .state')?.textContent === 'Live'", "the log is live")
    assert story.call("/while-watched").json() == {"said": "hello", "secret": "from-the-vault"}
    desk.see("asked for /while-watched")


def fire_a_schedule(story: Story) -> None:
    desk, page = story.desk, story.desk.page
    desk.press("Triggers")
    desk.see("No schedules yet")
    page.run("void (document.getElementById('schedule-name').value = 'nightly')")
    desk.fill("Cron expression", "0 3 * * *")
    desk.press("Add schedule")
    desk.see("nightly")
    desk.press("Run now")
    desk.see("The schedule runs now.")
    address = desk.address("functions", story.function_id, "invocations") + "?kind=cron"
    page.wait_for(
        f"fetch({address!r}).then((reply) => reply.text()).then((text) => text.includes('succeeded</span>'))",
        "the schedule has run",
    )
    page.open(address)
    page.run("void document.querySelector('tbody th a').click()")
    desk.see("the clock struck")
    story.open("try")
    desk.fill("Path and query", "/kept")
    desk.press("Fire now")
    desk.see("It runs now")
    assert page.run("document.getElementById('path').value") == "/kept"


def see_new_calls(story: Story) -> None:
    """The list stays as it is, and says that there is more."""
    desk, page = story.desk, story.desk.page
    desk.press("Invocations")
    desk.see("Filter")

    def said() -> object:
        story.call("/again")
        return page.run("document.querySelector('new-calls')?.innerText")

    assert wait_until(said, timeout_s=60, what="the page says so")
    assert "/again" not in page.run("document.querySelector('tbody').innerText")
    page.run("void document.querySelector('new-calls a').click()")
    desk.see("/again")


def watch_the_functions(story: Story) -> None:
    """The list follows what happens by itself. A row that is new comes when the pointer is elsewhere."""
    desk, page = story.desk, story.desk.page
    desk.open("functions")
    desk.see("greeter")
    row = f"document.getElementById('function-{story.function_id}')"
    badges = page.run(f"[...{row}.cells[2].querySelectorAll('.badge')].map((one) => one.textContent).join()")
    assert badges == "http,1 schedule"
    page.run("void (window.stays = true)")
    page.run("void (document.querySelector('live-part').dataset.seconds = 0.4)")
    page.point_at(f"#function-{story.function_id}")
    taker = {"name": "taker", "code": TAKER, "trigger": {"type": "websocket", "config": {"event": "move"}}}
    assert story.home.client.post(f"/v1/{story.home.slug}/functions", json=taker).is_success
    count = f"Number({row}.cells[3].textContent)"
    before = page.run(count)
    page.run(f"void ({row}.cells[4].className = 'number bad')")
    story.call()
    page.wait_for(f"{count} > {before}", "the call is counted")
    assert page.run(f"{row}.cells[4].className") == "number"
    assert page.run("document.querySelectorAll('#list tbody tr').length") == 1
    page.point_at("h1")
    page.wait_for("document.querySelectorAll('#list tbody tr').length === 2", "the other function is there")
    desk.fill("Search by name", "no such")
    desk.see("No function has “no such” in its name.")
    assert page.run("[location.search, document.activeElement.id]") == ["?q=no+such", "q"]
    desk.fill("Search by name", "GREET")
    page.wait_for("document.querySelectorAll('#list tbody tr').length === 1", "it is found")
    before = page.run(count)
    story.call()
    page.wait_for(f"{count} > {before}", "what was found follows, too")
    assert page.run("[location.search, document.activeElement.id, window.stays]") == ["?q=GREET", "q", True]
    assert page.run(_ASKED_WHILE_HIDDEN) == 0


def send_an_event(story: Story) -> None:
    desk = story.desk
    desk.fill("Search by name", "taker")
    desk.see("taker")
    desk.press("taker", within="#list")
    desk.press("Try it")
    desk.see("Send an event")
    desk.fill("Payload, JSON", '{"move": "e4"}')
    desk.press("Send event")
    desk.see('"got": "e4"')
    desk.press("The record of the call")
    desk.see("/realtime")


def draw_and_run_a_flow(story: Story) -> None:
    desk, page = story.desk, story.desk.page
    desk.open("flows")
    desk.see("No flows yet")
    desk.fill("Name", "Orders")
    desk.press("Create flow")
    desk.see("This graph can be active.")
    shown = page.run("document.querySelector('.drawing img').src")
    wait = a_node("wait", "wait_for_response", save_response_to="answer")
    desk.write(json.dumps(a_line(a_node("greet", "set_variable", variable_name="said", variable_value="hello"), wait)))
    page.wait_for(f"document.querySelector('.drawing img').src !== {shown!r}", "the picture follows")
    desk.see("This graph can be active.")
    desk.press("Save")
    desk.see("The changes were saved.")
    desk.press("Activate")
    desk.see("Variables, JSON")
    desk.press("Start")
    desk.see("waiting: wait_for_response")
    desk.fill("Answer", '{"text": "yes"}')
    desk.press("Answer")
    page.wait_for("Boolean(document.querySelector('h1 .badge-ended'))", "the run has ended")
    desk.see('"text": "yes"')
    desk.see("execution_ended")
    steps = page.run("[...document.querySelectorAll('.step b')].map((one) => one.innerText).join()")
    assert steps == "start,greet,wait"


def roll_back(story: Story) -> None:
    """What the function answers is that of its first version again."""
    desk = story.desk
    assert "said" in story.call().json()
    story.open("versions")
    desk.see("live")
    desk.press("Roll back")
    desk.see("The earlier version is live again.")
    assert story.home.client.get(f"/isolet/v1/functions/{story.function_id}").json()["version"] == 1
    desk.press("Compare")
    desk.see("From version 2 to version 1")
    desk.press("Try it")
    desk.press("Send")
    desk.see("Hello")


def browse_the_kv(story: Story) -> None:
    desk = story.desk
    desk.press("KV")
    desk.press("last-path")
    desk.see("Metadata, JSON")
    assert desk.page.run("document.querySelector('textarea').value") == "/"


def run_sql(story: Story) -> None:
    desk = story.desk
    desk.press("SQL")
    desk.see("None yet.")
    desk.fill("Statement", "CREATE TABLE visits (place TEXT)")
    desk.press("Run")
    desk.see("Done.")
    desk.fill("Statement", "INSERT INTO visits VALUES ('garden') RETURNING upper(place) AS loud")
    desk.press("Run")
    desk.see("GARDEN")
    desk.press("visits")
    desk.page.wait_for("document.querySelector('#sql')?.value.startsWith('SELECT')", "a statement to run")


def sign_out(story: Story) -> None:
    page = story.desk.page
    story.desk.press("Sign out")
    page.wait_for("location.pathname === '/dashboard/login'", "signed out")
    assert "isolet_session" not in page.cookies()


STEPS = (
    sign_in_by_the_link,
    write_a_function,
    see_a_mistake_in_its_line,
    mend_it,
    try_it,
    add_a_secret,
    read_the_log_live,
    fire_a_schedule,
    see_new_calls,
    watch_the_functions,
    send_an_event,
    draw_and_run_a_flow,
    roll_back,
    browse_the_kv,
    run_sql,
    sign_out,
)
