"""The platform's own log: constant messages with fields, to standard error. And the way out for traces."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, TextIO, cast

from msgspec import Struct

# structlog loads rich where it is installed, for tracebacks that are not printed here: a fifteenth of a start. An entry
# of None lets its `import` fail.
_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    if _rich is None:
        del sys.modules["rich"]
    else:
        sys.modules["rich"] = _rich

_TRACE_VARIABLES = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
)
# Spans that no collector took by then are given up.
_CLOSE_TIMEOUT_S = 5.0


class _StandardError:
    """What cannot be written, to a full disk for one, is lost: it is no reason for the work itself to fail."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure_logging(*, form: str, level: str) -> None:
    """Send structlog's output and the libraries' warnings to standard error, as text or as JSON lines."""
    errors = _StandardError()
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any
    if form == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    last = [structlog.processors.format_exc_info, renderer]
    structlog.configure(
        processors=[*before, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", errors)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(errors)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[handler], force=True)


def get_logger(name: str) -> Any:
    return structlog.get_logger(component=name)


class Tracing(Struct, frozen=True, kw_only=True):
    """An OpenTelemetry tracer, and what sends the rest and stops it; that may take seconds."""

    tracer: Any
    close: Callable[[], None]


def open_tracing(environment: Mapping[str, str]) -> Tracing | None:
    """Tracing as the standard `OTEL_*` variables say; None when they ask for none, and then nothing is imported.

    Spans go to an OTLP collector over HTTP: `OTEL_EXPORTER_OTLP_ENDPOINT` or `…_TRACES_ENDPOINT` says where.
    """
    wanted = any(name in environment for name in _TRACE_VARIABLES)
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not wanted or off or environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    name = environment.get("OTEL_SERVICE_NAME")
    resource = Resource.create({} if name else {"service.name": "isolet"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))

    def close() -> None:
        # It tries again and again to reach a collector that is gone, for longer than a stop may take.
        closing = threading.Thread(target=provider.shutdown, name="isolet-tracing", daemon=True)
        closing.start()
        closing.join(_CLOSE_TIMEOUT_S)

    return Tracing(tracer=provider.get_tracer("isolet"), close=close)
