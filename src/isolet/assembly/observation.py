"""What is recorded and counted of calls."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from isolet.assembly.host import Host
from isolet.assembly.persistence import Persistence
from isolet.domain.invocations import Invocation
from isolet.observe.counters import Counters
from isolet.observe.failures import Failures
from isolet.observe.recorder import Recorder
from isolet.observe.redaction import Redaction
from isolet.observe.retention import Retention
from isolet.observe.tail import Tail
from isolet.observe.traces import Traces
from isolet.routing.routes import Routes
from isolet.spread import Spread
from isolet.telemetry import open_tracing

_FLUSH_TIMEOUT_S = 10.0
_MB = 1024 * 1024


class Observation(Struct, frozen=True, kw_only=True):
    recorder: Recorder
    tail: Tail
    redaction: Redaction
    failures: Failures


def open_observation(host: Host, persistence: Persistence, routes: Routes, counters: Counters) -> Observation:
    tracing = open_tracing(os.environ)
    if tracing is not None:
        host.stack.push_async_callback(asyncio.to_thread, tracing.close)
    retention = Retention(
        persistence.database,
        host.clock,
        days=host.settings.retention_days,
        rows=host.settings.retention_rows,
        max_bytes=lambda project_id: routes.limits_of(project_id).records_mb * _MB,
    )
    tail, failures = Tail(), Failures(time.monotonic, Spread().later)
    hear_ended: list[Callable[[Sequence[Invocation]], None]] = [failures.ended]
    if tracing is not None:
        hear_ended.append(Traces(tracing).add)
    recorder = Recorder(
        persistence.database,
        tail,
        hear_ended,
        on_written=retention.written,
        figures=counters,
        exists=routes.has_function,
    )
    host.loops.loop(retention.run(), name="retention")
    host.loops.loop(recorder.run(), name="recorder")
    host.stack.push_async_callback(recorder.drain, _FLUSH_TIMEOUT_S)
    return Observation(recorder=recorder, tail=tail, redaction=Redaction(host.root_key), failures=failures)
