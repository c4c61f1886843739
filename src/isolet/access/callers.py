"""Who makes a request, in a dialect: the one place that reads its credentials and counts it for its project's rate.

Routes with a row get here by `Authorizer`; calls of functions, which have no row, come here straight.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from msgspec import Struct

from isolet.access import rates
from isolet.access.credentials import Credentials, Sources
from isolet.access.rules import Access
from isolet.domain.access import Principal
from isolet.domain.projects import Project
from isolet.errors import Forbidden, NotFound
from isolet.wire.channel import Headers


class Callers(Struct, frozen=True, kw_only=True):
    """`sources` are the credentials of the dialect.

    `refused` makes the error of a request without a good one, where the dialect does not have the core's.
    """

    credentials: Credentials
    sources: Sources
    refused: Callable[[Headers], Exception] | None = None

    def find(self, headers: Headers) -> Principal | None:
        """Who asks; None without a good credential. The request is not counted."""
        return self.credentials.find(headers, self.sources)

    def require(self, scope: MutableMapping[str, Any]) -> Principal:
        """Who asks; the request is counted. Raises RateExceeded, and Unauthenticated or what `refused` makes."""
        headers = scope["headers"]
        principal = self.credentials.find(headers, self.sources)
        if principal is None:
            if self.refused is not None:
                raise self.refused(headers)
            principal = self.credentials.require(headers, self.sources)
        rates.count(scope, principal.project_id)
        return principal


def admitted(principal: Principal, project: Project | None, access: Access) -> Project:
    """The project, for a principal that may. Raises NotFound for none and for one it does not see, Forbidden."""
    if project is None or not principal.sees(project.id):
        raise NotFound(access.project.missing)
    check_role(principal, access)
    return project


def check_role(principal: Principal, access: Access) -> None:
    """Raises Forbidden."""
    refusal = access.refusal(principal)
    if refusal is not None:
        raise Forbidden(refusal)
