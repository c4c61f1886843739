"""Checks of tools: their schemas before functions with them are stored, and arguments before a call.

A check is a tenant's work and takes its time, so it runs in a thread, and projects take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from isolet.domain.json_schemas import check_schema, check_value
from isolet.ids import ProjectId
from isolet.turns import Turns

# Threads share one interpreter with the loop, and the other work of threads waits for them.
_AT_ONCE = 2
_WAITING_MAX = 200
# Where `domain.functions.changed` finds a schema.
_PLACES = (("agent", "agent_tool_input_schema"), ("tool", "input_schema"))


class ToolChecks:
    def __init__(self) -> None:
        self._turns = Turns(_AT_ONCE, of_one=_AT_ONCE - 1, waiting_max=_WAITING_MAX)

    async def schemas(self, project_id: ProjectId, changes: Mapping[str, Any]) -> None:
        """Those in changes of a function. Raises InvalidInput for one that is none, or with which nothing can be
        checked, and TooManyRequests.
        """
        for place, member in _PLACES:
            settings = changes.get(place)
            if isinstance(settings, Mapping) and settings.get(member) is not None:
                async with self._turns.take(project_id):
                    await asyncio.to_thread(check_schema, settings[member], label=f"{place}.{member}")

    async def arguments(self, project_id: ProjectId, schema: Mapping[str, Any], value: Any) -> None:
        """Raises InvalidInput for arguments that do not fit, and TooManyRequests."""
        async with self._turns.take(project_id):
            await asyncio.to_thread(check_value, schema, value)
