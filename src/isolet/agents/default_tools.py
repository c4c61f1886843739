"""The tools that every agent may have, of those of Kapso's that need no WhatsApp. Two of them are always on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from isolet.agents.turn import ToolOutcome, Turn
from isolet.domain.chat import Offered
from isolet.domain.flows.configs.events import check_event_name, check_properties
from isolet.domain.flows.configs.waits import WAIT_MAX_S, WAIT_MIN_S
from isolet.domain.flows.templates import is_found, look_up
from isolet.domain.json_schemas import check_value
from isolet.errors import InvalidInput
from isolet.flows.performer import Handoff, Next, Wait
from isolet.flows.performers.events import EMITTED, Emit

ALWAYS = ("complete_task", "handoff_to_human")
_TEXT = {"type": "string", "maxLength": 65_536}
_NAME = {"type": "string", "minLength": 1, "maxLength": 256}
WAITING = "agent"


class DefaultTool(Struct, frozen=True, kw_only=True):
    offered: Offered
    do: Callable[[Turn, Mapping[str, Any]], Awaitable[ToolOutcome]]
    kind: str = "default"

    async def run(self, turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
        check_value(self.offered.schema, arguments)
        return await self.do(turn, arguments)


def default_tools(enabled: Iterable[str] | None, emit: Emit) -> list[DefaultTool]:
    """Those that are enabled, and those that always are; all of them where nobody chose. Unknown names are passed over:
    tools for WhatsApp are among them.
    """
    every = _tools(emit)
    chosen = every.keys() if enabled is None else {*ALWAYS, *enabled}
    return [tool for name, tool in every.items() if name in chosen]


def _tools(emit: Emit) -> dict[str, DefaultTool]:
    return {tool.offered.name: tool for tool in (*_of_the_task(), *_of_the_run(emit))}


def _of_the_task() -> list[DefaultTool]:
    """What ends a turn."""
    return [
        _tool(
            "complete_task",
            "Say that the task is done. The workflow goes on with its next step.",
            {"summary": {**_TEXT, "description": "The outcome, in a few words"}},
            _complete,
        ),
        _tool(
            "handoff_to_human",
            "Hand the conversation over to a person, when you cannot or must not go on.",
            {"reason": {**_TEXT, "description": "Why"}},
            _hand_off,
        ),
        _tool(
            "enter_waiting",
            "Wait for the next message of the user. The conversation goes on when it comes.",
            {
                "reason": _TEXT,
                "timeout_seconds": {"type": "integer", "minimum": WAIT_MIN_S, "maximum": WAIT_MAX_S},
            },
            _wait,
        ),
    ]


def _of_the_run(emit: Emit) -> list[DefaultTool]:
    return [
        _tool("get_execution_metadata", "Tells about this run of the workflow.", {}, _metadata),
        _tool(
            "get_current_datetime",
            "Tells the date and time.",
            {"timezone": {**_NAME, "description": "An IANA name such as Europe/Berlin; UTC without it"}},
            _now,
        ),
        _tool(
            "save_variable",
            "Keep a value under a name, for later steps of the workflow.",
            {"name": _NAME, "value": {}},
            _save,
            required=("name", "value"),
        ),
        _tool("get_variable", "Read a value that is kept under a name.", {"name": _NAME}, _get, required=("name",)),
        _tool(
            "emit_event",
            "Tell that something has happened.",
            {"event_name": _NAME, "properties": {"type": "object"}},
            partial(_emit, emit),
            required=("event_name",),
        ),
    ]


def _tool(
    name: str,
    description: str,
    properties: Mapping[str, Any],
    do: Callable[[Turn, Mapping[str, Any]], Awaitable[ToolOutcome]],
    *,
    required: Iterable[str] = (),
) -> DefaultTool:
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return DefaultTool(offered=Offered(name=name, description=description, schema=schema), do=do)


async def _complete(turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
    await asyncio.to_thread(turn.keep_answer, arguments.get("summary", ""))
    return ToolOutcome(value="done", ends=Next(variables=turn.changed))


async def _hand_off(turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
    turn.step.event("agent_handed_off", {"reason": arguments.get("reason", "")})
    return ToolOutcome(value="done", ends=Handoff(variables=turn.changed))


async def _wait(turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
    seconds = arguments.get("timeout_seconds")
    return ToolOutcome(value="waiting", ends=Wait(reason=WAITING, timeout_s=seconds, variables=turn.changed))


async def _metadata(turn: Turn, _: Mapping[str, Any]) -> ToolOutcome:
    run = turn.step.execution
    return ToolOutcome(
        value={
            "execution_id": run.id,
            "workflow_id": run.workflow_id,
            "workflow_name": run.workflow_name,
            "tracking_id": run.tracking_id,
            "system": turn.step.spaces.system,
            "context": turn.step.spaces.context,
        }
    )


async def _now(turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
    name = arguments.get("timezone", "UTC")
    try:
        zone = ZoneInfo(name)
    except (ValueError, OSError, KeyError) as exc:
        raise InvalidInput(f"{name[:100]!r} is no time zone") from exc
    moment = datetime.fromtimestamp(turn.step.clock.now_ms() / 1000, UTC).astimezone(zone)
    return ToolOutcome(
        value={"datetime": moment.isoformat(timespec="seconds"), "timezone": name, "weekday": f"{moment:%A}"}
    )


async def _save(turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
    name, value = arguments["name"], arguments["value"]
    await asyncio.to_thread(turn.assign, name, value)
    turn.step.event("variables_set", {"name": name, "value": value, "source": "agent"})
    return ToolOutcome(value="saved")


async def _get(turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
    found = look_up({"vars": turn.variables}, f"vars.{arguments['name'].removeprefix('vars.')}")
    return ToolOutcome(value=found if is_found(found) else None)


async def _emit(emit: Emit, turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
    name = check_event_name("event_name", arguments["event_name"])
    properties = check_properties("properties", arguments.get("properties", {}))
    await emit(turn.step, name, properties, None)
    turn.step.event(EMITTED, {"event_name": name, "properties": properties})
    return ToolOutcome(value="emitted")
