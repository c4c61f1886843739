"""Functions as tools of an agent node: each is called with Kapso's body, and may change the run's variables."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from isolet.agents.turn import ToolOutcome, Turn
from isolet.domain.chat import Offered
from isolet.errors import ExecutionError
from isolet.flows.functions import FunctionCalls
from isolet.functions.tool_checks import ToolChecks


class FunctionTool(Struct, frozen=True, kw_only=True):
    """`settings` name the function, as the node has them."""

    offered: Offered
    settings: Mapping[str, Any]
    calls: FunctionCalls
    checks: ToolChecks
    kind: str = "function"

    async def run(self, turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
        step = turn.step
        await self.checks.arguments(step.execution.project_id, self.offered.schema, arguments)
        body = {**step.payload(turn.variables), "input": arguments}
        try:
            reply = await self.calls.call(step, self.settings, body)
        except ExecutionError as exc:
            return ToolOutcome(value=exc.message, is_error=True, invocation_id=step.invocation_id)
        is_error = reply.status >= 400
        if reply.variables and not is_error:
            await asyncio.to_thread(turn.change, reply.variables)
            step.event("variables_merged", {"names": list(reply.variables), "source": "agent_tool"})
        value = f"the function answered {reply.status}" if is_error and reply.value is None else reply.value
        return ToolOutcome(value=value, is_error=is_error, invocation_id=reply.invocation_id)
