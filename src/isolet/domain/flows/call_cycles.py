"""Workflows that call each other: whether a chain of calls leads back to where it began."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

# Workflows that one may call: who asks whether calls lead back looks at those of all workflows of a project.
CALLS_MAX = 50
_SHOWN = 10


class Called(Struct, frozen=True, kw_only=True):
    """A workflow of a project with what it calls: ids, and slugs where it names no id."""

    id: str
    slug: str
    calls: tuple[str, ...]


class CallMap:
    """Which workflow calls which in one project."""

    def __init__(self, workflows: list[Called]) -> None:
        self._by_id = {workflow.id: workflow for workflow in workflows}
        self._by_slug = {workflow.slug: workflow for workflow in workflows}

    def find(self, name: str) -> Called | None:
        """By id, else by slug."""
        return self._by_id.get(name.lower()) or self._by_slug.get(name)

    def faults(self, workflow_id: str, calls: Mapping[str, str]) -> list[str]:
        """What is wrong with the calls of one workflow, `calls` by node: a text for each, which names the node."""
        following = self._ways_to(workflow_id)
        faults = []
        for node_id, name in calls.items():
            target = self.find(name)
            if target is None:
                faults.append(f"node {node_id}: there is no workflow {name[:80]}")
            elif target.id in following:
                faults.append(f"node {node_id}: the workflow calls itself, by way of {self._path(target, following)}")
        return faults

    def _ways_to(self, goal: str) -> dict[str, Called | None]:
        """Of each workflow whose calls lead to `goal`, the next one on a shortest way; None for `goal` itself."""
        callers: dict[str, list[Called]] = {}
        for workflow in self._by_id.values():
            for name in workflow.calls:
                if (target := self.find(name)) is not None:
                    callers.setdefault(target.id, []).append(workflow)
        following: dict[str, Called | None] = {goal: None}
        ahead = [goal]
        for here in ahead:
            for caller in callers.get(here, ()):
                if caller.id not in following:
                    following[caller.id] = self._by_id.get(here)
                    ahead.append(caller.id)
        return following

    @staticmethod
    def _path(start: Called, following: Mapping[str, Called | None]) -> str:
        slugs: list[str] = []
        here: Called | None = start
        while here is not None and len(slugs) < _SHOWN:
            slugs.append(here.slug)
            here = following[here.id]
        return " → ".join([*slugs, *(["…"] if here is not None else [])])
