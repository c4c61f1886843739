"""What the pages of one function have in common: the function, its tabs, and that it belongs to the project."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from isolet.contract.functions import FunctionReply
from isolet.dashboard.visits import Visit
from isolet.domain.access import Role
from isolet.errors import NotFound

TABS = (
    ("code", "Code"),
    ("try", "Try it"),
    ("invocations", "Invocations"),
    ("logs", "Logs"),
    ("metrics", "Metrics"),
    ("secrets", "Secrets"),
    ("triggers", "Triggers"),
    ("versions", "Versions"),
    ("settings", "Settings"),
)


async def function_of(visit: Visit) -> FunctionReply:
    """The function in the path. Raises NotFound for one of another project, and what the API does."""
    function = await visit.api.functions.get(visit.request.path_params["function_id"])
    if function.project != visit.slug:
        raise NotFound("Function not found")
    return function


async def render(
    visit: Visit, tab: str, template: str, function: FunctionReply, *, status: int = 200, **context: Any
) -> Response:
    may_change = visit.principal.role.rank >= Role.DEPLOY.rank
    return await visit.render(
        template, status=status, tab=tab, tabs=TABS, function=function, may_change=may_change, **context
    )
