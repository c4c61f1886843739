"""The native API of live connections: publishing, what is there, and who may subscribe."""

from __future__ import annotations

import json

from fastapi import Request, Response
from msgspec import Struct

from isolet.access.rules import Access, PathSlug
from isolet.api.native.serving import large_reply, serve
from isolet.api.rows import Granted, GrantedProject
from isolet.api.visitors import visitor_of
from isolet.contract.realtime import (
    ChannelState,
    EventAnswerReply,
    Publication,
    PublishedReply,
    Realtime,
    RealtimeReply,
    RealtimeRules,
    RealtimeRulesReply,
    SentEvent,
)
from isolet.domain.access import Role
from isolet.domain.realtime import check_data
from isolet.realtime.identity import Identity
from isolet.realtime.service import Realtime as RealtimeService

_ANY = Access(Role.INVOKE, PathSlug())
_ADMIN = Access(Role.ADMIN, PathSlug())


class RealtimeDoor(Struct, frozen=True, kw_only=True):
    realtime: RealtimeService

    @serve(Realtime.publish, _ANY)
    async def publish(self, project: GrantedProject, body: Publication) -> PublishedReply:
        """`seq` counts the messages of the channel."""
        seq = await self.realtime.channels.publish(project.id, body.channel, body.event, body.data)
        return PublishedReply(seq=seq)

    @serve(Realtime.send_event, _ANY)
    async def send_event(self, request: Request, grant: Granted, body: SentEvent) -> Response:
        """`data` is what a client gets in the `event_response`."""
        payload = check_data(body.payload, "payload") if "payload" in body.model_fields_set else None
        principal = grant.principal
        identity = Identity(is_service=True, is_root=principal.is_root, key_id=principal.key_id)
        route, answer = await self.realtime.send_event(
            grant.project, body.event, payload, visitor=visitor_of(request.scope), identity=identity
        )

        def shape() -> EventAnswerReply:
            data = json.loads(answer.data)
            return EventAnswerReply(data=data, function_id=route.function_id, invocation_id=answer.invocation_id)

        return await large_reply(shape)

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
