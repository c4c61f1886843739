"""Events of a project through Kapso's API: one is emitted, and starts the workflows that wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from msgspec import Struct

from isolet.api.kapso.access import INVOKE
from isolet.api.kapso.shapes import body_of
from isolet.api.reply import Json
from isolet.api.request import json_body
from isolet.api.rows import GrantedProject, route
from isolet.clock import iso
from isolet.errors import InvalidInput
from isolet.flows.project_events import ProjectEvents
from isolet.settings import Settings

_EXAMPLE = {"name": "order.paid", "occurred_at": "2027-01-31T12:00:00Z", "properties": {"amount": 250}}


class EventsDoor(Struct, frozen=True, kw_only=True):
    events: ProjectEvents
    settings: Settings

    @route("POST", "/events", INVOKE, status_code=201, openapi_extra=body_of(_EXAMPLE))
    async def emit_event(self, request: Request, project: GrantedProject) -> Response:
        """The body has no envelope. Events are not kept."""
        sent: Any = await json_body(request, self.settings, project.id)
        if not isinstance(sent, Mapping):
            raise InvalidInput("An event must be an object")
        conversation_id = sent.get("conversation_id")
        event = await self.events.emit(
            project.id, sent.get("name"), sent.get("properties"), sent.get("occurred_at"), conversation_id
        )
        data = {
            "id": event.id,
            "name": event.name,
            "occurred_at": iso(event.occurred_at_ms),
            "conversation_id": event.conversation_id,
            "properties": dict(event.properties),
        }
        return Json({"data": data}, status_code=201)
