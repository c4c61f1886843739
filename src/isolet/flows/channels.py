"""Where the messages of a project's workflows go: an address that its operator chose."""

from __future__ import annotations

from collections.abc import Callable, Collection

from isolet.database import channels as stored
from isolet.database.connection import Database
from isolet.domain.callbacks import check_url
from isolet.domain.networks import Network
from isolet.errors import InvalidInput, RequestError
from isolet.ids import ProjectId
from isolet.routing.routes import Routes


class Channels:
    """`own` gives the addresses that lead to this machine; `http` says whether names may be called without TLS."""

    def __init__(
        self, *, database: Database, routes: Routes, own: Callable[[], Collection[Network]], http: bool
    ) -> None:
        self._database = database
        self._routes = routes
        self._own = own
        self._http = http

    async def get(self, project_id: ProjectId) -> str | None:
        """None when no channel is set."""
        return await self._database.read(stored.get_channel, project_id)

    async def put(self, project_id: ProjectId, url: str | None) -> str | None:
        """None removes it. Raises InvalidInput for an address to which nothing may be sent."""
        checked = None if url is None else self._checked(project_id, url)
        await self._database.write(stored.put_channel, project_id, checked)
        return checked

    def _checked(self, project_id: ProjectId, url: str) -> str:
        allowed = self._routes.egress_of(project_id)
        try:
            return check_url(url, label="url", allowed=allowed, own=self._own(), http=self._http)
        except RequestError as exc:
            raise InvalidInput(exc.message) from exc
