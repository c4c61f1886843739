"""The agent node: a model that is asked again and again, and the tools that it calls in between.

All of one turn is one step. Each question and each call of a tool is an event of the run, with its tokens and its time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from isolet.agents.chat import Answered, Chat
from isolet.agents.default_tools import WAITING
from isolet.agents.toolbox import Toolboxes, arguments_of
from isolet.agents.turn import AgentTool, ToolOutcome, Turn
from isolet.domain.chat import Asked, Message, Offered, ToolCall, Usage
from isolet.domain.flows.templates import as_text
from isolet.errors import IsoletError, NotFound, PlatformError, Unanswered
from isolet.flows.performer import Failed, Handoff, Next, StepContext, StepResult, Wait
from isolet.flows.performers.plain import input_of

# Sends a text of a step to the user, with its number in the step, where there is a way to do so.
Tell = Callable[[StepContext, str, int], Awaitable[None]]

ITERATIONS_DEFAULT = 80
TOKENS_DEFAULT = 8_192
TURN_MAX_S = 600.0
CONVERSATION_MAX_BYTES = 1_048_576
_SHOWN_CHARS = 2_000
_CONTEXT_CHARS = 16_384
_NOTHING = "You gave no answer. Answer, or call a tool."
# What a model that is not told so cannot know.
_RULES = (
    "You are a step of a workflow. Call complete_task when your task is done, and handoff_to_human when a person has "
    "to take over."
)


class AgentPerformer:
    """Performs agent nodes. The turn ends by a tool, by an answer that nobody is there to reply to, or by a limit."""

    def __init__(self, *, chat: Chat, toolboxes: Toolboxes, tell: Tell) -> None:
        self._chat = chat
        self._toolboxes = toolboxes
        self._tell = tell

    async def perform(self, step: StepContext) -> StepResult:
        if step.resumed is not None and step.resumed.reason == "operator":
            return Next()
        turn = Turn(step=step, variables=step.spaces.vars)
        limit_s = TURN_MAX_S if step.timeout_s is None else min(step.timeout_s, TURN_MAX_S)
        try:
            async with asyncio.timeout(limit_s), self._toolboxes.open(turn) as tools:
                turn.messages = await asyncio.to_thread(_opening, turn)
                conversation = _Conversation(self._chat, turn, tools, self._tell, time.monotonic() + limit_s)
                return await conversation.run()
        except TimeoutError:
            return Failed(error=f"the agent took longer than {limit_s:g} s", code="timeout", variables=turn.changed)


class _Conversation:
    """`until` is the monotonic time at which the turn ends."""

    def __init__(self, chat: Chat, turn: Turn, tools: Mapping[str, AgentTool], tell: Tell, until: float) -> None:
        self._chat = chat
        self._tell = tell
        self._turn = turn
        self._tools = tools
        self._until = until
        self._size_bytes = sum(len(json.dumps(message)) for message in turn.messages)
        self._usage = Usage()

    async def run(self) -> StepResult:
        config = self._turn.step.node.config
        most = config.get("max_iterations") or ITERATIONS_DEFAULT
        silent = 0
        for number in range(1, most + 1):
            self._turn.step.event("agent_iteration_started", {"iteration": number})
            try:
                answered = await self._ask(config)
            except (Unanswered, NotFound) as exc:
                return self._failed(exc.message, "model_failed")
            answer = answered.answer
            await self._say(answer.message())
            if answer.tool_calls:
                if answer.text:
                    await self._send_text(answer.text)
                ended = await self._call_all(answer.tool_calls)
            elif answer.text or answer.refusal:
                ended = await self._answered(answer.text or answer.refusal or "", refused=not answer.text)
            else:
                silent += 1
                if silent > 1:
                    why = f" (finish_reason {answer.finish_reason!r})" if answer.finish_reason else ""
                    return self._failed(f"the model gave neither an answer nor a call of a tool{why}", "model_failed")
                await self._say({"role": "user", "content": _NOTHING})
                continue
            if ended is not None:
                return self._with_memory(ended)
            if self._size_bytes > CONVERSATION_MAX_BYTES:
                text = f"the conversation of the agent is larger than {CONVERSATION_MAX_BYTES} bytes"
                return self._failed(text, "conversation_too_large", final=True)
        return self._failed(f"the agent was not done after {most} iterations", "too_many_iterations", final=True)

    async def _ask(self, config: Mapping[str, Any]) -> Answered:
        """Raises Unanswered, NotFound."""
        offered: list[Offered] = [tool.offered for tool in self._tools.values()]
        asked = Asked(messages=self._turn.messages, tools=offered, options=options_of(config))
        project_id = self._turn.step.execution.project_id
        answered = await self._chat.ask(project_id, asked, timeout_s=max(0.1, self._until - time.monotonic()))
        self._usage = self._usage.plus(answered.answer.usage)
        record_question(self._turn.step, answered, total=self._usage)
        return answered

    async def _call_all(self, calls: Any) -> StepResult | None:
        """Call tools in the order in which the model named them; what the first one that ends the turn says."""
        ended: StepResult | None = None
        for call in calls:
            outcome, text = await self._call(call)
            await self._say({"role": "tool", "tool_call_id": call.id, "content": text})
            ended = ended or outcome.ends
        return ended

    async def _call(self, call: ToolCall) -> tuple[ToolOutcome, str]:
        """The outcome, and its text for the model. What goes wrong is told to it: it may do better."""
        began, tool = time.monotonic(), self._tools.get(call.name)
        try:
            if tool is None:
                raise NotFound(f"there is no tool {call.name[:100]!r}")
            arguments = arguments_of(call.arguments)
            outcome = await tool.run(self._turn, arguments)
        except PlatformError:
            # Our own fault: the engine puts the step off, or fails it.
            raise
        except IsoletError as exc:
            outcome = ToolOutcome(value=exc.message, is_error=True)
        text = await asyncio.to_thread(outcome.text)
        self._turn.step.event(
            "agent_tool_called",
            {
                "tool": call.name,
                "kind": "unknown" if tool is None else tool.kind,
                "arguments": call.arguments[:_SHOWN_CHARS],
                "result": text[:_SHOWN_CHARS],
                "is_error": outcome.is_error,
                "duration_ms": round((time.monotonic() - began) * 1000),
                "invocation_id": outcome.invocation_id,
            },
        )
        return outcome, text

    async def _answered(self, text: str, *, refused: bool) -> StepResult | None:
        """A user in a conversation may reply; nobody else would."""
        await self._send_text(text, refused=refused)
        if self._turn.step.whatsapp_context is not None:
            return Wait(reason=WAITING, variables=self._turn.changed)
        await asyncio.to_thread(self._turn.keep_answer, text)
        return Next(variables=self._turn.changed)

    async def _send_text(self, text: str, *, refused: bool = False) -> None:
        self._turn.step.event("agent_message_sent", {"text": text, "refusal": refused}, direction="outbound")
        if self._turn.step.node.config.get("message_delivery_mode") != "tool_only":
            await self._tell(self._turn.step, text, len(self._turn.messages))

    async def _say(self, message: Message) -> None:
        self._size_bytes += len(await asyncio.to_thread(json.dumps, message))
        self._turn.messages.append(message)

    def _with_memory(self, result: StepResult) -> StepResult:
        """One that waits remembers the conversation; tools changed the variables after it was made."""
        if isinstance(result, Wait):
            memory = {"messages": self._turn.messages}
            return Wait(reason=result.reason, timeout_s=result.timeout_s, variables=self._turn.changed, memory=memory)
        if isinstance(result, Next):
            return Next(label=result.label, variables=self._turn.changed)
        return Handoff(variables=self._turn.changed) if isinstance(result, Handoff) else result

    def _failed(self, text: str, code: str, *, final: bool = False) -> Failed:
        return Failed(error=text, code=code, final=final, variables=self._turn.changed)


def _opening(turn: Turn) -> list[Message]:
    """The conversation so far: of a node that waited what it remembers, and what came."""
    memory, resumed = turn.step.memory, turn.step.resumed
    if resumed is not None and isinstance(memory, Mapping) and isinstance(memory.get("messages"), list):
        answer = "No answer came in time."
        if resumed.reason != "timeout":
            answer = input_of(resumed.message)
            turn.change({"last_user_input": answer})
        return [*memory["messages"], {"role": "user", "content": _said(answer)}]
    prompt = turn.step.node.config.get("system_prompt")
    system = turn.rendering().text(prompt) if isinstance(prompt, str) else ""
    said = turn.variables.get("last_user_input")
    return [
        {"role": "system", "content": f"{system}\n\n{_RULES}".strip()},
        {"role": "user", "content": _said(said) if said is not None else _about(turn)},
    ]


def _about(turn: Turn) -> str:
    """What there is to say where no user said anything."""
    text = json.dumps(turn.variables, ensure_ascii=False)
    shown = text if len(text) <= _CONTEXT_CHARS else f"{text[:_CONTEXT_CHARS]}…"
    return f"Begin. The variables of this run: {shown}"


def _said(data: Any) -> str:
    """The text of what a user said, else its JSON."""
    if isinstance(data, Mapping) and isinstance(data.get("text"), str):
        return str(data["text"])
    return as_text(data) or "(nothing)"


def options_of(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What a node says about its questions to the model; `prefix` is that of its members."""
    options: dict[str, Any] = {"max_tokens": config.get(f"{prefix}max_tokens") or TOKENS_DEFAULT}
    if config.get(f"{prefix}temperature") is not None:
        options["temperature"] = config[f"{prefix}temperature"]
    if config.get("reasoning_effort") not in (None, "none"):
        options["reasoning_effort"] = config["reasoning_effort"]
    return options


def record_question(step: StepContext, answered: Answered, *, total: Usage | None = None) -> None:
    """An event of the run: which model was asked, what it took, and how it ended."""
    told = {
        "model": answered.model,
        "usage": answered.answer.usage.to_json(),
        "finish_reason": answered.answer.finish_reason,
        "tool_calls": [call.name for call in answered.answer.tool_calls],
        "tries": answered.tries,
        "duration_ms": answered.duration_ms,
    }
    step.event("agent_model_called", told if total is None else {**told, "usage_together": total.to_json()})
