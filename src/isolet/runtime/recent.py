"""What belongs to the calls that ended lately: the path of calls puts it there, and few ever ask for it."""

from __future__ import annotations

from typing import Generic, TypeVar

from isolet.ids import InvocationId

V = TypeVar("V")


class Recent(Generic[V]):
    """Of the latest calls, at least `least` and at most twice as many: forgotten together, as that is the cheapest."""

    __slots__ = ("_least", "_new", "_old")

    def __init__(self, least: int) -> None:
        self._least = least
        self._new: dict[InvocationId, V] = {}
        self._old: dict[InvocationId, V] = {}

    def put(self, call: InvocationId, value: V) -> None:
        if len(self._new) >= self._least:
            self._old, self._new = self._new, {}
        self._new[call] = value

    def get(self, call: InvocationId) -> V | None:
        return self._new[call] if call in self._new else self._old.get(call)

    def pop(self, call: InvocationId) -> V | None:
        """Take it out, wherever it is."""
        older = self._old.pop(call, None) if self._old else None
        return self._new.pop(call, older)
