"""Nodes that send messages: to the project's channel, an address of its operator's choice, signed as callbacks are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from isolet.clock import iso
from isolet.domain import callbacks
from isolet.domain.flows.nodes import NodeType
from isolet.domain.flows.policies import DEFAULT
from isolet.domain.flows.run_variables import dump
from isolet.domain.flows.runs import DELAY
from isolet.errors import Unanswered
from isolet.flows.performer import Failed, Next, StepContext, StepResult, Wait
from isolet.flows.performers.webhook import RESPONSE_MAX_BYTES, TIMEOUT_S
from isolet.ids import ProjectId
from isolet.runtime.outgoing import Outgoing, Requests

_NO_CHANNEL = "the project has no channel for messages"
_NOT_TOLD = frozenset({"ai_field_config", "provider_model_id", "provider_model_name", "delay_seconds"})


class SendNode:
    """`channel` gives the address of a project, None when it has none; `keys` what signs its callbacks."""

    def __init__(
        self,
        *,
        requests: Requests,
        channel: Callable[[ProjectId], Awaitable[str | None]],
        keys: Callable[[ProjectId], Awaitable[Sequence[str]]],
    ) -> None:
        self._requests = requests
        self._channel = channel
        self._keys = keys

    async def perform(self, step: StepContext) -> StepResult:
        delay_s = step.node.config.get("delay_seconds")
        if delay_s and step.resumed is None:
            return Wait(reason=DELAY, timeout_s=float(delay_s))
        url = await self._channel(step.execution.project_id)
        if url is None:
            step.event("message_not_sent", {"reason": _NO_CHANNEL})
            # A policy for this node says what is to follow; without one the run goes on.
            return Next(skipped=True) if step.policy is DEFAULT else Failed(error=_NO_CHANNEL, code="no_channel")
        body = await step.work(lambda: dump(message_of(step)).encode())
        return await self._send(step, url, body, step.step_key)

    async def say(self, step: StepContext, text: str, number: int) -> None:
        """Send the text of an agent, the `number`th of its step, where there is a channel. What fails is an event."""
        url = await self._channel(step.execution.project_id)
        if url is not None:
            told = _message(step, NodeType.SEND_TEXT.value, {"message": text})
            await self._send(step, url, dump(told).encode(), f"{step.step_key}:{number}")

    async def _send(self, step: StepContext, url: str, body: bytes, message_id: str) -> StepResult:
        project_id, timestamp_s = step.execution.project_id, step.clock.now_ms() // 1000
        keys = await self._keys(project_id)
        signed = callbacks.signature(keys, message_id=message_id, timestamp_s=timestamp_s, body=body)
        headers = [
            ("content-type", "application/json"),
            ("webhook-id", message_id),
            ("webhook-timestamp", str(timestamp_s)),
            *([("webhook-signature", signed)] if signed else []),
        ]
        request = Outgoing(method="POST", url=url, headers=headers, body=body)
        try:
            reply = await self._requests.send(
                project_id, request, timeout_s=min(TIMEOUT_S, step.timeout_s or TIMEOUT_S), max_bytes=RESPONSE_MAX_BYTES
            )
            error = None if 200 <= reply.status < 300 else f"the channel answered {reply.status}"
        except Unanswered as exc:
            error = exc.message
        if error is not None:
            step.event("action_failed", {"error": error})
            return Failed(error=error, code="channel_failed")
        step.event("message_sent", {"node_type": step.node.kind.value}, direction="outbound")
        return Next()


def message_of(step: StepContext) -> dict[str, Any]:
    """What a channel gets."""
    told = {name: step.rendering.value(value) for name, value in step.node.config.items() if name not in _NOT_TOLD}
    return _message(step, step.node.kind.value, told)


def _message(step: StepContext, kind: str, told: dict[str, Any]) -> dict[str, Any]:
    execution = step.execution
    return {
        "type": kind,
        "message": told,
        "to": told.get("to_phone_number") or step.spaces.context.get("phone_number"),
        "context": step.spaces.context,
        "workflow_id": execution.workflow_id,
        "workflow_execution_id": execution.id,
        "tracking_id": execution.tracking_id,
        "node_id": step.node.id,
        "step_key": step.step_key,
        "timestamp": iso(step.clock.now_ms()),
    }
