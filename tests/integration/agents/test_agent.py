"""Agent nodes against a scripted model server: real functions, real egress, no engine of workflows around."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from isolet.agents import agent, mcp_client
from isolet.agents.agent import AgentPerformer
from isolet.agents.ai_fields import WithAiFields
from isolet.agents.chat import Chat
from isolet.agents.decisions import AiDecision
from isolet.agents.models import OpenedModel
from isolet.agents.toolbox import Toolboxes
from isolet.clock import SystemClock
from isolet.database.connection import Database
from isolet.domain.agent_models import AgentModel
from isolet.domain.flows.flow_jobs import Resumed
from isolet.domain.flows.policies import Policy, UnknownEdge
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.flows.functions import FunctionCalls
from isolet.flows.performer import Failed, Handoff, Next, StepContext, StepResult, Wait
from isolet.functions.releases import release_of
from isolet.functions.tool_checks import ToolChecks
from isolet.ids import FunctionId, ProjectId, new_id
from isolet.observe.recorder import Recorder
from isolet.routing.routes import Route, Routes
from isolet.runtime.outgoing import Requests
from tests.support.agent_steps import a_step, events
from tests.support.calling import a_harness
from tests.support.model_server import BUSY, ModelServer, Raw, Says
from tests.support.receiver import Answer, Delivery, Receiver
from tests.support.runtime import Lines, Runtime, a_spec

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PROJECT = ProjectId("project")
LOOK_UP = """
export default {
  async fetch(request) {
    const told = await request.json();
    const { id } = told.input;
    if (id === 13) throw new Error("an unlucky number");
    if (id === 14) return new Response("<h1>Gone</h1>", { status: 502, headers: { "content-type": "text/html" } });
    const step = request.headers.get("x-isolet-step-key");
    return Response.json({ found: id, vars: { seen: [...(told.execution_context.vars.seen ?? []), id] }, step });
  }
}
"""
TOOL = {
    "name": "look_up",
    "description": "Looks an order up",
    "function_slug": "look-up",
    "input_schema": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
}


class Bench:
    """The performers, and the server that plays the model."""

    def __init__(self, model: ModelServer, chat: Chat, toolboxes: Toolboxes, emitted: list[tuple[str, Any]]) -> None:
        self.said: list[tuple[str, int]] = []
        self.model = model
        self.chat = chat
        self.emitted = emitted
        self._agent = AgentPerformer(chat=chat, toolboxes=toolboxes, tell=self._tell)

    async def _tell(self, _: StepContext, text: str, number: int) -> None:
        self.said.append((text, number))

    async def run(self, config: Mapping[str, Any], **members: Any) -> tuple[StepResult, StepContext]:
        step = a_step(PROJECT, config, **members)
        return await self._agent.perform(step), step

    async def decide(
        self, conditions: list[dict[str, Any]], edges: list[str], **members: Any
    ) -> tuple[Any, StepContext]:
        config = {"decision_type": "ai", "conditions": conditions}
        step = a_step(PROJECT, config, node_type="decide", edges=edges, **members)
        return await AiDecision(chat=self.chat).perform(step), step


@pytest.fixture
async def bench(runtime: Runtime, database: Database, lines: Lines) -> AsyncIterator[Bench]:
    egresses = runtime.egresses("127.0.0.0/8")
    recorder = Recorder(database)
    emitted: list[tuple[str, Any]] = []

    async def emit(_: StepContext, name: str, properties: Mapping[str, Any], __: str | None) -> None:
        emitted.append((name, dict(properties)))

    async def find(_: str) -> Route | None:
        return None

    async def model_of(_: ProjectId) -> OpenedModel:
        return OpenedModel(model=AgentModel(base_url=model.url, model="m"), key=None)

    with ModelServer() as model:
        async with runtime.pool(lines, egresses=egresses) as pool, a_harness(pool, database, recorder) as harness:
            routes = Routes("root", egress_networks=["127.0.0.0/8"])
            function = Function(
                id=FunctionId(new_id()), project_id=PROJECT, name="Look up", slug="look-up", code="", version=1
            )
            release = release_of(function)
            harness.specs[release] = a_spec(LOOK_UP, function_id=function.id, project_id=PROJECT, release=release)
            routes.put_function(function)
            routes.put_project(Project(id=PROJECT, slug="project", name="", created_at_ms=0))
            requests = Requests(egresses)
            toolboxes = Toolboxes(
                calls=FunctionCalls(routes=routes, invoker=harness.invoker, find=find),
                requests=requests,
                checks=ToolChecks(),
                emit=emit,
            )
            chat = Chat(model_of=model_of, requests=requests, clock=SystemClock())
            yield Bench(model, chat, toolboxes, emitted)


def called(step: StepContext) -> list[tuple[str, bool]]:
    return [(event["tool"], event["is_error"]) for event in events(step, "agent_tool_called")]


def told_of(bench: Bench, place: int = -1) -> list[str]:
    """What the tools answered, in the newest question."""
    return [message["content"] for message in bench.model.asked[place]["messages"] if message["role"] == "tool"]


async def test_a_turn_with_functions(bench: Bench) -> None:
    config = {
        "system_prompt": "You serve {{vars.shop}} with ${ENV:TOKEN}.",
        "temperature": 0.2,
        "max_tokens": 100,
        "reasoning_effort": "low",
        "flow_agent_function_tools": [TOOL],
        "save_response_to": "answer",
    }
    bench.model.says(
        Says(calls=[("look_up", {"id": 1}), ("look_up", {"id": 2}), ("save_variable", {"name": "a.b", "value": [1]})]),
        BUSY,
        Says(calls=[("get_variable", {"name": "a.b"}), ("get_current_datetime", {"timezone": "Europe/Berlin"})]),
        Says(text="Both are there.", tokens=(100, 50)),
    )
    result, step = await bench.run(config, variables={"shop": "Öl & Co", "last_user_input": "Where are 1 and 2?"})
    assert result == Next(
        variables={
            "shop": "Öl & Co",
            "last_user_input": "Where are 1 and 2?",
            "seen": [1, 2],
            "a": {"b": [1]},
            "answer": "Both are there.",
        }
    )
    first, last = bench.model.asked[0], bench.model.asked[-1]
    assert (first["model"], first["temperature"], first["max_tokens"], first["reasoning_effort"]) == (
        "m",
        0.2,
        100,
        "low",
    )
    system, user = first["messages"]
    assert system["content"].startswith("You serve Öl & Co with t-1.")
    assert user == {"role": "user", "content": "Where are 1 and 2?"}
    assert [tool["function"]["name"] for tool in first["tools"]][:2] == ["complete_task", "handoff_to_human"]
    look_up, _, saved, kept, now = told_of(bench)
    assert json.loads(look_up) == {"found": 1, "vars": {"seen": [1]}, "step": step.step_key}
    assert (saved, json.loads(kept), json.loads(now)["timezone"]) == ("saved", [1], "Europe/Berlin")
    assert len(last["messages"]) == 2 + 1 + 3 + 1 + 2

    assert called(step) == [
        (name, False) for name in ("look_up", "look_up", "save_variable", "get_variable", "get_current_datetime")
    ]
    record = events(step, "agent_tool_called")[0]
    assert (record["kind"], json.loads(record["arguments"])) == ("function", {"id": 1})
    assert record["invocation_id"]
    questions = events(step, "agent_model_called")
    assert [(one["tries"], one["usage"]["total_tokens"]) for one in questions] == [(1, 15), (2, 15), (1, 150)]
    assert questions[-1]["usage_together"]["total_tokens"] == 180
    assert [one["text"] for one in events(step, "agent_message_sent")] == ["Both are there."]
    assert [text for text, _ in bench.said] == ["Both are there."]
    bench.model.says(Says(text="Quiet."))
    await bench.run({"message_delivery_mode": "tool_only"})
    assert len(bench.said) == 1


async def test_what_goes_wrong_with_a_tool_is_told_to_the_model(bench: Bench) -> None:
    config = {"flow_agent_function_tools": [TOOL, {**TOOL, "name": "gone", "function_slug": "none"}]}
    bench.model.says(
        Says(
            calls=[
                ("look_up", "{not json"),
                ("look_up", "[1]"),
                ("look_up", {"id": "1"}),
                ("look_up", '{"id": NaN}'),
                ("look_up", {"id": 13}),
                ("look_up", {"id": 14}),
                ("gone", {"id": 1}),
                ("no_such", {}),
                ("get_current_datetime", {"timezone": "../../etc/passwd"}),
                ("save_variable", {"name": "big", "value": "x" * 250_000}),
                ("emit_event", {"event_name": "Not A Name"}),
            ]
        ),
        Says(calls=[("emit_event", {"event_name": "order.late", "properties": {"id": 1}})]),
        Says(calls=[("complete_task", {"summary": "done"}), ("look_up", {"id": 5})]),
    )
    result, step = await bench.run(config)
    assert isinstance(result, Next)
    assert result.variables is not None
    assert result.variables["seen"] == [5]
    texts = told_of(bench, 1)
    for text, said in zip(
        texts,
        [
            "no JSON",
            "must be a JSON object",
            "'1' is not of type 'integer'",
            "no JSON",
            "an unlucky number",
            "<h1>Gone</h1>",
            "not found",
            "no tool 'no_such'",
            "no time zone",
            "saved",
            "event_name",
        ],
        strict=True,
    ):
        assert said in text
    assert bench.emitted == [("order.late", {"id": 1})]
    assert called(step)[-3:] == [("emit_event", False), ("complete_task", False), ("look_up", False)]


async def test_how_a_turn_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.model.says(Says(calls=[("look_up", {"id": 1})]))
    result, step = await bench.run({"flow_agent_function_tools": [TOOL], "max_iterations": 5})
    assert isinstance(result, Failed)
    assert (result.code, result.final, len(bench.model.asked)) == ("too_many_iterations", True, 5)
    assert result.variables == {"seen": [1] * 5}
    assert len(events(step, "agent_iteration_started")) == 5

    for said, text in [
        (Says(), "neither an answer nor a call"),
        (Raw(body=b"<h1>Hello</h1>"), "no JSON object: <h1>Hello</h1>"),
        (Raw(status=401, body=b'{"error": {"message": "wrong key"}}'), "answered 401: wrong key"),
    ]:
        bench.model.says(said)
        result, _ = await bench.run({})
        assert isinstance(result, Failed)
        assert (result.code, text in result.error) == ("model_failed", True)

    bench.model.says(Says(refusal="I will not."))
    result, step = await bench.run({})
    assert isinstance(result, Next)
    assert events(step, "agent_message_sent") == [{"text": "I will not.", "refusal": True}]

    bench.model.says(
        Says(calls=[("handoff_to_human", {"reason": "angry"}), ("save_variable", {"name": "a", "value": 1})])
    )
    result, step = await bench.run({})
    assert result == Handoff(variables={"a": 1})
    assert events(step, "agent_handed_off") == [{"reason": "angry"}]
    result, _ = await bench.run({}, resumed=Resumed(reason="operator"))
    assert result == Next()

    monkeypatch.setattr(agent, "CONVERSATION_MAX_BYTES", 2_000)
    bench.model.says(Says(calls=[("save_variable", {"name": "a", "value": "x" * 3_000})]))
    result, _ = await bench.run({})
    assert isinstance(result, Failed)
    assert result.code == "conversation_too_large"

    bench.model.says(Raw(hold=True))
    result, _ = await bench.run({}, timeout_s=0.5)
    assert isinstance(result, Failed)
    assert result.code in ("timeout", "model_failed")
    assert re.search(r"(took longer than|did not answer within) 0\.\d+ s", result.error)


async def test_a_conversation_waits_and_goes_on(bench: Bench) -> None:
    bench.model.says(
        Says(
            text="Which colour?",
            calls=[("enter_waiting", {"timeout_seconds": 60}), ("save_variable", {"name": "a", "value": 1})],
        ),
        Says(text="Thanks."),
    )
    waiting, _ = await bench.run({"system_prompt": "Ask."})
    assert isinstance(waiting, Wait)
    assert (waiting.reason, waiting.timeout_s, waiting.variables) == ("agent", 60, {"a": 1})
    assert [text for text, _ in bench.said] == ["Which colour?"]
    memory = json.loads(json.dumps(waiting.memory))
    resumed = Resumed(reason="user_input", message={"kind": "payload", "data": {"text": "blue"}})
    result, _ = await bench.run({"system_prompt": "Ask."}, variables={"a": 1}, memory=memory, resumed=resumed)
    assert result == Next(variables={"a": 1, "last_user_input": {"text": "blue"}})
    assert bench.model.asked[-1]["messages"][-1] == {"role": "user", "content": "blue"}
    assert len(bench.model.asked[-1]["messages"]) == 6

    bench.model.says(Says(text="Are you there?"))
    waiting, _ = await bench.run({}, whatsapp_context={"conversation": {}})
    assert isinstance(waiting, Wait)
    await bench.run({}, memory=waiting.memory, resumed=Resumed(reason="timeout"))
    assert bench.model.asked[-1]["messages"][-1]["content"] == "No answer came in time."


async def test_webhooks_mcp_servers_and_knowledge(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_client, "CONNECT_TIMEOUT_S", 1.0)
    monkeypatch.setattr(mcp_client, "CALL_TIMEOUT_S", 1.0)

    def answer(delivery: Delivery) -> Answer:
        if delivery.path.startswith("/hook"):
            assert delivery.headers["x-token"] == "t-1"
            told = {"method": delivery.method, "path": delivery.path, "body": delivery.body.decode()}
            return Answer(body=json.dumps({"data": {"items": [told]}}).encode())
        if delivery.path == "/html":
            return Answer(status=502, headers={"content-type": "text/html"}, body=b"<h1>Bad</h1>")
        if delivery.path == "/nan":
            return Answer(status=500, body=b"[NaN]")
        if delivery.path == "/hangs":
            bench.model.free.wait(60)
            return Answer()
        asked = json.loads(delivery.body)
        results = {
            "initialize": {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}},
            "tools/list": {"tools": [{"name": name} for name in ("find it", "hook", "complete_task")]},
            "tools/call": {"content": [{"type": "text", "text": "found"}]},
        }
        told = {"jsonrpc": "2.0", "id": asked.get("id"), "result": results.get(asked["method"], {})}
        return Answer(headers={"content-type": "application/json"}, body=json.dumps(told).encode())

    with Receiver(answer) as world:
        base = world.url.removesuffix("/callback")
        schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
        hook = {"url": f"{base}/hook/{{{{vars.shop}}}}", "headers": {"X-Token": "${ENV:TOKEN}"}}
        config = {
            "flow_agent_webhooks": [
                {"name": "hook", **hook, "body_schema": schema, "jmespath_query": "data.items[0]"},
                {"name": "get", **hook, "http_method": "GET"},
                {"name": "fixed", **hook, "method": "PUT", "body_template": {"shop": "{{vars.shop}}"}},
                {
                    "name": "filled",
                    **hook,
                    "body": {"shop": "{{vars.shop}}", "text": {"$ai": {}}},
                    "ai_field_config": {"text": {"mode": "prompt", "prompt": "What to say"}},
                },
                {"name": "query", **hook, "jmespath_query": "data.items[?path]"},
                {"name": "html", "url": f"{base}/html"},
                {"name": "nan", "url": f"{base}/nan"},
                {"name": "inside", "url": "http://10.0.0.1/"},
            ],
            "flow_agent_mcp_servers": [
                {"name": "shop", "url": f"{base}/mcp"},
                {"name": "slow", "url": f"{base}/hangs"},
                {"name": "closed", "url": "http://127.0.0.1:9/"},
                {"name": "inside", "url": "http://169.254.169.254/"},
            ],
            "flow_agent_knowledge_bases": [{"name": "Hours", "knowledge_base_text": "{{vars.shop}} opens at 9."}],
        }
        bench.model.says(
            Says(
                calls=[
                    ("hook", {"q": "a"}),
                    ("hook", {}),
                    ("get", {"q": "ü&", "n": 1}),
                    ("fixed", {}),
                    ("filled", {"text": "{{vars.shop}}"}),
                    ("query", {}),
                    ("html", {}),
                    ("nan", {}),
                    ("inside", {}),
                    ("find_it", {}),
                    ("shop_hook", {}),
                    ("shop_complete_task", {}),
                    ("read_knowledge_1", {}),
                ]
            ),
            Says(text="ok"),
        )
        result, step = await bench.run(config, variables={"shop": "oil"})
        assert isinstance(result, Next)
        hooked, unfit, got, fixed, filled, query, html, nan, inside, *found, knowledge = told_of(bench)
        assert json.loads(hooked) == {"method": "POST", "path": "/hook/oil", "body": '{"q":"a"}'}
        assert "'q' is a required property" in unfit
        assert json.loads(got)["data"]["items"][0]["path"] == "/hook/oil?q=%C3%BC%26&n=1"
        assert json.loads(fixed)["data"]["items"][0]["body"] == '{"shop":"oil"}'
        sent = json.loads(json.loads(filled)["data"]["items"][0]["body"])
        assert sent == {"shop": "oil", "text": "{{vars.shop}}"}
        (offered,) = [
            tool["function"] for tool in bench.model.asked[0]["tools"] if tool["function"]["name"] == "filled"
        ]
        assert offered["parameters"]["properties"] == {"text": {"description": "What to say"}}
        assert "jmespath_query is not supported" in query
        assert json.loads(html) == {"status": 502, "body": "<h1>Bad</h1>"}
        assert json.loads(nan) == {"status": 500, "body": "[NaN]"}
        assert "10.0.0.1" in inside
        assert found == ["found"] * 3
        assert knowledge == "oil opens at 9."
        failed = {one["server"]: one["error"] for one in events(step, "agent_mcp_server_failed")}
        assert failed.keys() == {"slow", "closed", "inside"}
        assert "did not answer within" in failed["slow"]
        bench.model.free.set()


async def test_decisions(bench: Bench) -> None:
    conditions = [
        {"label": "vip", "description": "a good customer"},
        {"label": "other", "description": ""},
        {"label": "no_edge"},
    ]
    bench.model.says(Says(calls=[("choose_edge", {"label": "vip", "reasoning": "spends much"})]))
    result, step = await bench.decide(conditions, ["vip", "other"], variables={"spent": 9_000})
    assert result == Next(label="vip")
    assert events(step, "decision_evaluated") == [{"edge": "vip", "reasoning": "spends much"}]
    (asked,) = bench.model.asked
    assert asked["tools"][0]["function"]["parameters"]["properties"]["label"]["enum"] == ["vip", "other"]
    assert asked["tool_choice"]["function"]["name"] == "choose_edge"
    assert '"spent": 9000' in asked["messages"][1]["content"]

    for said in (Says(text='"Other".'), Says(text='{"label": "other"}')):
        bench.model.says(said)
        assert (await bench.decide(conditions, ["vip", "other"]))[0] == Next(label="other")

    first = Policy(on_unknown_edge=UnknownEdge.FIRST)
    for said, code in [
        (Says(text="either vip or other"), "unknown_edge"),
        (Says(calls=[("choose_edge", "{nonsense")]), "unknown_edge"),
        (Says(calls=[("choose_edge", {"label": "no_edge"})]), "unknown_edge"),
        (Says(refusal="no"), "unknown_edge"),
        (Raw(body=b"<h1>"), "model_failed"),
    ]:
        bench.model.says(said)
        result, _ = await bench.decide(conditions, ["vip", "other"])
        assert isinstance(result, Failed)
        assert result.code == code
        result, step = await bench.decide(conditions, ["vip", "other"], policy=first)
        assert result == Next(label="vip")
        assert events(step, "decision_evaluated")[0]["fallback"] is True


async def test_fields_that_a_model_writes(bench: Bench) -> None:
    class Keeps:
        async def perform(self, step: StepContext) -> StepResult:
            message = step.node.config["message"]
            if isinstance(message, str):
                step.event("performed", {"message": step.rendering.text(message)})
            return Next()

    config = {
        "message": {"$ai": {}},
        "ai_field_config": {"message": {"mode": "prompt", "prompt": "Greet {{vars.name}}"}},
    }
    performer = WithAiFields(Keeps(), chat=bench.chat)
    bench.model.says(Says(text=" Hello {{vars.name}}, ${ENV:TOKEN}! "))
    step = a_step(PROJECT, config, node_type="send_text", variables={"name": "Zoë"})
    assert await performer.perform(step) == Next()
    assert events(step, "performed") == [{"message": "Hello {{vars.name}}, ${ENV:TOKEN}!"}]
    assert events(step, "ai_field_resolved")[0]["field"] == "message"
    assert "Greet Zoë" in bench.model.asked[0]["messages"][1]["content"]

    bench.model.says(Says(text="later"))
    await performer.perform(a_step(PROJECT, {**config, "delay_seconds": 5}, node_type="send_text"))
    assert bench.model.asked == []
    resumed = Resumed(reason="timeout")
    step = a_step(PROJECT, {**config, "delay_seconds": 5}, node_type="send_text", resumed=resumed)
    await performer.perform(step)
    assert events(step, "performed") == [{"message": "later"}]

    for said in (Says(refusal="no"), Says(), Raw(status=400), Says(text="x" * 20_000)):
        bench.model.says(said)
        result = await performer.perform(a_step(PROJECT, config, node_type="send_text"))
        assert isinstance(result, Failed)
        assert "message" in result.error
