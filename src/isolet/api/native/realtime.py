"""The native API of live connections: publishing, what is there, and who may subscribe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, StrictInt

from isolet.access.rules import Access, PathSlug
from isolet.api.rows import GrantedProject, route
from isolet.domain.access import Role
from isolet.realtime.service import Realtime

_ANY = Access(Role.INVOKE, PathSlug())
_ADMIN = Access(Role.ADMIN, PathSlug())


class Publication(BaseModel):
    """`data` is any JSON; null without it."""

    model_config = ConfigDict(extra="forbid")

    channel: str
    event: str
    data: Any = None


class RealtimeRules(BaseModel):
    """`function` is the name of the function that is asked, with `subscribe` `function` only."""

    model_config = ConfigDict(extra="forbid")

    subscribe: Literal["public", "authenticated", "function"] = "authenticated"
    function: str | None = None
    max_connections: StrictInt | None = None
    max_frame_bytes: StrictInt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeDoor:
    realtime: Realtime

    @route("POST", "/projects/{slug}/realtime/publish", _ANY, status_code=202, tags=["realtime"])
    async def publish(self, project: GrantedProject, body: Publication) -> dict[str, Any]:
        """`seq` counts the messages of the channel."""
        return {"seq": await self.realtime.channels.publish(project.id, body.channel, body.event, body.data)}

    @route("GET", "/projects/{slug}/realtime", _ANY, tags=["realtime"])
    async def get_realtime(self, project: GrantedProject) -> dict[str, Any]:
        """Connections and subscribers are those of the server that answers."""
        return {
            "connections": self.realtime.connections(project.id),
            "channels": await self.realtime.channels.listed(project.id),
        }

    @route("PUT", "/projects/{slug}/realtime/settings", _ADMIN, tags=["realtime"])
    async def set_rules(self, project: GrantedProject, body: RealtimeRules) -> dict[str, Any]:
        return (await self.realtime.set(project.id, body.model_dump())).to_json()

    @route("GET", "/projects/{slug}/realtime/settings", _ADMIN, tags=["realtime"])
    async def get_rules(self, project: GrantedProject) -> dict[str, Any]:
        return self.realtime.settings(project.id).to_json()
