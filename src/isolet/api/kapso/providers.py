"""What workflows may name of their surroundings, through Kapso's API: models, and numbers of WhatsApp."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

from fastapi import Response
from msgspec import Struct

from isolet.api.kapso.access import READ
from isolet.api.reply import Json
from isolet.api.rows import GrantedProject, route
from isolet.ids import ProjectId


class ProvidersDoor(Struct, frozen=True, kw_only=True):
    """`model` is the name of the project's model for agents, None without one."""

    model: Callable[[ProjectId], Awaitable[str | None]]

    @route("GET", "/provider_models", READ)
    async def list_models(self, project: GrantedProject) -> Response:
        name = await self.model(project.id)
        shown = [] if name is None else [{"id": _model_id(project.id, name), "name": name, "provider": "openai"}]
        return Json({"data": shown})

    @route("GET", "/whatsapp/phone_numbers", READ)
    async def list_phone_numbers(self, project: GrantedProject) -> Response:
        # There is no WhatsApp here. Clients look for a list.
        return Json({"data": [], "meta": {"page": 1, "per_page": 20, "total_pages": 0, "total_count": 0}})


def _model_id(project_id: ProjectId, name: str) -> str:
    """The same for the same name: nodes may keep it."""
    return str(uuid.uuid5(uuid.UUID(project_id), name.encode(errors="backslashreplace").decode()))
