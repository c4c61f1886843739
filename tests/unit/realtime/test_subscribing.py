"""What it takes to ask a function who may subscribe."""

from __future__ import annotations

from typing import Any, cast

import pytest

from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.domain.realtime import RealtimeSettings, Subscribers
from isolet.ids import FunctionId, ProjectId
from isolet.realtime.frames import ChannelSubscribed, Refused
from isolet.realtime.identity import Identity
from isolet.realtime.service import Realtime
from isolet.realtime.timing import Pace
from isolet.routing.routes import Routes

PROJECT = Project(id=ProjectId("p1"), slug="shop", name="Shop")
FUNCTION = Function(id=FunctionId("f1"), project_id=PROJECT.id, name="gate", slug="gate", code="x", version=1)
ASKED = ChannelSubscribed(channel="news", since=None, id="q1")
NOTHING = cast(Any, None)


class Calls:
    def __init__(self) -> None:
        self.made = 0

    async def allows(self, *_asked: Any) -> bool:
        self.made += 1
        return True


async def test_a_function_that_says_who_may_subscribe_is_called_within_its_projects_rate() -> None:
    routes, calls = Routes("root-key"), Calls()
    routes.load(functions=[FUNCTION], projects=[PROJECT], keys=[])
    realtime = Realtime(
        database=NOTHING,
        clock=NOTHING,
        routes=routes,
        credentials=NOTHING,
        identities=NOTHING,
        calls=cast(Any, calls),
        pace=Pace(frames_s=1, idle_s=1),
        frame_bytes=1_000,
    )
    realtime._settings[PROJECT.id] = RealtimeSettings(subscribe=Subscribers.FUNCTION, function="gate")
    realtime.count = lambda project_id: project_id != PROJECT.id or not calls.made
    client = realtime.connect(PROJECT, app_id="shop", visitor=NOTHING, identity=Identity())
    assert await realtime.may_subscribe(client, ASKED)
    with pytest.raises(Refused, match="Rate limit exceeded") as refused:
        await realtime.may_subscribe(client, ASKED)
    assert (refused.value.id, calls.made) == ("q1", 1)
