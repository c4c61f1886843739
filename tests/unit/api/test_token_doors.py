"""Who sends a token that must be looked at first holds a place of its project's, and of its threads, meanwhile."""

from __future__ import annotations

from typing import Any, cast

import pytest

from isolet.access import rates
from isolet.access.open_requests import OpenRequests
from isolet.api.asgi import Scope
from isolet.api.butterbase.calls import ButterbaseCalls
from isolet.api.butterbase.realtime import RealtimeHandshakes
from isolet.api.public.calls import PublicCalls
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.domain.public_routes import Access
from isolet.errors import TooManyRequests
from isolet.ids import FunctionId, ProjectId
from isolet.routing.routes import Routes, route_of
from isolet.threads import account
from isolet.wire.exchange import ON_END

PROJECT = Project(id=ProjectId("p1"), slug="shop", name="Shop")
FUNCTION = Function(
    id=FunctionId("f1"), project_id=PROJECT.id, name="Order", slug="order", code="x", access=Access.PUBLIC
)
NOTHING = cast(Any, None)


class Tokens:
    """Notes whose work it does."""

    def __init__(self) -> None:
        self.accounts: list[str] = []

    def find(self, _headers: Any) -> None:
        """No key is among the credentials."""

    async def look(self, _project_id: ProjectId, _token: str) -> Any:
        self.accounts.append(account())
        raise TooManyRequests("seen", retry_after_s=1)

    user = verify = identify = look


def the_doors(tokens: Any) -> dict[str, Any]:
    routes = Routes("root-key")
    shared = {"routes": routes, "callers": tokens, "identities": tokens}
    shared |= dict.fromkeys(("invoker", "own_cors", "bodies", "settings"), NOTHING)
    return {
        "butterbase": ButterbaseCalls(**shared),
        "public": PublicCalls(**shared, recorder=NOTHING, clock=NOTHING, hosts=NOTHING),
        "realtime": RealtimeHandshakes(routes=routes, realtime=tokens),
    }


@pytest.mark.parametrize("name", ["butterbase", "public", "realtime"])
async def test_a_request_is_its_projects_before_its_token_is_looked_at(name: str) -> None:
    tokens, opening = Tokens(), OpenRequests(1)
    door = the_doors(tokens)[name]
    route = () if name == "realtime" else (route_of(FUNCTION),)
    for seen in ("seen", "requests open"):
        scope: Scope = {"headers": [(b"authorization", b"Bearer a.b.c")], "query_string": b"", ON_END: []}
        rates.opened(scope, opening)
        with pytest.raises(TooManyRequests, match=seen):
            await door._identify(scope, PROJECT, *route)
    assert tokens.accounts == [PROJECT.id]
