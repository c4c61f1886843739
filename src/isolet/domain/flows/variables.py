"""The variables of a workflow: those that every run has, and those that its graph and its runs show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from isolet.domain.flows.graph import Graph
from isolet.domain.flows.templates import paths_in

FOUND_MAX = 500
SAMPLES_MAX = 5
_SAMPLE_MAX_CHARS = 200
_NAME_MAX_CHARS = 256
_SPACES = ("system", "context", "vars")
# Members of a config that name the variable into which something is put.
_NAMING = ("save_response_to", "save_error_to", "variable_name")

Facts = Mapping[str, tuple[str, str, bool]]

# By path: type, description, whether every run has it.
SYSTEM: Facts = {
    "system.flow_id": ("string", "The workflow's id", True),
    "system.workflow_id": ("string", "The workflow's id", True),
    "system.flow_name": ("string", "The workflow's name", True),
    "system.workflow_execution_id": ("string", "The run's id", True),
    "system.trigger_type": ("string", "What started the run", True),
    "system.started_at": ("datetime", "When the run began", True),
    "system.tracking_id": ("string", "The tracking id that the start answered", True),
    "system.last_resume": ("object", "Why the run went on after its last wait", False),
}
CONTEXT: Facts = {
    "context.channel": ("string", "Where the run came from, such as api", True),
    "context.phone_number": ("string", "The number of the person that the run is about", False),
}


class Seen(Struct, frozen=True, kw_only=True):
    """The variables of a run and when it was last heard of, in milliseconds."""

    values: Mapping[str, Any]
    at_ms: int


class Found(Struct):
    """`path` begins with its space. `samples` differ from each other; the newest come first."""

    path: str
    uses: int = 0
    samples: list[Any] = field(default_factory=list)
    last_seen_ms: int | None = None

    @property
    def kind(self) -> str | None:
        return kind_of(self.samples[0]) if self.samples else None


def kind_of(value: object) -> str | None:
    """The type of a value in the words of Kapso's API; None for null."""
    match value:
        case bool():
            return "boolean"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case Mapping():
            return "object"
        case _:
            return None


def discovered(graph: Graph, runs: Iterable[Seen]) -> dict[str, list[Found]]:
    """By space. `runs` are some of the newest, the newest first."""
    uses: Counter[str] = Counter()
    for node in graph.nodes:
        uses.update(path for path in paths_in(node.config) if path not in SYSTEM and path not in CONTEXT)
        uses.update(f"vars.{node.config[name]}" for name in _NAMING if node.config.get(name))
    found = {path: Found(path, count) for path, count in uses.most_common(FOUND_MAX)}
    for run in runs:
        for name, value in run.values.items():
            if len(name) <= _NAME_MAX_CHARS:
                _see(found, f"vars.{name}", value, run.at_ms)
    spaces: dict[str, list[Found]] = {space: [] for space in _SPACES}
    for one in sorted(found.values(), key=lambda one: one.path):
        spaces[one.path.partition(".")[0]].append(one)
    return spaces


def _see(found: dict[str, Found], path: str, value: Any, at_ms: int) -> None:
    if path not in found and len(found) >= FOUND_MAX:
        return
    one = found.setdefault(path, Found(path))
    one.last_seen_ms = max(at_ms, one.last_seen_ms or at_ms)
    short = len(json.dumps(value)) <= _SAMPLE_MAX_CHARS
    if short and value is not None and len(one.samples) < SAMPLES_MAX and value not in one.samples:
        one.samples.append(value)
