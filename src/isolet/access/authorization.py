"""The one check of a route's row: a request's credentials to a principal, and what the row demands of it.

It raises the errors of the core, which each door renders in its dialect.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from isolet.access import rates
from isolet.access.credentials import Credentials, Sources
from isolet.access.rules import Access, Asked, Grant
from isolet.domain.access import Principal
from isolet.errors import Forbidden, NotFound, Unauthenticated
from isolet.functions.service import Functions
from isolet.ids import ProjectId
from isolet.routing.routes import Routes


class Authorizer:
    """For the routes of a dialect, whose credentials may be in `sources`."""

    def __init__(self, credentials: Credentials, sources: Sources, routes: Routes, functions: Functions) -> None:
        self._credentials = credentials
        self._sources = sources
        self._routes = routes
        self._functions = functions

    async def check(
        self, access: Access, scope: MutableMapping[str, Any], *, path: Mapping[str, str], query: Mapping[str, str]
    ) -> Grant:
        """A request may go on. `scope` is an ASGI scope; the request is counted for its project's rate.

        Raises Unauthenticated, RateExceeded, NotFound for a project that the caller does not see, Forbidden.
        """
        principal = self._credentials.require(scope["headers"], self._sources)
        rates.count(scope, principal.project_id)
        if access.root and not principal.is_root:
            # Without a look at the project: who lacks the root key does not learn whether there is one.
            raise Forbidden(access.refusal(principal) or "")
        found = await access.project.find(
            Asked(principal=principal, path=path, query=query, routes=self._routes, functions=self._functions)
        )
        if found.project is not None and not principal.sees(found.project.id):
            raise NotFound(access.project.missing)
        refusal = access.refusal(principal)
        if refusal is not None:
            raise Forbidden(refusal)
        return Grant(principal=principal, access=access, found=found)

    def account(self, principal: Principal) -> ProjectId:
        """Whose budget a body counts against: the key's project, or `default`."""
        return principal.project_id or self._routes.default_project.id

    def still(self, grant: Grant, scope: Mapping[str, Any]) -> bool:
        """Whether the key of a request that goes on is still good for its row."""
        try:
            principal = self._credentials.require(scope["headers"], self._sources)
        except Unauthenticated:
            return False
        sees = grant.found.project is None or principal.sees(grant.found.project.id)
        return sees and grant.access.refusal(principal) is None
