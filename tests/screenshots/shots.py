"""Which pages are pictured, and what is done on a page before its picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from msgspec import Struct

from tests.screenshots.content import EMPTY, ORDER, SLUG, Ids
from tests.support.dashboard import Desk

_TABS = ("code", "invocations", "metrics", "secrets", "triggers", "versions", "settings")
_OF_PROJECT = ("kv", "sql", "queue", "queue/callbacks", "flows", "runs", "realtime", "keys", "usage")


class Shot(Struct, frozen=True):
    name: str
    path: str
    act: Callable[[Desk], None] = lambda desk: None


def shots(ids: Ids) -> Iterator[Shot]:
    here = f"/dashboard/projects/{SLUG}"
    functions = f"{here}/functions"
    orders = f"{functions}/{ids.orders}"
    yield Shot("functions", functions)
    yield Shot("functions-none-found", f"{functions}?q=refund")
    yield Shot("function-new", f"{functions}/new")
    for tab in _TABS:
        yield Shot(f"function-{tab}", f"{orders}/{tab}")
    yield Shot("function-invocations-failed", f"{orders}/invocations?status=failed")
    yield Shot("function-code-fault", f"{functions}/{ids.thumbnails}/code")
    yield Shot("function-code-compared", f"{orders}/code", _compare)
    yield Shot("function-try", f"{orders}/try", _try)
    yield Shot("function-try-tool", f"{functions}/{ids.stock}/try")
    yield Shot("function-logs", f"{orders}/logs", _log)
    yield Shot("function-call", f"{orders}/invocations/{ids.failed_call}")
    yield Shot("function-schedule", f"{orders}/triggers/{ids.schedule}")
    yield Shot("function-diff", f"{orders}/versions/1")
    for tab in ("invocations", "metrics", "secrets", "triggers"):
        yield Shot(f"empty-function-{tab}", f"{functions}/{ids.unused}/{tab}")
    for path in _OF_PROJECT:
        yield Shot(path.replace("/", "-"), f"{here}/{path}")
    yield Shot("kv-entry", f"{here}/kv/entry?namespace=default&key=settings")
    yield Shot("sql-rows", f"{here}/sql?sql=SELECT%20*%20FROM%20stock", lambda desk: _press(desk, "Run", "3 rows"))
    yield Shot("flow", f"{here}/flows/{ids.flow}", lambda desk: desk.see("This graph can be active."))
    yield Shot("run", f"{here}/runs/{ids.run}")
    yield Shot("keys-new", f"{here}/keys", _new_key)
    for name in ("system", "projects", "sessions"):
        yield Shot(name, f"/dashboard/{name}")
    for path in ("functions", *_OF_PROJECT):
        yield Shot(f"empty-{path.replace('/', '-')}", f"/dashboard/projects/{EMPTY}/{path}")
    yield Shot("error", f"{functions}/00000000-0000-7000-8000-000000000000/code")
    yield Shot("error-no-project", "/dashboard/projects/nobody/functions")
    yield Shot("error-no-page", f"{here}/nothing")
    yield Shot("menu", functions, lambda desk: desk.press("Account"))


def _compare(desk: Desk) -> None:
    desk.page.wait_for("Boolean(document.querySelector('.cm-content'))", "the editor is there")
    desk.page.run(
        """(() => {
          localStorage.setItem("isolet.draft." + location.pathname.split("/")[5], JSON.stringify({
            files: { ...JSON.parse(document.querySelector("code-editor").dataset.files), "index.js":
              JSON.parse(document.querySelector("code-editor").dataset.files)["index.js"].replace("> 800", "> 400")
                .replace("a large order", "an order to look at") },
            entry: "index.js", at: Date.now() }));
          document.querySelector("code-editor").remove();
        })()"""
    )
    desk.page.open(desk.page.run("location.href"))
    _press(desk, "Compare with live", "Stop comparing")
    desk.page.run("void localStorage.clear()")


def _try(desk: Desk) -> None:
    desk.page.run("void (document.getElementById('method').value = 'POST')")
    desk.fill("Body", json.dumps(ORDER))
    _press(desk, "Send", "EUR")


def _log(desk: Desk) -> None:
    desk.page.wait_for("document.querySelector('live-log .state')?.textContent === 'Live'", "the log is live")
    with desk.server.client() as root:
        for count in (1, 8):
            root.post(f"/f/{SLUG}/orders/", json={"items": [{"name": "pot", "count": count}]})
        root.post(f"/f/{SLUG}/orders/", json={"items": []})
    desk.see("an order needs items")


def _new_key(desk: Desk) -> None:
    desk.fill("Name", "cash desk")
    _press(desk, "Create key", "It is shown this once.")


def _press(desk: Desk, button: str, seen: str) -> None:
    desk.press(button)
    desk.see(seen)
