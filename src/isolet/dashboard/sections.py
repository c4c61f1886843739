"""How a page says what it serves: a section has a name in the navigation, a path, and handlers.

    section = Section("KV", "kv", api="GET /isolet/v1/projects/{slug}/kv")

    @section.get("")
    async def browse(visit: Visit) -> Response:
        keys = await visit.api.kv.list(visit.slug)
        return await visit.render("kv.html", keys=keys.data)

A handler that changes something gets the form, whose origin and token have been checked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec import Struct, field
from starlette.responses import Response

if TYPE_CHECKING:
    from isolet.dashboard.visits import Visit

Show = Callable[["Visit"], Awaitable[Response]]
Change = Callable[["Visit", Mapping[str, str]], Awaitable[Response]]


class Page(Struct, frozen=True, kw_only=True):
    """`path` is below that of the section. `api` is the operation that gives the same. A `change` takes a form."""

    path: str
    api: str
    show: Show | None = None
    change: Change | None = None


class Section(Struct, frozen=True):
    """`path` is below `/dashboard/projects/{slug}/`, or below `/dashboard/` where it is of no project.

    One without a label is not in the navigation; `under` names the section that is marked there instead.
    """

    label: str
    path: str
    api: str = ""
    of_project: bool = True
    under: str = ""
    pages: list[Page] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        place = "projects/{slug}" if self.of_project else ""
        return "/".join(part for part in ("/dashboard", place, self.path) if part)

    def address(self, slug: str) -> str:
        return self.prefix.replace("{slug}", quote(slug, safe=""))

    def get(self, path: str, *, api: str = "") -> Callable[[Show], Show]:
        def register(handler: Show) -> Show:
            self.pages.append(Page(path=path, api=api or self.api, show=handler))
            return handler

        return register

    def post(self, path: str) -> Callable[[Change], Change]:
        def register(handler: Change) -> Change:
            self.pages.append(Page(path=path, api=self.api, change=handler))
            return handler

        return register
