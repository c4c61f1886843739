"""The one check of a route's row: a request's credentials to a principal, and what the row demands of it.

It raises the errors of the core, which each door renders in its dialect.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from isolet.access.callers import Callers, admitted, check_role
from isolet.access.owners import Owners
from isolet.access.rules import READS, Access, Asked, Grant
from isolet.domain.access import Principal
from isolet.errors import Forbidden
from isolet.functions.service import Functions
from isolet.ids import ProjectId
from isolet.routing.routes import Routes


class Authorizer:
    """For the routes of a dialect."""

    def __init__(self, callers: Callers, routes: Routes, functions: Functions, owners: Owners) -> None:
        self._callers = callers
        self._routes = routes
        self._functions = functions
        self._owners = owners

    async def check(
        self, access: Access, scope: MutableMapping[str, Any], *, path: Mapping[str, str], query: Mapping[str, str]
    ) -> Grant:
        """A request may go on. `scope` is an ASGI scope; the request is counted for its project's rate.

        Raises what `Callers.require` does, NotFound for a project that the caller does not see, Forbidden.
        """
        principal = self._callers.require(scope)
        if access.root and not principal.is_root:
            # Without a look at the project: who lacks the root key does not learn whether there is one.
            raise Forbidden(access.refusal(principal) or "")
        found = await access.project.find(
            Asked(
                principal=principal,
                path=path,
                query=query,
                routes=self._routes,
                functions=self._functions,
                owners=self._owners,
                reads=scope.get(READS),
            )
        )
        if found.project is None:
            check_role(principal, access)
        else:
            admitted(principal, found.project, access)
        return Grant(principal=principal, access=access, found=found)

    def account(self, principal: Principal) -> ProjectId:
        """Whose budget a body counts against: the key's project, or `default`."""
        return principal.project_id or self._routes.default_project.id

    def still(self, grant: Grant, scope: Mapping[str, Any]) -> bool:
        """Whether the key of a request that goes on is still good for its row, and its project still exists."""
        principal = self._callers.find(scope["headers"])
        if principal is None or grant.access.refusal(principal) is not None:
            return False
        project = grant.found.project
        return project is None or (principal.sees(project.id) and self._routes.project_of(project.id) is not None)
