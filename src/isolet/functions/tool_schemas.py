"""Checks the schemas of tools before functions with them are stored. A check takes its time, so it runs in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from isolet.domain.json_schemas import check_schema

# Where `domain.functions.changed` finds one.
_PLACES = (("agent", "agent_tool_input_schema"), ("tool", "input_schema"))


async def check_tool_schema(changes: Mapping[str, Any]) -> None:
    """Raises InvalidInput for a schema that is none, or that arguments cannot be checked with."""
    for place, member in _PLACES:
        settings = changes.get(place)
        if isinstance(settings, Mapping) and settings.get(member) is not None:
            await asyncio.to_thread(check_schema, settings[member], label=f"{place}.{member}")
