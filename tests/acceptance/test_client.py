"""Every method of both clients once, against a real server, and what they make of its refusals."""

from __future__ import annotations

import inspect
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import pytest

from isolet import client as api
from isolet.client.messages import request_of
from isolet.contract.agent_model import ModelSettings
from isolet.contract.database import SqlQuery
from isolet.contract.deliveries import DeliveryFilter
from isolet.contract.executions import ExecutionRetry, ExecutionStart
from isolet.contract.flows import Channel, FlowCheck, FlowCreate, FlowUpdate, ProjectEvent, StepPolicies
from isolet.contract.functions import (
    EncodedFile,
    FunctionDefinition,
    FunctionUpdate,
    NewFunctionDefinition,
    Rollback,
    SourcesBody,
)
from isolet.contract.keys import KeyCreate
from isolet.contract.logs import CallEnd, LogLine
from isolet.contract.master_key import MasterKeyRotation
from isolet.contract.models import Reply
from isolet.contract.operations import AnyOperation
from isolet.contract.projects import ProjectCreate, ProjectUpdate
from isolet.contract.realtime import Publication, RealtimeRules, SentEvent
from isolet.contract.schedules import ScheduleBackfill, ScheduleMembers, SchedulePause, SchedulePreview
from isolet.contract.secrets import SecretValue
from isolet.contract.tokens import TokenRules
from isolet.contract.tools import McpMessage, ToolCall
from isolet.contract.variables import VariableChanges
from tests.support.altair import Altair
from tests.support.contract import operations
from tests.support.kapso import Kapso
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.workflows import WorkflowsApi, a_line, a_node

T = TypeVar("T")
HELLO = "async function handler() { console.log('hello'); return new Response('hello') }"
WAITS = "export default async () => { await scheduler.wait(100_000); return new Response() }"


class _Noting:
    """Keeps what was called, and compares what replies say with what their models have."""

    called: set[tuple[str, str]]
    raw: httpx.Client

    def note(self, operation: AnyOperation, arguments: Mapping[str, Any]) -> None:
        self.called.add((operation.method, operation.path))

    def compare(self, operation: AnyOperation, arguments: Mapping[str, Any], value: Any) -> Any:
        """A read is read again: the model must have every member, and no other."""
        if operation.method == "GET" and isinstance(value, Reply):
            reply = self.raw.get(request_of(operation, arguments).target)
            assert reply.status_code == operation.status
            assert _members(value.to_json()) == _members(reply.json())
        return value


class _Waiting(api.Client, _Noting):
    def call(self, operation: AnyOperation, arguments_: Mapping[str, Any]) -> Any:
        self.note(operation, arguments_)
        return self.compare(operation, arguments_, super().call(operation, arguments_))

    def follow(self, stream: AnyOperation, arguments_: Mapping[str, Any]) -> Any:
        self.note(stream, arguments_)
        return super().follow(stream, arguments_)


class _Async(api.AsyncClient, _Noting):
    async def call(self, operation: AnyOperation, arguments_: Mapping[str, Any]) -> Any:
        self.note(operation, arguments_)
        return self.compare(operation, arguments_, await super().call(operation, arguments_))

    def follow(self, stream: AnyOperation, arguments_: Mapping[str, Any]) -> Any:
        self.note(stream, arguments_)
        return super().follow(stream, arguments_)


def _members(value: Any, place: str = "") -> set[str]:
    if isinstance(value, dict):
        return {place}.union(*(_members(item, f"{place}.{name}") for name, item in value.items()))
    if isinstance(value, list):
        return {place}.union(*(_members(item, place + "[]") for item in value))
    return {place}


async def done(reply: T | Awaitable[T]) -> T:
    """Of either client."""
    return await reply if inspect.isawaitable(reply) else reply  # type: ignore[return-value]


@asynccontextmanager
async def opened(stream: Any) -> AsyncIterator[AsyncIterator[Any]]:
    """Of either client."""
    if hasattr(stream, "__aenter__"):
        async with stream as items:
            yield items
    else:
        with stream as items:
            yield _each(items)


async def _each(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


@pytest.fixture(params=[_Waiting, _Async])
async def client(request: pytest.FixtureRequest, calling_server: Server) -> AsyncIterator[Any]:
    """With the root key."""
    made = request.param(calling_server.url, calling_server.root_key)
    made.called = set()
    with calling_server.client() as made.raw:
        yield made
    await done(made.close())


async def test_every_method(client: Any, calling_server: Server, receiver: Receiver) -> None:
    """One walk, since most of it needs what was made before."""
    slug = f"p-{uuid.uuid4().hex[:12]}"
    project = await done(client.projects.create(ProjectCreate(slug=slug, name="имя")))
    assert (project.slug, project.name, project.limits["functions"]) == (slug, "имя", 1_000)
    assert (await done(client.projects.update(slug, ProjectUpdate(limits={"functions": 7})))).limits["functions"] == 7
    assert (await done(client.projects.get(slug))).name == "имя"
    assert slug in [one.slug for one in (await done(client.projects.list(limit=500))).data]

    key = await done(client.keys.create(slug, KeyCreate(name="k", role="admin")))
    await _settings(client, slug)
    await _stores(client, slug)
    with calling_server.client(key.key) as own:
        await _functions(client, slug, Kapso(own))
        await _functions_by_name(client, slug)
        await _flows(client, slug, WorkflowsApi(own))
        await _asynchronous_calls(client, slug, Altair(own, slug), receiver)
    assert [one.id for one in (await done(client.keys.list(slug))).data] == [key.id]
    assert await done(client.keys.delete(slug, key.id)) is None
    assert await done(client.projects.delete(slug)) is None

    assert client.called == {(operation.method, operation.path) for operation in operations().values()}


async def _settings(client: Any, slug: str) -> None:
    assert (await done(client.tokens.set(slug, TokenRules(hs256_secret="s" * 32)))).leeway_s == 30
    assert (await done(client.tokens.get(slug))).jwks is None
    secret = await done(client.webhook_secrets.create(slug))
    assert secret.secret
    assert [one.id for one in (await done(client.webhook_secrets.list(slug))).data] == [secret.id]
    await done(client.webhook_secrets.delete(slug, secret.id))
    chat = ModelSettings(base_url="https://models.example/v1/", model="m", api_key_secret="sk-1")
    assert (await done(client.agent_model.set(slug, chat))).api_key_secret == "***"
    assert (await done(client.agent_model.get(slug))).base_url == "https://models.example/v1"
    rules = await done(client.realtime.set_rules(slug, RealtimeRules(max_connections=7)))
    assert (rules.subscribe, rules.max_connections) == ("authenticated", 7)
    assert await done(client.realtime.get_rules(slug)) == rules
    assert (await done(client.realtime.publish(slug, Publication(channel="c", event="e", data=[[1]])))).seq == 1
    assert [(one.name, one.seq) for one in (await done(client.realtime.get(slug))).channels] == [("c", 1)]
    with pytest.raises(api.NotFound):
        await done(client.realtime.send_event(slug, SentEvent(event="nobody-takes-it")))
    assert (await done(client.limits.get())).function["timeout_ms"].maximum == 86_400_000
    with pytest.raises(api.InvalidInput):
        await done(client.master_key.rotate(MasterKeyRotation(new_key="short")))
    async with opened(client.backups.download_database()) as parts:
        assert b"".join([part async for part in parts]).startswith(b"SQLite format 3\0")


async def _stores(client: Any, slug: str) -> None:
    for kv_key in ("plain", "...", "a/b?c#d%2F", "ключ\n"):
        await done(client.kv.put(slug, kv_key, b"\0\xff", metadata='{"deep": [[1]]}', expiration_ttl=1_000))
        value = await done(client.kv.get(slug, kv_key))
        assert (value.data, json.loads(value.metadata or "")) == (b"\0\xff", {"deep": [[1]]})
    page = await done(client.kv.list(slug, limit=3))
    assert len(page.data) == 3
    last = await done(client.kv.list(slug, limit=3, cursor=page.next_cursor))
    assert sorted(one.name for one in page.data + last.data) == sorted(["plain", "...", "a/b?c#d%2F", "ключ\n"])
    assert page.data[0].metadata == {"deep": [[1]]}
    await done(client.kv.delete(slug, "plain"))
    # A segment of dots that was removed would make the path that of the project itself.
    with pytest.raises(api.InvalidInput, match="cannot be a key"):
        await done(client.kv.delete(slug, ".."))

    await done(client.kv.put(slug, "k", b"v", namespace="cache"))
    assert (await done(client.kv.get(slug, "k", namespace="cache"))).data == b"v"
    names = [one.name for one in (await done(client.stores.list_namespaces(slug))).data]
    assert names == ["cache", "default"]
    await done(client.stores.delete_namespace(slug, "cache"))
    await done(client.database.query(slug, SqlQuery(sql="SELECT 1"), database="other"))
    assert "other" in [one.name for one in (await done(client.stores.list_databases(slug))).data]
    await done(client.stores.delete_database(slug, "other"))
    assert (await done(client.database.import_text(slug, b"CREATE TABLE t (a); INSERT INTO t VALUES (1)"))).statements
    query = SqlQuery(sql="SELECT a, ? AS b FROM t", params=["\ud800x"])
    found = await done(client.database.query(slug, query))
    assert (found.rows[0]["a"], found.columns) == (1, None)
    arrays = await done(client.database.query(slug, SqlQuery(sql="SELECT a FROM t", rows="arrays")))
    assert (arrays.rows, arrays.columns) == ([[1]], ["a"])
    assert [(one.name, one.rows) for one in (await done(client.database.get(slug))).tables] == [("t", 1)]
    async with opened(client.database.export(slug)) as parts:
        assert b"INSERT INTO" in b"".join([part async for part in parts])
    async with opened(client.backups.download(slug)) as parts:
        archive = b"".join([part async for part in parts])
    assert await done(client.backups.restore(slug, archive)) is None


async def _functions(client: Any, slug: str, kapso: Kapso) -> None:
    function_id = kapso.deployed(HELLO, "Hello")
    kapso.deploy(function_id)
    assert [one.id for one in (await done(client.functions.list(project=slug))).data] == [function_id]
    assert (await done(client.functions.get(function_id))).deploy_error is None
    changed = await done(client.functions.update(function_id, FunctionUpdate(timeout_ms=5_000)))
    assert (changed.timeout_ms, changed.version) == (5_000, 2)
    versions = (await done(client.functions.list_versions(function_id))).data
    assert [(one.version, one.live) for one in versions] == [(2, True), (1, False)]
    assert (await done(client.functions.get_version(function_id, 1))).files == {"index.js": HELLO}
    assert (await done(client.functions.roll_back(function_id, Rollback(version=1)))).version == 1

    async with (
        opened(client.logs.follow(project=slug)) as all_lines,
        opened(client.logs.follow_function(function_id, level="info")) as lines,
    ):
        call_id = kapso.invoke(function_id).headers["x-invocation-id"]
        for events in (all_lines, lines):
            line, end = [await anext(events), await anext(events)]
            assert isinstance(line.data, LogLine)
            assert isinstance(end.data, CallEnd)
            assert (line.data.message, end.data.invocation_id, end.data.status_code) == ("hello", call_id, 200)
    async with opened(client.logs.follow(project=slug, after=line.id)) as again:
        assert (await anext(again)).id == end.id
    assert (await done(client.logs.list_own_lines(function_id))).data == []

    record = await done(client.invocations.get(call_id))
    assert (record.status, record.status_code, record.console[0].message) == ("succeeded", 200, "hello")
    assert (await done(client.invocations.replay(call_id))).status == "succeeded"
    listed = await done(client.invocations.list(project=slug, function="hello", status="succeeded"))
    assert len(listed.data) == 2
    assert (await done(client.usage.of_function(function_id))).total == 2
    assert [one.invocations for one in (await done(client.usage.list(project=slug))).data] == [2]
    series = await done(client.usage.series(function_id, window="24h"))
    assert (len(series.spans), sum(one.total for one in series.spans), series.whole.total) == (24, 2, 2)
    await done(client.schedules.create(function_id, ScheduleMembers({"cron": "@daily", "name": "on"})))
    paused = await done(client.schedules.create(function_id, ScheduleMembers({"cron": "@daily", "name": "off"})))
    await done(client.schedules.pause(paused.id, SchedulePause()))
    (glance,) = (await done(client.functions.overview(slug, q="ELL"))).data
    assert (glance.id, glance.triggers, glance.last_day.total) == (function_id, ["http"], 2)
    assert glance.schedules == 1
    assert (await done(client.functions.overview(slug, q="e%l"))).data == []
    await done(client.functions.delete(function_id))


async def _functions_by_name(client: Any, slug: str) -> None:
    made = await done(client.functions.create(slug, NewFunctionDefinition(name="by-name", code=HELLO), wait=60))
    assert (made.status, made.version) == ("deployed", 1)
    with pytest.raises(api.Conflict):
        await done(client.functions.create(slug, NewFunctionDefinition(name="by-name", code=HELLO)))
    files = {"index.js": HELLO, "data.bin": EncodedFile(base64="AP8=")}
    changed = await done(client.functions.put_named(slug, "by-name", FunctionDefinition(files=files), wait=60))
    assert (changed.id, changed.version) == (made.id, 2)
    assert (await done(client.functions.get_named(slug, "by-name"))).id == made.id
    assert (await done(client.functions.get_files(made.id))).files == files
    assert (await done(client.functions.get_files(made.id, version=1))).files == {"index.js": HELLO}
    saved = await done(client.functions.put_files(made.id, SourcesBody(files={"index.js": "const = 1"})))
    assert (await done(client.functions.get_files(made.id))).files == saved.files == {"index.js": "const = 1"}
    assert (await done(client.functions.get(made.id))).version == 2
    await done(client.functions.put_files(made.id, SourcesBody(files=files)))
    assert "data.bin" in await done(client.functions.diff(made.id, from_version=1, to_version=2))
    assert (await done(client.functions.deploy(made.id))).id == made.id
    broken = FunctionDefinition(code="const = 1")
    with pytest.raises(api.DeployFailed) as failed:
        await done(client.functions.put_named(slug, "by-name", broken, wait=60))
    assert failed.value.details["line"] == 1
    await _private(client, made.id)
    await _schedules(client, slug, made.id)
    await _tools(client, slug, made.id)
    await done(client.functions.delete_named(slug, "by-name"))


async def _tools(client: Any, slug: str, function_id: str) -> None:
    changed = await done(client.functions.update(function_id, FunctionUpdate(tool={"description": "Says hello"})))
    assert changed.tool.mode == "read_only"
    assert [one.name for one in (await done(client.tools.list(slug))).data] == ["by-name"]
    told = await done(client.tools.call(slug, "by-name", ToolCall(arguments={"a": [1]})))
    assert (told.result, told.is_error) == ("hello", False)
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    answer = json.loads(await done(client.tools.mcp(slug, McpMessage(message))))
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["by-name"]


async def _flows(client: Any, slug: str, kapso: WorkflowsApi) -> None:
    flow_id = kapso.create("Waits", a_line(a_node("wait", "wait_for_response")), active=True)["id"]
    trigger = {"trigger_type": "project_event", "event_name": "order.paid"}
    kapso("POST", f"/workflows/{flow_id}/triggers", {"trigger": trigger}, status=201)
    assert [(one.id, one.slug, one.status) for one in (await done(client.flows.list(slug))).data] == [
        (flow_id, "waits", "active")
    ]
    begun = await done(client.executions.start(slug, "waits", ExecutionStart(variables={"name": "Ada"})))
    assert (begun.workflow_id, begun.trigger) == (flow_id, "api_call")
    assert (await done(client.executions.cancel(begun.id))).status == "ended"
    await _own_flow(client, slug)
    policies = StepPolicies({"wait": {"retries": 2}})
    assert (await done(client.flows.set_policies(flow_id, policies))).root == policies.root
    assert (await done(client.flows.get_policies(flow_id))).root == policies.root
    assert (await done(client.flows.draw(flow_id))).startswith("<svg ")
    assert (await done(client.flows.mermaid(flow_id))).startswith("flowchart")
    channel = Channel(url="https://channel.example/")
    assert (await done(client.flows.set_channel(slug, channel))).url == channel.url
    assert (await done(client.flows.get_channel(slug))).url == channel.url
    event = await done(client.flows.emit(slug, ProjectEvent(name="order.paid", properties={"amount": 1})))
    (started,) = event.executions
    runs = (await done(client.executions.list(project=slug, workflow="waits"))).data
    assert [one.id for one in runs] == [started.id, begun.id]
    wait_until(lambda: kapso.client.get(f"/isolet/v1/executions/{started.id}").json()["status"] == "waiting")
    assert [one.node_id for one in (await done(client.executions.get(started.id))).steps] == ["start", "wait"]
    assert "waiting" in await done(client.executions.draw(started.id))
    assert (await done(client.executions.pause(started.id))).pause
    assert (await done(client.executions.resume(started.id))).pause is None
    assert (await done(client.executions.cancel(started.id))).status == "ended"
    nightly = await done(client.schedules.create_of_flow(flow_id, ScheduleMembers({"cron": "0 3 * * *"})))
    assert [one.id for one in (await done(client.schedules.list_of_flow(flow_id))).data] == [nightly.id]
    assert (await done(client.schedules.run(nightly.id))).execution_id
    assert await done(client.schedules.delete(nightly.id)) is None
    assert (await done(client.executions.retry(started.id, ExecutionRetry(from_="wait")))).status == "running"


async def _own_flow(client: Any, slug: str) -> None:
    made = await done(client.flows.create(slug, FlowCreate(name="Own", definition=a_line())))
    assert (made.status, [node["id"] for node in made.definition["nodes"]]) == ("draft", ["start"])
    checked = await done(client.flows.check(made.id, FlowCheck(definition=a_line())))
    assert (len(checked.faults), checked.picture[:5]) == (1, "<svg ")
    assert (await done(client.flows.check(made.id, FlowCheck(definition={"nodes": 1})))).picture is None
    whole = a_line(a_node("wait", "wait_for_response"))
    changed = await done(client.flows.update(made.id, FlowUpdate(status="active", definition=whole, lock_version=0)))
    assert (changed.status, changed.lock_version) == ("active", 1)
    with pytest.raises(api.Conflict):
        await done(client.flows.update(made.id, FlowUpdate(name="Late", lock_version=0)))
    assert (await done(client.flows.get(made.id))).definition == changed.definition
    assert await done(client.flows.delete(made.id)) is None


async def _schedules(client: Any, slug: str, function_id: str) -> None:
    members = ScheduleMembers({"cron": "0 3 * * *", "payload": {"deep": [[1]]}, "name": "nightly"})
    made = await done(client.schedules.create(function_id, members))
    assert (made.cron, made.payload, made.enabled) == ("0 3 * * *", {"deep": [[1]]}, True)
    assert [one.id for one in (await done(client.schedules.list_of_function(function_id))).data] == [made.id]
    assert [one.id for one in (await done(client.schedules.list(project=slug))).data] == [made.id]
    assert (await done(client.schedules.update(made.id, ScheduleMembers({"retries": 2})))).retries == 2
    assert len((await done(client.schedules.preview(SchedulePreview(cron="0 3 * * *", count=3)))).times) == 3
    assert (await done(client.schedules.run(made.id))).invocation_id
    assert len((await done(client.schedules.list_firings(made.id))).data) == 1
    back = ScheduleBackfill(from_="2026-01-01T00:00:00Z", to="2026-01-01T01:00:00Z")
    assert (await done(client.schedules.backfill(made.id, back))).count == 0
    assert not (await done(client.schedules.pause(made.id))).enabled
    assert (await done(client.schedules.pause(made.id, SchedulePause(reason="rest")))).paused_reason == "rest"
    assert (await done(client.schedules.resume(made.id))).enabled
    assert (await done(client.schedules.get(made.id))).paused_reason is None
    assert await done(client.schedules.delete(made.id)) is None


async def _private(client: Any, function_id: str) -> None:
    assert (await done(client.secrets.put(function_id, "TOKEN", SecretValue(value={"a": ["секрет"]})))).name == "TOKEN"
    assert [one.name for one in (await done(client.secrets.list(function_id))).data] == ["TOKEN"]
    await done(client.secrets.delete(function_id, "TOKEN"))
    assert (await done(client.variables.change(function_id, VariableChanges({"A": [1], "B": 2})))).root["A"] == [1]
    await done(client.variables.change(function_id, VariableChanges({"B": None})))
    assert (await done(client.variables.get(function_id))).root == {"A": [1]}


async def _asynchronous_calls(client: Any, slug: str, altair: Altair, receiver: Receiver) -> None:
    call_id = altair.start(altair.running("hello", HELLO), callback=receiver.url)
    receiver.wait()
    altair.ended(call_id)
    # Its attempt is noted once the receiver has answered.
    path = f"/isolet/v1/invocations/{call_id}"
    wait_until(lambda: client.raw.get(path).json()["callback"]["attempts"], what="the callback's attempt")
    state = await done(client.invocations.get(call_id))
    assert (state.result.body, state.callback.url, state.attempts[0].status) == ("hello", receiver.url, 200)
    assert [one.url for one in (await done(client.deliveries.list(function=state.function_id))).data] == [receiver.url]
    assert (await done(client.deliveries.redeliver(DeliveryFilter(host="nowhere.test")))).redelivered == 0
    with pytest.raises(api.Conflict, match="has ended already"):
        await done(client.invocations.cancel(call_id))
    waiting = altair.start(altair.running("waits", WAITS))
    assert (await done(client.invocations.cancel(waiting))).id == waiting
    with pytest.raises(api.Conflict, match="no callback"):
        await done(client.invocations.redeliver(waiting))
    altair.ended(waiting)


@pytest.mark.parametrize("kind", [api.Client, api.AsyncClient])
async def test_a_refusal_is_an_error_of_its_kind(calling_server: Server, kind: Any) -> None:
    stranger, root = (kind(calling_server.url + "/", key) for key in ("isk_wrong", calling_server.root_key))
    with pytest.raises(api.Unauthenticated) as unauthenticated:
        await done(stranger.functions.list())
    assert (unauthenticated.value.status, unauthenticated.value.text) == (401, "API key is not valid")
    with pytest.raises(api.Unauthenticated):
        async with opened(stranger.logs.follow()):
            raise AssertionError("it was let in")
    with pytest.raises(api.NotFound):
        await done(root.projects.get("nobody\0"))
    with pytest.raises(api.InvalidInput, match="slug"):
        await done(root.projects.create(ProjectCreate(slug="NO")))
    for one in (stranger, root):
        await done(one.close())
