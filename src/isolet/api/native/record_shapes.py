"""Records of calls, log events, metrics and usage as the contract has them; and events as server-sent ones."""

from __future__ import annotations

import base64
import json
from enum import StrEnum
from typing import Any

from isolet.clock import iso
from isolet.contract.invocations import (
    ConsoleLineReply,
    InvocationSummaryReply,
    KillReportReply,
    OutgoingReply,
    RecordedRequestReply,
    RecordedResponseReply,
    RecordReply,
    TimingsReply,
)
from isolet.contract.logs import CallEnd, LogLine
from isolet.contract.logs import Missed as MissedReply
from isolet.contract.models import Reply
from isolet.contract.usage import (
    AverageReply,
    DurationReply,
    MaximumReply,
    MetricsReply,
    SeriesReply,
    SpanReply,
    UsageReply,
)
from isolet.domain.invocations import ConsoleLine, Invocation
from isolet.domain.metrics import FunctionMetrics, Line, Span, Usage
from isolet.domain.outgoing import Outgoing, requests_of
from isolet.observe.redaction import header_pairs
from isolet.observe.tail import Event, Missed, Tail


class Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


def summary(call: Invocation) -> InvocationSummaryReply:
    return InvocationSummaryReply(
        id=call.id,
        function_id=call.function_id,
        function_name=call.function_name,
        version=call.version,
        door=call.door.value,
        kind=call.kind.value,
        status="failed" if call.failed else "succeeded",
        outcome=call.outcome.value,
        status_code=call.status,
        method=call.method,
        path=call.path,
        error=call.error,
        started_at=iso(call.started_at_ms),
        duration_ms=call.duration_us / 1000,
        cold_start=call.cold_start_us > 0,
    )


def detail(call: Invocation) -> RecordReply:
    waited_us = call.queue_us + call.cold_start_us
    return RecordReply(
        **summary(call).to_json(),
        timings=TimingsReply(
            queue_ms=call.queue_us / 1000,
            cold_start_ms=call.cold_start_us / 1000,
            function_ms=max(call.duration_us - waited_us, 0) / 1000,
        ),
        request=_request(call),
        response=RecordedResponseReply(
            status=call.status,
            **_body(call.response_body),
            truncated=call.response_truncated,
            size_bytes=call.response_bytes,
        ),
        stack=call.stack,
        console=[console_line(line) for line in call.console],
        console_truncated=call.console_truncated,
        outgoing=[_outgoing(request) for request in requests_of(call.outgoing)],
        kill_report=_kill_report(call),
        memory_mb=round(call.memory_bytes / 1024 / 1024, 1),
    )


def _request(call: Invocation) -> RecordedRequestReply:
    return RecordedRequestReply(
        query=call.query,
        headers=[list(pair) for pair in header_pairs(call.request_headers)],
        **_body(call.request_body),
        truncated=call.request_truncated,
        redacted=call.request_redacted,
    )


def _outgoing(request: Outgoing) -> OutgoingReply:
    return OutgoingReply(
        method=request.method,
        host=request.host,
        path=request.path,
        status=request.status,
        duration_ms=request.duration_ms,
    )


def _kill_report(call: Invocation) -> KillReportReply | None:
    report = call.kill_report
    return None if report is None else KillReportReply(**report.to_json(), message=report.message)


def metrics(function_id: str, window: str, found: FunctionMetrics) -> MetricsReply:
    sums = found.sums
    percentiles = {f"p{percent}": _ms(value) for percent, value in found.percentiles_us.items()}
    return MetricsReply(
        function_id=function_id,
        window=window,
        since=None if found.since_ms is None else iso(found.since_ms),
        until=iso(found.until_ms),
        exact=found.exact,
        total=sums.total,
        errors=sums.errors,
        error_rate=round(sums.error_rate * 100, 3),
        duration_ms=DurationReply(average=_ms(sums.average_us), **percentiles),
        cold_starts=sums.cold_starts,
        cold_start_ms=AverageReply(average=_ms(sums.average_cold_start_us)),
        memory_mb=MaximumReply(max=round(sums.memory_bytes / 1024 / 1024, 1)),
        last_invocation_at=iso(sums.last_at_ms) if sums.total else None,
    )


def series(window: str, line: Line) -> SeriesReply:
    return SeriesReply(window=window, whole=_span(line.whole), spans=[_span(span) for span in line.spans])


def _span(span: Span) -> SpanReply:
    return SpanReply(
        at=iso(span.at_ms),
        total=span.sums.total,
        errors=span.sums.errors,
        cold_starts=span.sums.cold_starts,
        memory_mb=round(span.sums.memory_bytes / 1024 / 1024, 1),
        **{f"p{percent}_ms": _ms(value) for percent, value in span.percentiles_us.items()},
    )


def usage(found: Usage, slug: str) -> UsageReply:
    return UsageReply(
        project=slug,
        month=iso(found.month_ms)[:7],
        invocations=found.sums.total,
        errors=found.sums.errors,
        gb_seconds=round(found.sums.gb_seconds, 6),
        egress_bytes=found.sums.egress_bytes,
        storage_bytes=found.storage_bytes,
    )


def level_of(event: Event) -> Level:
    """A line's own; a call's end is an error when it failed."""
    if event.line is None:
        return Level.ERROR if event.failed else Level.INFO
    return Level(event.line.level) if event.line.level in list(Level) else Level.INFO


def holds(event: Event, text: str) -> bool:
    """Whether a line, or the error that a call ended with, holds the text in any case."""
    said = event.line.message if event.line is not None else event.error or ""
    return text.lower() in said.lower()


def server_sent(tail: Tail, event: Event | Missed | None) -> str:
    if event is None:
        return ": keep-alive\n\n"
    if isinstance(event, Missed):
        return f"event: missed\ndata: {_data(MissedReply(count=event.count))}\n\n"
    if event.line is None:
        name, shown = "end", _data(_end(event))
    else:
        name, shown = "line", _data(_line(event, event.line))
    return f"id: {tail.place(event.number)}\nevent: {name}\ndata: {shown}\n\n"


def _data(shown: Reply) -> str:
    return json.dumps(shown.to_json())


def _line(event: Event, line: ConsoleLine) -> LogLine:
    return LogLine(
        function_id=event.function_id,
        function_name=event.function_name,
        # What the function printed outside of a call is of none.
        invocation_id=event.invocation_id or None,
        level=level_of(event).value,
        at=iso(event.at_ms),
        message=line.message,
        stack=line.stack,
        truncated=line.cut,
    )


def _end(event: Event) -> CallEnd:
    return CallEnd(
        function_id=event.function_id,
        function_name=event.function_name,
        invocation_id=event.invocation_id,
        level=level_of(event).value,
        at=iso(event.at_ms),
        status_code=event.status,
        duration_ms=event.duration_us / 1000,
        error=event.error,
    )


def console_line(line: ConsoleLine) -> ConsoleLineReply:
    """`truncated`: the message was longer."""
    return ConsoleLineReply(
        level=line.level, message=line.message, at=iso(line.at_ms), stack=line.stack, truncated=line.cut
    )


def _body(stored: bytes) -> dict[str, Any]:
    """As text where it is, else in base64."""
    try:
        return {"body": stored.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(stored).decode(), "encoding": "base64"}


def _ms(us: float | None) -> float | None:
    return None if us is None else round(us / 1000, 3)
