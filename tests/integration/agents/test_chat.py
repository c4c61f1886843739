"""Questions to a scripted model server, through the real egress process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from msgspec.structs import replace

from isolet.agents import chat as chat_module
from isolet.agents.chat import Chat
from isolet.agents.models import OpenedModel
from isolet.clock import SystemClock
from isolet.domain.agent_models import AgentModel
from isolet.domain.chat import Asked, Offered
from isolet.errors import Unanswered
from isolet.ids import ProjectId
from isolet.runtime.outgoing import Outgoing, Requests
from tests.support.model_server import BUSY, ModelServer, Raw, Says
from tests.support.runtime import Runtime

PROJECT = ProjectId("project")
KEY = "sk-of-the-tests-1234"
ASKED = Asked(messages=[{"role": "user", "content": "Hi"}])


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
async def requests(runtime: Runtime) -> AsyncIterator[Requests]:
    egresses = runtime.egresses("127.0.0.0/8")
    try:
        yield Requests(egresses)
    finally:
        await egresses.close()


def chat_of(requests: Requests, model: AgentModel) -> Chat:
    async def model_of(_: ProjectId) -> OpenedModel:
        return OpenedModel(model=model, key=KEY)

    return Chat(model_of=model_of, requests=requests, clock=SystemClock())


async def test_answers_of_all_kinds(requests: Requests, server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process for all: each answer is asked for twice, whole and as a stream."""
    monkeypatch.setattr(chat_module, "_FIRST_DELAY_S", 0.01)
    model = AgentModel(base_url=server.url, model="m")
    for streams in (False, True):
        chat = chat_of(requests, replace(model, streams=streams))
        server.says(
            Says(text="Grüße \U0001f600"),
            Says(calls=[("look", {"a": "ü" * 9}), ("look", "{not json")], text="both"),
            Says(refusal="I will not."),
        )
        told = await chat.ask(PROJECT, ASKED)
        assert (told.answer.text, told.tries, told.answer.usage.prompt_tokens) == ("Grüße \U0001f600", 1, 10)
        assert server.headers["authorization"] == f"Bearer {KEY}"
        assert bool(server.asked[0].get("stream")) is streams
        tool = Offered(name="look", description="", schema={"type": "object"})
        calls = (await chat.ask(PROJECT, replace(ASKED, tools=[tool]))).answer.tool_calls
        assert [json.loads(calls[0].arguments), calls[1].arguments] == [{"a": "ü" * 9}, "{not json"]
        assert len({call.id for call in calls}) == 2
        assert (await chat.ask(PROJECT, ASKED)).answer.refusal == "I will not."

        server.says(BUSY, Raw(status=503), Says(text="at last"))
        told = await chat.ask(PROJECT, ASKED)
        assert (told.answer.text, told.tries) == ("at last", 3)
        assert told.duration_ms >= 1_000

        refused = b'{"error": {"message": "Unsupported parameter: \'max_tokens\'", "code": "unsupported_parameter"}}'
        other = b'{"error": {"message": "\'temperature\' does not support 0.2", "param": "temperature"}}'
        server.says(Raw(status=400, body=refused), Raw(status=400, body=other), Says(text="fine"))
        asked = replace(ASKED, options={"max_tokens": 7, "temperature": 0.2, "reasoning_effort": "low"})
        assert (await chat.ask(PROJECT, asked)).answer.text == "fine"
        assert server.asked[-1]["max_completion_tokens"] == 7
        assert {"max_tokens", "temperature"}.isdisjoint(server.asked[-1])
        assert server.asked[-1]["reasoning_effort"] == "low"

        html = {"content-type": "text/html"}
        for raw, said in [
            (
                Raw(status=401, body=b'{"error": {"message": "Incorrect key: ' + KEY.encode() + b'"}}'),
                "Incorrect key: \\*\\*\\*",
            ),
            (Raw(body=b"<h1>Hello</h1>", headers=html), "no JSON object: <h1>Hello</h1>"),
            (Raw(status=302, headers={"location": "http://127.0.0.1/"}), "answered 302"),
            (Raw(body=b"x" * 9_000_000), "larger than"),
            (Raw(status=429, headers={"retry-after": "3600"}), "answered 429"),
            (Raw(headers={"content-type": "text/event-stream"}, body=b"data: {}\n\n"), "before its answer"),
        ]:
            server.says(raw)
            with pytest.raises(Unanswered, match=said) as failed:
                await chat.ask(PROJECT, ASKED)
            assert KEY not in failed.value.message
            assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["a: b", "transfer-encoding ", "", "a\tb", "é", "content-length\x0b"])
async def test_a_header_that_would_be_read_as_another_one_is_not_sent(
    requests: Requests, server: ModelServer, name: str
) -> None:
    request = Outgoing(method="POST", url=server.url, headers=[(name, "x")])
    with pytest.raises(Unanswered, match="is no name of a header"):
        await requests.send(PROJECT, request, timeout_s=60, max_bytes=100)


async def test_a_server_that_does_not_answer(requests: Requests, server: ModelServer) -> None:
    model = AgentModel(base_url=server.url, model="m")
    server.says(Raw(hold=True))
    with pytest.raises(Unanswered, match=r"did not answer within 0\.5 s"):
        await chat_of(requests, model).ask(PROJECT, ASKED, timeout_s=0.5)
    server.free.set()
    for base_url, said in [("http://127.0.0.1:9/v1", "127.0.0.1:9"), ("http://10.0.0.1/v1", "refused")]:
        with pytest.raises(Unanswered, match=said):
            await chat_of(requests, replace(model, base_url=base_url)).ask(PROJECT, ASKED)


async def test_a_question_that_is_given_up_leaves_nothing_behind(requests: Requests, server: ModelServer) -> None:
    server.free.clear()
    server.says(Raw(hold=True))
    chat = chat_of(requests, AgentModel(base_url=server.url, model="m"))
    asking = asyncio.create_task(chat.ask(PROJECT, ASKED))
    async with asyncio.timeout(60):
        while not server.asked:
            await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    server.free.set()
    server.says(Says(text="next"))
    assert (await chat.ask(PROJECT, ASKED)).answer.text == "next"
