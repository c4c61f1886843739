"""Nodes that call functions: `function`, and `decide` where a function decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolet.domain.flows.policies import UnknownEdge
from isolet.domain.flows.run_variables import assigned
from isolet.errors import ExecutionError
from isolet.flows.functions import FunctionCalls, FunctionReply
from isolet.flows.performer import Failed, Next, StepContext, StepResult

_SHOWN_CHARS = 80


class FunctionNode:
    def __init__(self, calls: FunctionCalls) -> None:
        self._calls = calls

    async def perform(self, step: StepContext) -> StepResult:
        config = step.node.config
        labels = [edge.label for edge in step.graph.edges_from(step.node.id)]
        reply = await _call(self._calls, step, labels)
        if isinstance(reply, Failed):
            return reply
        variables: Mapping[str, Any] = step.spaces.vars
        if reply.variables:
            variables = {**variables, **reply.variables}
            step.event("variables_merged", {"names": list(reply.variables), "source": "function"})
        if name := config.get("save_response_to"):
            variables = assigned(variables, name, reply.value)
            step.event("variables_set", {"name": name, "source": "response"})
        return Next(variables=None if variables is step.spaces.vars else variables)


class DecideByFunction:
    def __init__(self, calls: FunctionCalls) -> None:
        self._calls = calls

    async def perform(self, step: StepContext) -> StepResult:
        labels = [condition["label"] for condition in step.node.config["conditions"]]
        step.event("decision_evaluating", {"available_edges": labels})
        reply = await _call(self._calls, step, labels)
        if isinstance(reply, Failed):
            return reply
        variables = {**step.spaces.vars, **reply.variables} if reply.variables else None
        if variables is not None:
            step.event("variables_merged", {"names": list(reply.variables), "source": "function"})
        told = reply.value.get("next_edge") if isinstance(reply.value, Mapping) else None
        return decided(step, told, variables)


def decided(step: StepContext, told: Any, variables: Mapping[str, Any] | None) -> StepResult:
    """Follow the edge that was named, if there is one; else what the policy says of edges that are not known."""
    labels = [edge.label for edge in step.graph.edges_from(step.node.id)]
    if isinstance(told, str) and told in labels:
        step.event("decision_evaluated", {"next_edge": told}, edge_label=told)
        return Next(label=told, variables=variables)
    shown = repr(told if not isinstance(told, str) else told[:_SHOWN_CHARS])[: _SHOWN_CHARS + 2]
    error = f"next_edge is {shown}, and the node has the edges {', '.join(labels)}"
    if step.policy.on_unknown_edge is UnknownEdge.FIRST and labels:
        step.event("decision_evaluated", {"next_edge": labels[0], "unknown": shown}, edge_label=labels[0])
        return Next(label=labels[0], variables=variables)
    return Failed(error=error, code="unknown_edge")


async def _call(calls: FunctionCalls, step: StepContext, labels: list[str]) -> FunctionReply | Failed:
    """The reply of the node's function, or how the call failed."""
    began_ms = step.clock.now_ms()
    try:
        reply = await calls.call(step, step.node.config, {**step.payload(), "available_edges": labels})
    except ExecutionError as exc:
        details = {"invocation_id": step.invocation_id, "duration_ms": step.clock.now_ms() - began_ms}
        step.event("action_failed", {"error": exc.message, **details})
        return Failed(error=exc.message, code=exc.code, details=details)
    details = {
        "status": reply.status,
        "invocation_id": reply.invocation_id,
        "duration_ms": step.clock.now_ms() - began_ms,
    }
    if reply.status >= 400:
        error = f"the function answered {reply.status}{_said(reply.value)}"
        step.event("action_failed", {"error": error, **details})
        return Failed(error=error, code="function_failed", details=details)
    step.event("action_performed", details)
    return reply


def _said(value: Any) -> str:
    """What an answer says of its error."""
    told = value.get("error", value.get("message")) if isinstance(value, Mapping) else value
    if isinstance(told, Mapping):
        told = told.get("message")
    return f": {told[:400]}" if isinstance(told, str) and told.strip() else ""
