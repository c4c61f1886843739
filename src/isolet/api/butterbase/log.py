"""The log of a function as a stream of server-sent events, in Butterbase's form."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec import Struct

from isolet.api.butterbase import shapes
from isolet.clock import Clock, iso
from isolet.domain.invocations import Invocation
from isolet.errors import StoreError
from isolet.ids import FunctionId, InvocationId
from isolet.observe.call_history import CallHistory
from isolet.observe.tail import Tail
from isolet.routing.routes import Routes
from isolet.telemetry import get_logger

log = get_logger("butterbase")

# Entries that are read at once.
LOG_MAX = 1000
_POLL_S = 1.0
_KEEP_ALIVE_S = 15.0
# A stream knows the ids of so many of the latest calls.
_STREAM_CALLS = 5_000
# A stream of a busy function reads no more than such a part of the time.
_READING_SHARE = 20
# By then the record of a call that ended is written.
_WRITTEN_MS = 10_000
# What ends later than that after it began is in the log, and not in a stream of it.
_LOOK_BACK_MAX_MS = 300_000


class LogStream(Struct, frozen=True, kw_only=True):
    records: CallHistory
    routes: Routes
    tail: Tail
    clock: Clock

    async def events(
        self, function_id: FunctionId, *, start_ms: int, failed: bool | None, allowed: Callable[[], bool]
    ) -> AsyncIterator[str]:
        """Calls as they end, a comment after 15 seconds without one; while the store is away it waits.

        Ends when the server stops, and soon after the reader is no longer `allowed` to read.
        """
        floor_ms, seen, quiet_s = start_ms, frozenset[InvocationId](), 0.0
        yield ": connected\n\n"
        ends = False
        while not ends and allowed():
            began_s = time.monotonic()
            try:
                ids = await self.records.ids(function_id, limit=_STREAM_CALLS, after_ms=floor_ms)
                fresh = [id_ for id_ in reversed(ids) if id_ not in seen]
                async for calls in self.records.log(function_id, fresh, after_ms=start_ms, failed=failed):
                    for text in await asyncio.to_thread(_events, calls):
                        quiet_s = 0.0
                        yield text
                    seen |= frozenset(call.id for call in calls)
                seen = frozenset(ids)
                # Never back, when the function's timeout grows: what lies before is no longer known as seen.
                floor_ms = max(floor_ms, self.clock.now_ms() - self._look_back_ms(function_id))
            except StoreError as exc:
                log.warning("cannot read the log for a stream; trying again", error=exc.message)
            if quiet_s >= _KEEP_ALIVE_S:
                quiet_s = 0.0
                yield ": keepalive\n\n"
            wait_s = min(max(_POLL_S, _READING_SHARE * (time.monotonic() - began_s)), _KEEP_ALIVE_S)
            ends = await self.tail.closes_within(wait_s)
            quiet_s += wait_s

    def _look_back_ms(self, function_id: FunctionId) -> int:
        """A call shows up when it ends, so a stream looks back by as long as one may take, within bounds."""
        route = self.routes.function(function_id)
        return _WRITTEN_MS + min(_LOOK_BACK_MAX_MS if route is None else route.limits.timeout_ms, _LOOK_BACK_MAX_MS)


def _events(calls: Sequence[Invocation]) -> list[str]:
    """What a call printed may be large, so not on the loop."""
    return [
        f"id: {iso(call.started_at_ms)}\nevent: log\ndata: {json.dumps(shapes.log_entry(call))}\n\n" for call in calls
    ]
