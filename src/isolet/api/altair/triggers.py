"""Altair's triggers of a space."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from msgspec import Struct

from isolet.api.altair.access import DEPLOY, READ
from isolet.api.reply import Json
from isolet.api.request import json_body
from isolet.api.rows import GrantedProject, route
from isolet.domain.space_triggers import SpaceTrigger, SpaceTriggerType
from isolet.errors import RequestError
from isolet.functions.space_triggers import SpaceTriggers
from isolet.settings import Settings

_SECRETS = ("password",)


class AltairTriggers(Struct, frozen=True, kw_only=True):
    triggers: SpaceTriggers
    settings: Settings

    @route("POST", "/triggers", DEPLOY, status_code=201)
    async def create_trigger(self, request: Request, project: GrantedProject) -> Response:
        """One of the type cron switches on every `options.schedule` of the space's functions."""
        trigger = await self.triggers.create(project, await json_body(request, self.settings, project.id))
        return Json(_shown(trigger), status_code=201)

    @route("GET", "/triggers", READ)
    async def list_triggers(self, project: GrantedProject, type: str | None = None) -> Response:
        if type is not None and type not in list(SpaceTriggerType):
            raise RequestError(f"type must be one of {', '.join(SpaceTriggerType)}")
        found = await self.triggers.list(project, None if type is None else SpaceTriggerType(type))
        return Json({"data": [_shown(trigger) for trigger in found]})

    @route("GET", "/triggers/{trigger_id}", READ)
    async def get_trigger(self, project: GrantedProject, trigger_id: str) -> Response:
        return Json(_shown(await self.triggers.get(project, trigger_id)))

    @route("PUT", "/triggers/{trigger_id}", DEPLOY)
    async def replace_trigger(self, request: Request, project: GrantedProject, trigger_id: str) -> Response:
        body = await json_body(request, self.settings, project.id)
        return Json(_shown(await self.triggers.change(project, trigger_id, body)))

    @route("DELETE", "/triggers/{trigger_id}", DEPLOY, status_code=204)
    async def delete_trigger(self, project: GrantedProject, trigger_id: str) -> Response:
        await self.triggers.delete(project, trigger_id)
        return Response(status_code=204)


def _shown(trigger: SpaceTrigger) -> dict[str, Any]:
    runs = trigger.type is SpaceTriggerType.CRON
    config = {name: "***" if name in _SECRETS else value for name, value in trigger.config.items()}
    return {
        "id": trigger.id,
        "description": trigger.description,
        "type": trigger.type.value,
        "config": config,
        "status": "Running" if runs else "Failed",
        "error_message": "" if runs else f"there is no {trigger.type.value} client here",
    }
