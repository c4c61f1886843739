"""What becomes of a step that fails: policies of a workflow's nodes, kept beside its graph and keyed by node id.

The graph itself has no member for them, so that the validators of Kapso's clients accept it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from isolet.domain.choices import one_of
from isolet.domain.flows.graph import NODE_ID, NODES_MAX, Graph
from isolet.domain.retries import jittered
from isolet.errors import InvalidInput

RETRIES_MAX = 20
BACKOFF_MAX_S = 3_600
TIMEOUT_MIN_S, TIMEOUT_MAX_S = 0.1, 86_400
_SHOWN_CHARS = 80


class OnError(StrEnum):
    """What a run does after the last try of a step failed."""

    FAIL = "fail"
    CONTINUE = "continue"
    GO_TO = "go_to"


class UnknownEdge(StrEnum):
    """What a decide node does whose function named an edge that it does not have."""

    FAIL = "fail"
    FIRST = "first"


class Policy(Struct, frozen=True, kw_only=True):
    """The policy of one node. `retries` are further tries; the first comes after `backoff_s`, which doubles each time.

    `timeout_s` bounds one try; None leaves that to the node's own limit. `go_to` is a node's id, for `OnError.GO_TO`.
    """

    retries: int = 0
    backoff_s: float = 1.0
    timeout_s: float | None = None
    on_error: OnError = OnError.FAIL
    go_to: str | None = None
    on_unknown_edge: UnknownEdge = UnknownEdge.FAIL

    def delay_ms(self, attempts: int, random: float) -> int | None:
        """How long to wait after so many failed tries; None when there is to be no other. `random` is from 0 to 1."""
        if attempts > self.retries:
            return None
        doubled_s = self.backoff_s * 2 ** (attempts - 1)
        return jittered(round(min(doubled_s, BACKOFF_MAX_S) * 1000), random)


DEFAULT = Policy()


def read_policies(value: object) -> dict[str, Policy]:
    """Policies by node id, from JSON. A member that is absent or null has its default. Raises InvalidInput."""
    if not isinstance(value, Mapping):
        raise InvalidInput("policies must be an object with node ids as names")
    if len(value) > NODES_MAX:
        raise InvalidInput(f"policies: there are more than {NODES_MAX}")
    return {_node_id("policies", name): _read_policy(f"policies.{name}", given) for name, given in value.items()}


def check_policies(policies: Mapping[str, Policy], graph: Graph) -> None:
    """Raises InvalidInput for a policy that names a node which the graph does not have."""
    known = {node.id for node in graph.nodes}
    for node_id, policy in policies.items():
        if node_id not in known:
            raise InvalidInput(f"policies.{node_id}: the workflow has no node with this id")
        if policy.go_to is not None and policy.go_to not in known:
            raise InvalidInput(f"policies.{node_id}.on_error.go_to: the workflow has no node {policy.go_to}")


def further_targets(policies: Mapping[str, Policy]) -> dict[str, tuple[str, ...]]:
    """The nodes to which policies lead beside the edges, as `faults_of` takes them."""
    return {node_id: (policy.go_to,) for node_id, policy in policies.items() if policy.go_to is not None}


def _read_policy(label: str, value: object) -> Policy:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{label} must be an object")
    values: dict[str, Any] = {}
    for name, given in value.items():
        if name not in _READERS:
            raise InvalidInput(f"{label}.{_shown(name)} is not known (known are {', '.join(_READERS)})")
        if given is not None:
            values |= _READERS[name](f"{label}.{name}", given)
    return Policy(**values)


def _retries(label: str, value: object) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= RETRIES_MAX:
        raise InvalidInput(f"{label} must be a whole number from 0 to {RETRIES_MAX}")
    return {"retries": value}


def _backoff(label: str, value: object) -> dict[str, Any]:
    return {"backoff_s": _seconds(label, value, 0, BACKOFF_MAX_S)}


def _timeout(label: str, value: object) -> dict[str, Any]:
    return {"timeout_s": _seconds(label, value, TIMEOUT_MIN_S, TIMEOUT_MAX_S)}


def _seconds(label: str, value: object, low: float, high: float) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not low <= value <= high
        or not math.isfinite(value)
    ):
        raise InvalidInput(f"{label} must be a number of seconds from {low} to {high}")
    return float(value)


def _on_error(label: str, value: object) -> dict[str, Any]:
    if isinstance(value, Mapping) and list(value) == ["go_to"]:
        return {"on_error": OnError.GO_TO, "go_to": _node_id(f"{label}.go_to", value["go_to"])}
    if not isinstance(value, str) or value not in (OnError.FAIL, OnError.CONTINUE):
        raise InvalidInput(f'{label} must be "fail", "continue" or {{"go_to": a node\'s id}}')
    return {"on_error": OnError(value)}


def _on_unknown_edge(label: str, value: object) -> dict[str, Any]:
    return {"on_unknown_edge": one_of(label, value, UnknownEdge)}


_READERS = {
    "retries": _retries,
    "backoff_s": _backoff,
    "timeout_s": _timeout,
    "on_error": _on_error,
    "on_unknown_edge": _on_unknown_edge,
}


def _node_id(label: str, value: object) -> str:
    if not isinstance(value, str) or NODE_ID.fullmatch(value) is None:
        raise InvalidInput(f"{label}: {_shown(value)} is no id of a node")
    return value


def _shown(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…")
