"""The origins of the calls that one instance runs, and of those that it ran lately and still works for."""

from __future__ import annotations

from isolet.domain.origins import Origin
from isolet.ids import InvocationId
from isolet.runtime.recent import Recent

# So many calls that ended may still call others: from what `waitUntil` was given.
_RECENT_CALLS = 4_096


class Origins:
    def __init__(self) -> None:
        self._running: dict[InvocationId, Origin] = {}
        self._recent = Recent[Origin](_RECENT_CALLS)

    def begin(self, call: InvocationId, origin: Origin) -> None:
        self._running[call] = origin

    def end(self, call: InvocationId) -> None:
        origin = self._running.pop(call, None)
        if origin is not None:
            self._recent.put(call, origin)

    def find(self, call: str) -> Origin | None:
        """That of a call which this instance runs, or ran among its latest."""
        return self._running.get(InvocationId(call)) or self._recent.get(InvocationId(call))
