"""The native API of live connections: publishing, what is there, and who may subscribe."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Response

from isolet.access.rules import Access, PathSlug
from isolet.api.native.serving import large_reply, serve
from isolet.api.rows import GrantedProject
from isolet.contract.realtime import (
    ChannelState,
    Publication,
    PublishedReply,
    Realtime,
    RealtimeReply,
    RealtimeRules,
    RealtimeRulesReply,
)
from isolet.domain.access import Role
from isolet.realtime.service import Realtime as RealtimeService

_ANY = Access(Role.INVOKE, PathSlug())
_ADMIN = Access(Role.ADMIN, PathSlug())


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeDoor:
    realtime: RealtimeService

    @serve(Realtime.publish, _ANY)
    async def publish(self, project: GrantedProject, body: Publication) -> PublishedReply:
        """`seq` counts the messages of the channel."""
        seq = await self.realtime.channels.publish(project.id, body.channel, body.event, body.data)
        return PublishedReply(seq=seq)

    @serve(Realtime.get, _ANY)
    async def get_realtime(self, project: GrantedProject) -> Response:
        """Connections and subscribers are those of the server that answers."""
        connections = self.realtime.connections(project.id)
        listed = await self.realtime.channels.listed(project.id)

        def shape() -> RealtimeReply:
            return RealtimeReply(connections=connections, channels=[ChannelState(**channel) for channel in listed])

        return await large_reply(shape)

    @serve(Realtime.set_rules, _ADMIN)
    async def set_rules(self, project: GrantedProject, body: RealtimeRules) -> RealtimeRulesReply:
        return RealtimeRulesReply(**(await self.realtime.set(project.id, body.model_dump())).to_json())

    @serve(Realtime.get_rules, _ADMIN)
    async def get_rules(self, project: GrantedProject) -> RealtimeRulesReply:
        return RealtimeRulesReply(**self.realtime.settings(project.id).to_json())
