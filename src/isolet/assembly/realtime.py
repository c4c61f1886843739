"""Live connections of clients: events, channels and presence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isolet.access.rates import Rates
from isolet.api.butterbase.loopback import Service
from isolet.api.butterbase.realtime_calls import ButterbaseEvents
from isolet.api.gateway import Finder
from isolet.assembly.core import Core
from isolet.assembly.feature import Feature
from isolet.database import realtime as stored
from isolet.domain.origins import Origin
from isolet.errors import RequestError
from isolet.ids import ProjectId
from isolet.realtime.calls import EventCalls
from isolet.realtime.service import Realtime
from isolet.realtime.timing import Pace


def open_realtime(core: Core) -> Feature:
    database, settings, host = core.persistence.database, core.host.settings, core.host
    realtime = Realtime(
        database=database,
        clock=host.clock,
        routes=core.registry.routes,
        credentials=core.projects.credentials,
        identities=core.projects.identities,
        calls=EventCalls(invoker=core.invoker, dialect=ButterbaseEvents()),
        pace=Pace(frames_s=settings.realtime_frames_s, idle_s=settings.realtime_idle_timeout_s),
        frame_bytes=settings.realtime_frame_kb * 1024,
    )
    host.stack.push_async_callback(realtime.close)
    core.registry.changes.add(realtime.follow)
    host.loops.loop(realtime.channels.drop_old(), name="realtime messages")
    core.loopback.services[b"/realtime/publish"] = _publisher(realtime)

    def calls(rates: Rates) -> Sequence[Finder]:
        from isolet.api.butterbase.realtime import RealtimeHandshakes, counting  # noqa: PLC0415

        realtime.count = counting(rates)
        return [RealtimeHandshakes(routes=core.registry.routes, realtime=realtime).find]

    def doors() -> Sequence[object]:
        from isolet.api.native.realtime import RealtimeDoor  # noqa: PLC0415

        return [RealtimeDoor(realtime=realtime)]

    def app_doors() -> Sequence[object]:
        from isolet.api.butterbase.realtime_tables import RealtimeTables  # noqa: PLC0415

        return [RealtimeTables(realtime=realtime, settings=settings)]

    async def start() -> None:
        await realtime.load()
        if database.shared:
            news = database.listen(stored.NOTIFIED, realtime.hear, connected=realtime.catch_up)
            host.loops.loop(news, name="realtime news")

    return Feature(doors=doors, app_doors=app_doors, calls=calls, start=start)


def _publisher(realtime: Realtime) -> Service:
    """`ctx.realtime.publish`."""

    async def publish(project_id: ProjectId, asked: Any, _: Origin) -> dict[str, int]:
        if not isinstance(asked, Mapping):
            raise RequestError("The message is no object")
        seq = await realtime.channels.publish(project_id, asked.get("channel"), asked.get("event"), asked.get("data"))
        return {"seq": seq}

    return publish
