"""What the requests of functions to their own server take of it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from isolet.access.open_requests import OpenRequests
from isolet.api.asgi import Message, Scope
from isolet.api.butterbase.loopback import Loopback
from isolet.domain.functions import Function
from isolet.domain.origins import NOBODY, Origin
from isolet.domain.projects import Project
from isolet.ids import FunctionId, InvocationId, ProjectId
from isolet.routing.routes import Routes
from isolet.runtime.envelope import CALL_HEADER
from isolet.runtime.origins import Origins
from isolet.runtime.spec import InstanceSpec
from isolet.threads import account
from isolet.wire.exchange import ON_END
from tests.support.runtime import a_spec

PROJECT = Project(id=ProjectId("p1"), slug="shop", name="Shop")
FUNCTION = Function(id=FunctionId("f1"), project_id=PROJECT.id, name="Order", slug="order", code="x", version=1)
PATH = b"/kv/get"
NOTHING = cast(Any, None)


class Asking:
    """What the door must know of the process that asks."""

    def __init__(self) -> None:
        self.spec: InstanceSpec = a_spec("", function_id=FUNCTION.id, project_id=PROJECT.id)
        self.origins = Origins()
        self.origins.begin(InvocationId("call"), NOBODY)


class Service:
    """One that answers when it is told to."""

    def __init__(self) -> None:
        self.accounts: list[str] = []
        self.may_answer = asyncio.Event()

    async def __call__(self, project_id: ProjectId, asked: Any, origin: Origin) -> Any:
        self.accounts.append(account())
        await self.may_answer.wait()
        return asked


def a_loopback(service: Service) -> Loopback:
    routes = Routes("root-key")
    routes.load(functions=[FUNCTION], projects=[PROJECT], keys=[])
    return Loopback(
        routes=routes,
        invoker=NOTHING,
        instance_of=lambda _: cast(Any, Asking()),
        bodies=NOTHING,
        settings=NOTHING,
        opening=OpenRequests(1),
        services={PATH: service},
    )


def a_scope() -> Scope:
    headers = [(CALL_HEADER.encode(), b"call"), (b"content-length", b"2")]
    return {"type": "http", "method": "POST", "path": PATH.decode(), "raw_path": PATH, "headers": headers, ON_END: []}


async def status_of(door: Loopback, scope: Scope) -> int:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: Message) -> None:
        sent.append(message)

    await door(scope, receive, send)
    return int(sent[0]["status"])


async def test_a_functions_request_is_its_projects_and_open_until_it_ends() -> None:
    service, scope = Service(), a_scope()
    door = a_loopback(service)
    first = asyncio.ensure_future(status_of(door, scope))
    while not service.accounts:
        await asyncio.sleep(0)
    assert service.accounts == [PROJECT.id]
    assert await status_of(door, a_scope()) == 429
    service.may_answer.set()
    assert await first == 200
    for ended in scope[ON_END]:
        ended()
    assert await status_of(door, a_scope()) == 200
