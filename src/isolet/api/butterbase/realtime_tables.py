"""The routes around Butterbase's realtime that are about tables, of which none is watched here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from msgspec import Struct

from isolet.api.butterbase.access import DEPLOY, INVOKE
from isolet.api.butterbase.errors import Refusal
from isolet.api.request import json_body, public_base
from isolet.api.rows import GrantedProject, route
from isolet.realtime.service import Realtime
from isolet.settings import Settings

_SHOWN_TABLES, _SHOWN_CHARS = 20, 100


class RealtimeTables(Struct, frozen=True, kw_only=True):
    """No table is watched here."""

    realtime: Realtime
    settings: Settings

    @route("POST", "/realtime/configure", DEPLOY)
    async def configure(self, request: Request, project: GrantedProject) -> Response:
        body = await json_body(request, self.settings, project.id)
        tables = body.get("tables") if isinstance(body, Mapping) else None
        if not isinstance(tables, list) or not tables:
            raise Refusal(
                400,
                "VALIDATION_MISSING_FIELD",
                'Request body must include a non-empty "tables" array',
                'Provide {"tables": ["table1", "table2"]}.',
            )
        named = [str(table)[:_SHOWN_CHARS] for table in tables[:_SHOWN_TABLES]]
        raise Refusal(
            404,
            "VALIDATION_TABLE_NOT_FOUND",
            f"Tables not found: {', '.join(named)}",
            "No table is watched here. Publish to a channel: POST /isolet/v1/projects/{slug}/realtime/publish.",
        )

    @route("GET", "/realtime/config", INVOKE)
    async def get_config(self, request: Request, project: GrantedProject, app_id: str) -> dict[str, Any]:
        base = public_base(request, self.settings)
        return {
            "app_id": app_id,
            "tables": [],
            "active_connection": self.realtime.connections(project.id) > 0,
            "websocket_url": f"{base.replace('http', 'ws', 1)}/v1/{app_id}/realtime",
        }

    @route("DELETE", "/realtime/{name}", DEPLOY)
    async def disable(self, project: GrantedProject, name: str) -> dict[str, str]:
        return {"table": name, "status": "disabled"}
