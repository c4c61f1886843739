"""Calls of functions by runs: how the host makes one, and what its reply says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

from isolet.domain import strict_json
from isolet.domain.flows.run_variables import dump
from isolet.domain.flows.runs import START_DEPTH, VARIABLES_MAX_BYTES
from isolet.domain.invocations import Door, Kind
from isolet.domain.origins import Origin
from isolet.errors import InvalidInput, NotDeployed, NotFound
from isolet.flows.activation import find_function
from isolet.flows.performer import StepContext
from isolet.ids import InvocationId, ProjectId, new_id
from isolet.invoke.invoker import Invoker
from isolet.invoke.request import CallRequest
from isolet.routing.routes import Route, Routes

STEP_KEY_HEADER = b"x-isolet-step-key"
_REPLY_MAX_BYTES = 2 * VARIABLES_MAX_BYTES
_SMALL_BYTES = 16_384


class FunctionReply(Struct, frozen=True, kw_only=True):
    """`value` is the reply as JSON, or as text when it is none; None for an empty one."""

    status: int
    value: Any
    invocation_id: InvocationId

    @property
    def variables(self) -> Mapping[str, Any]:
        """The `vars` that it sets."""
        told = self.value.get("vars") if isinstance(self.value, Mapping) else None
        return told if isinstance(told, Mapping) else {}


class FunctionCalls:
    """`find` asks the store for a function that the routes do not have: another server may have just made it."""

    def __init__(self, *, routes: Routes, invoker: Invoker, find: Callable[[str], Awaitable[Route | None]]) -> None:
        self._routes = routes
        self._invoker = invoker
        self._find = find

    async def call(self, step: StepContext, config: Mapping[str, Any], body: Mapping[str, Any]) -> FunctionReply:
        """Call the function that `config` names, for a step; the call ends when the step is cancelled.

        Raises NotFound, NotDeployed, TooManyRequests, Unavailable, ExecutionError.
        """
        route = await self._route(step.execution.project_id, config)
        invocation_id = InvocationId(new_id())
        request = CallRequest(
            door=Door.KAPSO,
            kind=Kind.FLOW,
            method=b"POST",
            target=b"/",
            path="/",
            headers=[(b"host", b"flows"), (b"content-type", b"application/json")],
            own=[(STEP_KEY_HEADER, step.step_key.encode())],
            body=await step.work(lambda: dump(body).encode()),
            invocation_id=invocation_id,
            origin=Origin(run_depth=step.spaces.system.get(START_DEPTH, 0)),
        )
        step.invocation_id = invocation_id
        reply = await self._invoker.call(route, request)
        try:
            told = await reply.read_plain(_REPLY_MAX_BYTES)
        except BaseException:
            reply.close()
            raise
        step.large = step.large or len(told) > _SMALL_BYTES
        value = await step.work(lambda: read_json(told))
        return FunctionReply(status=reply.status, value=value, invocation_id=reply.invocation_id)

    async def _route(self, project_id: ProjectId, config: Mapping[str, Any]) -> Route:
        function_id = config.get("function_id")
        route = find_function(self._routes, project_id, function_id, config.get("function_slug"))
        if (route is None or route.version is None) and function_id is not None:
            found = await self._find(function_id)
            route = found if found is not None and found.project_id == project_id else route
        if route is None:
            raise NotFound("the function was not found")
        if route.version is None:
            raise NotDeployed("the function is not deployed")
        return route


def read_json(body: bytes) -> Any:
    """JSON, else text. Numbers beyond a double, NaN and Infinity are no JSON.

    Raises InvalidInput for more values than are read at once.
    """
    if not body.strip():
        return None
    try:
        return strict_json.read_writable(body)
    except strict_json.TooManyValues as exc:
        raise InvalidInput(f"the reply {strict_json.TOO_MANY}") from exc
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
