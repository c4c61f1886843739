"""Pages of workflows, their runs and live connections, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import Browser
from tests.support.dashboard import SCRIPT, Desk, signed_in
from tests.support.projects import Project
from tests.support.server import Server
from tests.support.workflows import START, a_line, a_node

# How often the page was asked for anew, and the form of the answer taken out of its place.
_WATCH = """void (() => {
  window.swaps = window.moves = 0;
  const form = document.getElementById("answer-form");
  addEventListener("htmx:after:swap", () => window.swaps++);
  new MutationObserver((changes) => {
    window.moves += changes.filter((one) => [...one.removedNodes].includes(form)).length;
  }).observe(form.parentNode, { childList: true });
  document.querySelector("live-part").dataset.seconds = 0.2;
})()"""


@pytest.fixture
def desk(browser: Browser, server: Server, home: Project) -> Iterator[Desk]:
    with signed_in(browser, server, home) as desk:
        yield desk


def write(desk: Desk, definition: Any) -> None:
    desk.write(definition if isinstance(definition, str) else json.dumps(definition))


def test_what_is_wrong_with_a_flow_is_told_and_a_run_is_paused_and_retried(desk: Desk, home: Project) -> None:
    desk.open("flows")
    desk.check()
    greet = a_node("greet", "set_variable", variable_name="said", variable_value=SCRIPT)
    definition = a_line(greet, a_node("wait", "wait_for_response", save_response_to="answer"))
    body = {"name": "Orders", "definition": definition}
    made = home.client.post(f"/isolet/v1/projects/{home.slug}/flows", json=body).json()
    desk.open("flows", made["id"])
    desk.check()
    desk.press("Activate")
    desk.see("Variables, JSON")
    desk.fill("Variables, JSON", "[1]")
    desk.press("Start")
    desk.see("The variables must be an object")
    desk.fill("Variables, JSON", json.dumps({"name": SCRIPT}))
    desk.press("Start")
    desk.see("waiting: wait_for_response")
    # As JSON, where the quotes are written otherwise.
    desk.see(SCRIPT[:10])
    desk.check()
    desk.press("Pause")
    desk.see("The run was told.")
    desk.press("Resume")
    desk.page.wait_for("!document.querySelector('.badge-paused')", "it goes on")
    run_id = _see_it_end(desk, home)
    desk.check()
    desk.press("Retry from here", within=".step:last-child")
    desk.see("before a retry")
    desk.press("Cancel")
    desk.page.wait_for("Boolean(document.querySelector('h1 .badge-ended'))", "the run was ended")
    assert home.client.get(f"/isolet/v1/executions/{run_id}").json()["status"] == "ended"
    desk.open("runs?status=ended")
    desk.see(run_id[-12:])
    desk.check()

    # As it is typed.
    desk.open("flows", made["id"])
    write(desk, {"nodes": [START, a_node("lost", "handoff")], "edges": []})
    desk.see("node lost: no path leads to it from the start")
    write(desk, "{")
    desk.see("This is no JSON")
    write(desk, {"nodes": [{"id": "start", "data": {"node_type": "nothing", "config": {}}}], "edges": []})
    desk.see("nothing")


def _see_it_end(desk: Desk, home: Project) -> str:
    """The id of the run. What is typed stays in its place, and what a button does, under the pointer."""
    page = desk.page
    desk.fill("Answer", "typed")
    page.run(_WATCH)
    run_id = str(page.run("location.pathname.split('/').pop()"))
    page.point_at("#run .actions")
    page.wait_for("window.swaps > 1", "the page follows")
    assert page.run("[window.moves, document.getElementById('run-answer').value]") == [0, "typed"]
    answer = {"message": {"data": {"text": "yes"}}}
    assert home.client.post(f"/platform/v1/workflow_executions/{run_id}/resume", json=answer).is_success
    page.wait_for("Boolean(document.querySelector('h1 .badge-ended'))", "the run has ended")
    buttons = "[...document.querySelectorAll('#run .actions button')].map((one) => one.textContent).join()"
    assert page.run(buttons) == "Pause,Cancel"
    page.point_at("h1")
    page.wait_for("!document.querySelector('live-part')", "it asks no more")
    page.wait_for(f"{buttons} === 'Retry'", "what can be done now is shown")
    return run_id


def test_a_large_graph_and_a_hostile_one_are_shown(desk: Desk, home: Project) -> None:
    nodes = [a_node(f"n{number}", "set_variable", variable_name="a", variable_value="b") for number in range(498)]
    hostile = a_line(*nodes)
    for node in hostile["nodes"]:
        node["data"]["display_name"] = SCRIPT[:100]
    body = {"name": SCRIPT[:60], "definition": hostile}
    made = home.client.post(f"/isolet/v1/projects/{home.slug}/flows", json=body)
    assert made.status_code == 201, made.text
    desk.open("flows")
    desk.see(SCRIPT[:20])
    desk.open("flows", made.json()["id"])
    desk.see("This graph can be active.")
    desk.page.wait_for("document.querySelector('.drawing img').naturalWidth > 0", "the picture is there")
    assert desk.page.run("document.title") != "run"
    picture = desk.page.run("fetch(location.pathname + '/graph.svg').then((reply) => reply.text())")
    assert "<img" not in picture
    assert desk.page.run("document.querySelectorAll('main img').length") == 1


def test_a_flow_that_others_changed_or_do_not_show_stays(desk: Desk, home: Project, server: Server) -> None:
    made = home.client.post(f"/isolet/v1/projects/{home.slug}/flows", json={"name": "Shared"}).json()
    desk.open("flows", made["id"])
    desk.see("no edge")
    home.client.patch(f"/isolet/v1/flows/{made['id']}", json={"description": "changed meanwhile"})
    write(desk, a_line(a_node("end", "handoff")))
    desk.see("This graph can be active.")
    desk.press("Save")
    desk.see("changed meanwhile")
    # It is not saved, and to try again overwrites nothing.
    assert desk.page.run("dispatchEvent(new Event('beforeunload', { cancelable: true }))") is False
    desk.page.run("void (document.body.id = 'first')")
    desk.press("Save")
    desk.page.wait_for("document.readyState === 'complete' && document.body.id !== 'first'", "it is told again")
    desk.see("changed meanwhile")
    assert desk.page.run("JSON.parse(document.querySelector('#definition').value).nodes.length") == 2
    desk.page.run("void document.querySelector('flow-editor').disconnectedCallback()")
    kept = home.client.get(f"/isolet/v1/flows/{made['id']}").json()
    assert [node["id"] for node in kept["definition"]["nodes"]] == ["start"]
    with server.client() as root:
        other = root.post("/isolet/v1/projects/default/flows", json={"name": "Not yours"}).json()
        desk.open("flows", other["id"])
        desk.see("not found")
        assert root.delete(f"/isolet/v1/flows/{other['id']}").status_code == 204


def test_messages_are_published_to_live_connections(desk: Desk) -> None:
    desk.open("realtime")
    desk.see("No channels yet")
    desk.check()
    desk.fill("Channel", "news")
    desk.fill("Event", SCRIPT[:50])
    desk.fill("Data, JSON", "{")
    desk.press("Publish")
    desk.see("The data must be JSON")
    desk.fill("Data, JSON", json.dumps({"a": SCRIPT}))
    desk.press("Publish")
    desk.see("The message was published.")
    desk.see("news")
    desk.check()
