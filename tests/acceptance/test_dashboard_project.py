"""Pages of what a project stores, queues, allows and uses, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.browser import Browser
from tests.support.dashboard import SCRIPT, Desk, signed_in
from tests.support.projects import Project
from tests.support.server import Server
from tests.support.waiting import wait_until

# Asks more often for what is new.
FOLLOW = "void (document.querySelector('live-part').dataset.seconds = 0.2)"
FAILING = f"export default async () => {{ throw new Error({json.dumps(SCRIPT)}); }}"


@pytest.fixture
def desk(browser: Browser, server: Server, home: Project) -> Iterator[Desk]:
    with signed_in(browser, server, home) as desk:
        yield desk


def api(home: Project, method: str, path: str, **options: Any) -> httpx.Response:
    reply = home.client.request(method, f"/isolet/v1{path}", **options)
    assert reply.is_success, reply.text
    return reply


def test_keys_of_the_kv_are_found_read_written_and_deleted(desk: Desk, home: Project) -> None:
    store = f"/projects/{home.slug}/kv"
    desk.open("kv")
    desk.see("Nothing is stored in default")
    desk.check()
    odd = f"a\nb/{SCRIPT}"
    entry, headers = f"{store}/{quote(odd, safe='')}", {"X-KV-Metadata": json.dumps(SCRIPT)}
    api(home, "PUT", entry, content="odd", headers=headers, params={"expiration_ttl": 5000})
    ends = api(home, "GET", store).json()["data"][0]["expiration"]
    api(home, "PUT", f"{store}/lines", content="one\r\ntwo")
    api(home, "PUT", f"{store}/bytes", content=b"\xff\x00\x01")
    api(home, "PUT", f"{store}/long", content="x" * 1_000_000)
    for number in range(60):
        api(home, "PUT", f"{store}/page:{number:03}", content="x")
    desk.open("kv")
    desk.see(SCRIPT)
    desk.check()
    desk.press("Next page")
    desk.see("page:059")
    desk.fill("Keys that begin with", "page:01")
    desk.press("Show")
    desk.page.wait_for("document.querySelectorAll('tbody tr').length === 10", "those with the prefix")

    desk.open("kv", f"entry?namespace=default&key={quote(odd, safe='')}")
    desk.see(", ends 20")
    assert 60 <= int(desk.page.run("document.getElementById('ttl').value")) <= 5000
    desk.fill("Value", "first\nsecond")
    desk.press("Save")
    desk.see("The changes were saved.")
    desk.check()
    assert api(home, "GET", entry).text == "first\nsecond"
    kept = api(home, "GET", store).json()["data"][0]
    assert (kept["expiration"] >= ends, kept["metadata"]) == (True, SCRIPT)
    desk.fill("Metadata, JSON", "{")
    desk.fill("Ends after, s", "700")
    desk.press("Save")
    desk.page.wait_for("Boolean(document.querySelector('[role=alert]'))", "the fault is told")
    typed = "['value', 'metadata', 'ttl'].map((id) => document.getElementById(id).value)"
    assert desk.page.run(typed) == ["first\nsecond", "{", "700"]
    desk.press("Delete")
    desk.see("It was deleted.")
    assert home.client.get(f"/isolet/v1{entry}").status_code == 404
    for key, seen in (("lines", "one"), ("bytes", "ff 00 01"), ("long", "xxx")):
        desk.open("kv", f"entry?key={key}")
        desk.see("cannot be edited here")
        desk.see(seen)
        assert desk.page.run("document.body.innerText.length") < 100_000
    desk.check()

    desk.open("kv")
    desk.fill("Key", "made")
    desk.press("Write its value")
    desk.see("Metadata, JSON")
    desk.fill("Value", "by hand")
    desk.fill("Metadata, JSON", '{"who":\n "日本🎈"}')
    desk.press("Save")
    desk.see("The changes were saved.")
    made = api(home, "GET", f"{store}/made")
    assert (made.text, json.loads(made.headers["x-kv-metadata"])) == ("by hand", {"who": "日本🎈"})


def test_sql_is_run_shown_and_downloaded(desk: Desk, home: Project) -> None:
    desk.open("sql")
    desk.see("None yet.")
    for sql, seen in (
        ('CREATE TABLE "odd ""name" (id INTEGER PRIMARY KEY, text TEXT, data BLOB)', "Done."),
        (
            'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700) INSERT INTO "odd ""name" '  # noqa: S608
            "SELECT i, '" + SCRIPT.replace("'", "''") + "', x'00ff' FROM n",
            "rows changed",
        ),
    ):
        desk.fill("Statement", sql)
        desk.press("Run")
        desk.see(seen)
    desk.press('odd "name')
    desk.page.wait_for("document.querySelector('#sql')?.value.startsWith('SELECT')", "a statement to run")
    desk.fill("Statement", 'SELECT *, NULL AS "nothing" FROM "odd ""name"')
    desk.press("Run")
    desk.see("the first 500 are shown")
    assert desk.page.run("document.title") != "run"
    csv = desk.page.run(
        """(async () => {
          const form = document.querySelector("form[action$='/csv']");
          const reply = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
          return [reply.headers.get("content-disposition"), await reply.text()];
        })()"""
    )
    assert csv[0] == 'attachment; filename="rows.csv"'
    assert csv[1].splitlines()[0] == "id,text,data,nothing"
    assert len(csv[1].splitlines()) == 701
    desk.fill("Statement", 'SELECT *, NULL AS "nothing" FROM "odd ""name" LIMIT 9')
    desk.press("Run")
    desk.page.wait_for("document.querySelectorAll('main tbody tr').length === 9", "few rows")
    desk.see("00 ff")
    desk.see("NULL")
    desk.check()
    desk.fill("Statement", "SELEC 1")
    desk.press("Run")
    desk.page.wait_for("Boolean(document.querySelector('[role=alert]'))", "the fault is told")
    assert desk.page.run("document.querySelector('#sql').value") == "SELEC 1"
    desk.press("Earlier ones")
    desk.press("SELEC 1")
    desk.check()


def test_asynchronous_calls_are_seen_and_made_again(desk: Desk, home: Project) -> None:
    desk.open("queue")
    desk.see("No asynchronous calls yet")
    desk.page.run(FOLLOW)
    desk.page.point_at("#list")
    code = {"code": FAILING}
    api(home, "PUT", f"/projects/{home.slug}/functions/fails", json=code, params={"wait": 60})
    callback = {"x-callback-url": "https://unknown.invalid/done"}
    started = home.client.post(f"/spaces/{home.slug}/functions/fails/async-invoke", json={}, headers=callback)
    assert started.status_code == 202, started.text
    wait_until(lambda: api(home, "GET", "/invocations", params={"kind": "async", "status": "failed"}).json()["data"])
    desk.page.wait_for("Boolean(document.querySelector('#list tbody tr'))", "an empty list is filled under the pointer")
    desk.open("queue?status=failed")
    desk.see(SCRIPT[:30])
    desk.check()
    _hold_a_row(desk, home)
    desk.press("Replay")
    desk.see("The call was made again")
    wait_until(
        lambda: len(api(home, "GET", "/invocations", params={"kind": "async", "status": "failed"}).json()["data"]) == 3
    )
    wait_until(lambda: api(home, "GET", "/deliveries").json()["data"])
    desk.press("Callbacks")
    desk.see("https://unknown.invalid/done")
    desk.check()
    desk.press("Redeliver all that failed")
    desk.see("Failed callbacks are sent again.")


def _hold_a_row(desk: Desk, home: Project) -> None:
    """While the pointer is on a list its rows follow, without those that are new, and buttons under it stay."""
    page, row = desk.page, "document.querySelector('#list tbody tr')"
    page.run(FOLLOW)
    page.point_at("#list .actions")
    assert home.client.post(f"/spaces/{home.slug}/functions/fails/async-invoke", json={}).status_code == 202
    wait_until(lambda: len(api(home, "GET", "/invocations", params={"status": "failed"}).json()["data"]) == 2)
    page.run(f"void ({row}.cells[2].textContent = 'old')")
    page.run(f"void ({row}.querySelector('button').textContent = 'Cancel')")
    page.wait_for(f"{row}.cells[2].innerText === 'failed'", "the row follows")
    assert page.run(f"{row}.querySelector('button').textContent") == "Cancel"
    assert page.run("document.querySelectorAll('#list tbody tr').length") == 1
    page.point_at("h1")
    page.wait_for("document.querySelectorAll('#list tbody tr').length === 2", "the other one is there")
    page.wait_for(f"{row}.querySelector('button').textContent === 'Replay'", "what can be done now is shown")


def test_a_key_is_made_shown_once_and_deleted(desk: Desk, home: Project) -> None:
    desk.open("keys")
    desk.fill("Name", SCRIPT)
    desk.press("Create key")
    desk.see("It is shown this once.")
    desk.check()
    key = desk.page.run("document.querySelector('#new-key').textContent")
    with home.server.client(key) as made:
        assert made.get("/isolet/v1/projects").status_code == 200
        desk.open("keys")
        assert key not in desk.page.run("document.documentElement.outerHTML")
        row = "[...document.querySelectorAll('tbody tr')].find((one) => one.innerText.includes('onerror'))"
        desk.page.run(f"void {row}.querySelector('button').click()")
        desk.see("It was deleted.")
        assert made.get("/isolet/v1/projects").status_code == 401
    desk.fill("URL or secret", "not a URL")
    desk.press("Save")
    desk.page.wait_for("Boolean(document.querySelector('[role=alert]'))", "the fault is told")
    desk.press("Add a secret")
    desk.see("This secret is shown this once.")
    desk.check()


def test_usage_and_the_system_are_shown(desk: Desk, browser: Browser, server: Server) -> None:
    for asked in ("", "?month=2026-01", "?month=0000-01", "?month=9999-12", "?month=%00"):
        desk.open(f"usage{asked}")
        desk.see("Limits of this project")
    desk.check()
    desk.page.open(f"{server.pages_url}/dashboard/system")
    desk.see("This page is for the operator")
    with browser.page() as page:
        operator = Desk(page=page, server=server, slug="default")
        operator.sign_in(server.root_key)
        page.open(f"{server.pages_url}/dashboard/system")
        operator.see("Memory held for calls")
        operator.check()
        _delete_the_project(Desk(page=page, server=server, slug="gone"))
        assert page.errors == []


def _delete_the_project(desk: Desk) -> None:
    """A list that was followed stays, and the page says why."""
    with desk.server.client() as root:
        root.post("/isolet/v1/projects", json={"slug": desk.slug}).raise_for_status()
        desk.open("functions")
        desk.see("No functions yet")
        title = desk.page.run("document.title")
        root.delete(f"/isolet/v1/projects/{desk.slug}").raise_for_status()
    desk.page.run(FOLLOW)
    desk.see("There is no such project")
    desk.see("No functions yet")
    assert desk.page.run("document.title") == title
