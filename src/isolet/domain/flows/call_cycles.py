"""Workflows that call each other: whether a chain of calls leads back to where it began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
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
        faults = []
        for node_id, name in calls.items():
            target = self.find(name)
            if target is None:
                faults.append(f"node {node_id}: there is no workflow {name[:80]}")
            elif (path := self._path(target, workflow_id)) is not None:
                faults.append(f"node {node_id}: the workflow calls itself, by way of {' → '.join(path)}")
        return faults

    def _path(self, start: Called, goal: str) -> list[str] | None:
        """The slugs of a shortest chain of calls from `start` to `goal`, both included."""
        before: dict[str, Called | None] = {start.id: None}
        ahead = [start]
        for here in ahead:
            if here.id == goal:
                return self._back(here, before)
            for name in here.calls:
                target = self.find(name)
                if target is not None and target.id not in before:
                    before[target.id] = here
                    ahead.append(target)
        return None

    @staticmethod
    def _back(end: Called, before: Mapping[str, Called | None]) -> list[str]:
        path: list[str] = []
        here: Called | None = end
        while here is not None:
            path.append(here.slug)
            here = before[here.id]
        return path[::-1]
