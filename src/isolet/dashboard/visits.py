"""One request of somebody who is signed in: what a handler of a page is given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from isolet.access.sessions import Sessions
from isolet.dashboard.in_process import InProcess
from isolet.dashboard.rendering import Rendering
from isolet.dashboard.sections import Page, Section
from isolet.domain.access import Principal
from isolet.domain.sessions import Session


class Visit(Struct, frozen=True, kw_only=True):
    """`api` has the operations of the native API with the rights of the session; `slug` is the project in the path."""

    request: Request
    session: Session
    sessions: Sessions
    principal: Principal
    api: InProcess
    section: Section
    page: Page
    form_token: str
    home_slug: str
    api_url: str
    rendering: Rendering

    @property
    def slug(self) -> str:
        return str(self.request.path_params.get("slug", self.home_slug))

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query_params

    def path(self, *parts: str) -> str:
        """The address of a page of this project: `path("functions", id, "code")`."""
        return "/dashboard/projects/" + "/".join(quote(part, safe="") for part in (self.slug, *parts))

    def with_query(self, **changes: str) -> str:
        """This page with another query; an empty value leaves a parameter out."""
        query = {**{name: value for name, value in self.query.items() if name != "done"}, **changes}
        return "?" + urlencode({name: value for name, value in query.items() if value})

    async def render(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """A page, made in a thread: a tenant chooses how much is on it."""
        if "hx-request" in self.request.headers:
            # The part of a page that says what is wrong; a browser would write another status into its console.
            status = 200
        nonce = self.rendering.nonce(self.request) if context.pop("with_nonce", False) else None
        known = {"visit": self, "nonce": nonce, "error": None, "done": self.query.get("done")}
        text = await asyncio.to_thread(self.rendering.text, template, {**known, **context})
        # Stores and functions hold text that UTF-8 does not have.
        return HTMLResponse(text.encode("utf-8", "replace"), status, headers={"cache-control": "no-store"})

    def go(self, *parts: str, **query: str) -> Response:
        """Send the browser on after a change, to a page of this project."""
        return RedirectResponse(self.path(*parts) + ("?" + urlencode(query) if query else ""), 303)
