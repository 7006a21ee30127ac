"""One trace from HTTP to PNG, as a collector receives it from the real processes."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.service import running
from tests.support import eventually

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """Receives OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") is None:
                    outer.read(body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def read(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            facts = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(facts["service.name"], span) for span in scope.spans]

    def of(self, trace: str) -> dict[str, tuple[str, Any]]:
        """Spans of one trace by name, each with its process."""
        return {s.name: (who, s) for who, s in self.spans if s.trace_id.hex() == trace}


def test_a_request_is_one_trace_from_http_to_png(tmp_path: Path) -> None:
    collector = Collector()
    settings = {
        "EMAKI_TRACES": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    try:
        with running(tmp_path, "worker", "app", **settings) as service, service.client() as client:
            headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "Prefer": "wait=30"}
            body = {"steps": 5, "batch": 2, "class": "Circle"}
            made = client.post("/v1/generations", json=body, headers=headers).json()
            names = {"POST /v1/generations", "queue", "load", "steps", "png"}
            eventually(lambda: collector.of(TRACE).keys() == names, what="all spans")
            assert "traceparent" not in str(made)
    finally:
        collector.server.shutdown()
        collector.server.server_close()
    found = collector.of(TRACE)
    _, http = found["POST /v1/generations"]
    assert http.parent_span_id.hex() == "b7ad6b7169203331"
    assert {who for who, span in found.values() if span.parent_span_id == http.span_id} == {
        "emaki-worker"
    }
    assert found["POST /v1/generations"][0] == "emaki-api"
    steps = {a.key: a.value.int_value for a in found["steps"][1].attributes}
    assert (steps["emaki.images"], steps["emaki.image_steps"]) == (2, 10)
    order = [found[name][1].start_time_unix_nano for name in ("queue", "load", "steps", "png")]
    assert order == sorted(order)
