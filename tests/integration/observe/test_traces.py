"""Spans of calls, as a collector receives them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from isolet import telemetry
from isolet.telemetry import open_tracing
from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """The address of a collector, and the spans that it got."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            for resource in sent.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", spans
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_call_is_a_span_in_its_callers_trace(
    collector: tuple[str, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, spans = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with Server(tmp_path / "data") as running, running.client() as client:
        kapso = Kapso(client)
        function_id = kapso.deployed("async function handler() { throw new Error('no') }", "Traced")
        reply = kapso.invoke(function_id, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        assert reply.status_code == 500
        wait_until(lambda: spans, what="the span")
    (span,) = spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.name == "POST Traced"
    attributes = {pair.key: pair.value for pair in span.attributes}
    assert attributes["faas.invocation_id"].string_value == reply.headers["x-invocation-id"]
    assert attributes["isolet.outcome"].string_value == "handler_failed"
    assert span.end_time_unix_nano > span.start_time_unix_nano
    assert span.status.message == "Error: no"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_traced_unless_the_variables_ask_for_it(environment: dict[str, str]) -> None:
    assert open_tracing(environment) is None


def test_a_stop_does_not_wait_for_a_collector_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_CLOSE_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        tracing = open_tracing(os.environ)
        assert tracing is not None
        tracing.tracer.start_span("call").end()
        tracing.close()
        asked, _ = silent.accept()
        asked.settimeout(10)
        # It is asked still, and was never answered.
        assert asked.recv(4) == b"POST"
        assert any(thread.name == "isolet-tracing" for thread in threading.enumerate())
        asked.close()
