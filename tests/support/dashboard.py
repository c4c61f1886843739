"""The dashboard in a real browser, as somebody uses it who sees labels and buttons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from tests.support.browser import Browser, Page
from tests.support.projects import Project
from tests.support.server import NO_CAS, Server

_AXE = (Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js").read_text()
# What is no violation is not described, and styles are not fetched for rules that are not asked for.
_RUN_AXE = """axe.run(document, { resultTypes: ["violations"], preload: { assets: ["media"] } }).then((found) =>
  JSON.stringify(found.violations.map((one) => [one.id, one.nodes.map((node) => node.html + node.failureSummary)])))"""

# What would run, or break out, where text is taken for HTML.
SCRIPT = "<img src=x onerror=\"document.title='run'\">'\"</textarea></script><script>document.title='run'</script>"


class Desk(Struct, frozen=True, kw_only=True):
    page: Page
    server: Server
    slug: str

    def sign_in(self, key: str) -> None:
        self.answer_questions()
        self.page.open(f"{self.server.pages_url}/dashboard/login")
        self.fill("API key", key)
        self.press("Sign in")
        self.arrive()

    def sign_in_at_once(self, key: str) -> None:
        """As the browser is after `sign_in`, without the pages on the way."""
        self.answer_questions()
        at, name = self.server.pages_url, "isolet_session"
        with httpx.Client(base_url=at, trust_env=False, verify=NO_CAS) as other:
            other.post("/dashboard/login", data={"key": key}, headers={"Origin": at})
            value = other.cookies[name]
        self.page.set_cookie(at, name, value, path="/dashboard", httpOnly=True, sameSite="Strict")

    def answer_questions(self) -> None:
        """What asks first is answered with yes."""
        self.page.send("Page.addScriptToEvaluateOnNewDocument", source="window.confirm = () => true")

    def arrive(self) -> None:
        self.page.wait_for(
            "document.readyState === 'complete' && location.pathname.endsWith('/functions')", "signed in"
        )

    def open(self, *parts: str) -> None:
        """A page of the project."""
        self.page.open(self.address(*parts))

    def address(self, *parts: str) -> str:
        return "/".join((self.server.pages_url, "dashboard/projects", self.slug, *parts))

    def see(self, text: str) -> None:
        """Wait until a reader sees it."""
        seen = f"document.readyState === 'complete' && document.body.innerText.includes({json.dumps(text)})"
        self.page.wait_for(seen, f"{text!r} is seen")

    def fill(self, label: str, value: str) -> None:
        """The field with this label."""
        found = f"""[...document.querySelectorAll("label")]
          .find((one) => one.textContent.trim() === {json.dumps(label)})"""
        seen = f"document.readyState === 'complete' && {found}?.control.checkVisibility()"
        self.page.wait_for(seen, f"there is {label!r}")
        self.page.run(
            f"""(() => {{
              const field = {found}.control;
              field.focus();
              field.value = {json.dumps(value)};
              field.dispatchEvent(new Event("input", {{ bubbles: true }}));
            }})()"""
        )

    def press(self, name: str, within: str = "body") -> None:
        """The button or link with this text."""
        found = f"""[...document.querySelectorAll({json.dumps(within)} + " :is(button, a, summary)")]
          .find((one) => one.textContent.trim() === {json.dumps(name)} && !one.disabled)"""
        self.page.wait_for(f"Boolean({found})", f"there is {name!r}")
        self.page.run(f"void {found}.click()")

    def write(self, text: str) -> None:
        """Code, in place of what the editor holds."""
        self.page.wait_for("Boolean(document.querySelector('.cm-content'))", "the editor is there")
        self.page.run("void document.querySelector('.cm-content').focus()")
        self.page.press("a", "KeyA", 65, ctrl=True)
        self.page.type(text)

    def axe(self) -> list[str]:
        """What keeps people out of the page as it is."""
        if not self.page.run("Boolean(window.loadAxe)"):
            # Here, and in each page to come: it is large, and goes over the wire once.
            self.page.send(
                "Page.addScriptToEvaluateOnNewDocument",
                source=f"window.loadAxe = () => {{ if (!window.axe) {{ {_AXE} }} }}",
                runImmediately=True,
            )
        found: Any = self.page.run(f"loadAxe(), {_RUN_AXE}")
        return [str(one) for one in json.loads(found)]

    def check(self) -> None:
        """Nothing of `SCRIPT` ran, everybody can use the page, and it has one heading."""
        assert self.page.run("document.title") != "run"
        assert self.axe() == []
        assert self.page.run("document.querySelectorAll('h1').length") == 1


@contextmanager
def signed_in(browser: Browser, server: Server, home: Project) -> Iterator[Desk]:
    """With an admin key of the project. At the end nothing was complained of but statuses of faults that pages tell."""
    with browser.page() as page:
        desk = Desk(page=page, server=server, slug=home.slug)
        desk.sign_in_at_once(home.key())
        yield desk
        assert [one for one in page.errors if "the server responded with a status of 4" not in one] == []
