"""A span for each call, made from its record after it ended, so that calls pay nothing; joins the caller's trace."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from isolet.domain.invocations import Invocation
from isolet.telemetry import Tracing

_TRACEPARENT = re.compile(rb"^traceparent: ([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})\s*$", re.MULTILINE)


class Traces:
    def __init__(self, tracing: Tracing) -> None:
        # Installed by the time there is tracing; nothing is paid without it.
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self._tracer = tracing.tracer
        self._trace = trace
        self._join = TraceContextTextMapPropagator().extract

    def add(self, batch: Sequence[Invocation]) -> None:
        for call in batch:
            self._add(call)

    def _add(self, call: Invocation) -> None:
        found = _TRACEPARENT.search(call.request_headers)
        carrier = {"traceparent": found[1].decode()} if found else {}
        began_ns = call.started_at_ms * 1_000_000
        span = self._tracer.start_span(
            f"{call.method} {call.function_name}",
            context=self._join(carrier),
            kind=self._trace.SpanKind.SERVER,
            start_time=began_ns,
            attributes=_attributes(call),
        )
        if call.failed:
            span.set_status(self._trace.StatusCode.ERROR, call.error or "")
        span.end(end_time=began_ns + call.duration_us * 1000)


def _attributes(call: Invocation) -> dict[str, Any]:
    """Named as OpenTelemetry's conventions for HTTP and for functions have it, and our own."""
    return {
        "http.request.method": call.method,
        "url.path": call.path,
        "http.response.status_code": call.status,
        "faas.name": call.function_name,
        "faas.version": str(call.version),
        "faas.invocation_id": call.id,
        "faas.coldstart": call.cold_start_us > 0,
        "isolet.function_id": call.function_id,
        "isolet.project_id": call.project_id,
        "isolet.door": call.door.value,
        "isolet.outcome": call.outcome.value,
        "isolet.queue_ms": call.queue_us / 1000,
        "isolet.cold_start_ms": call.cold_start_us / 1000,
    }
