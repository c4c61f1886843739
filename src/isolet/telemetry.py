"""The platform's own log: constant messages with fields, to standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure_logging(*, form: str, level: str) -> None:
    """Send structlog's output and the libraries' warnings to standard error, as text or as JSON lines."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any
    if form == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(threshold, logging.WARNING), stream=sys.stderr, force=True)


def get_logger(name: str) -> Any:
    return structlog.get_logger(component=name)
