"""Spans of one trace, by `traceparent`; and nothing of OpenTelemetry where nobody asked."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support import fresh_record
from wire.record import Record
from wire.schemas import Status
from wire.traces import NoTraces, OpenTelemetry, TracesError, traces
from worker.journeys import Journeys

OUTSIDE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> Iterator[OpenTelemetry]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    made = OpenTelemetry(provider)
    yield made
    made.close()


def test_what_comes_with_a_traceparent_goes_on_with_it(
    tracing: OpenTelemetry, spans: InMemorySpanExporter
) -> None:
    outer = tracing.begin("outer", parent=OUTSIDE, server=True)
    tracing.begin("inner", parent=outer.parent, at=100.0).end({"a": 1}, at=101.5)
    outer.end({}, name="POST /x")
    inner_span, outer_span = spans.get_finished_spans()
    for span in (inner_span, outer_span):
        assert span.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    assert outer_span.parent is not None
    assert inner_span.parent is not None
    assert outer_span.parent.span_id == 0xB7AD6B7169203331
    assert inner_span.parent.span_id == outer_span.context.span_id
    assert (outer_span.name, outer_span.kind.name) == ("POST /x", "SERVER")
    assert (inner_span.start_time, inner_span.end_time) == (100 * 10**9, 101_500_000_000)
    assert dict(inner_span.attributes or {}) == {"a": 1}


@pytest.mark.parametrize("given", ["", "x", OUTSIDE.replace("0af7", "ZZZZ"), "00-" + "0" * 32])
def test_what_is_no_traceparent_begins_a_trace(
    given: str, tracing: OpenTelemetry, spans: InMemorySpanExporter
) -> None:
    tracing.begin("a", parent=given).end({})
    (span,) = spans.get_finished_spans()
    assert span.parent is None


def test_an_unsampled_trace_is_not_told(
    tracing: OpenTelemetry, spans: InMemorySpanExporter
) -> None:
    span = tracing.begin("a", parent=OUTSIDE[:-1] + "0")
    span.end({})
    assert span.parent.endswith("-00")
    assert spans.get_finished_spans() == ()


def journey(tracing: OpenTelemetry, *, pngs: int, status: Status) -> Record:
    record = fresh_record(batch=2)
    record.traceparent = OUTSIDE
    record.status, record.row_steps = status, 20
    journeys = Journeys(tracing)
    journeys.taken(record)
    journeys.begun(record.id)
    for _ in range(pngs):
        journeys.encoded(record.id, 0.0)
    record.finished = record.created + 1
    journeys.ended(record)
    journeys.ended(record)
    return record


def test_a_generation_s_way_is_queue_load_steps_and_png(
    tracing: OpenTelemetry, spans: InMemorySpanExporter
) -> None:
    record = journey(tracing, pngs=2, status=Status.SUCCEEDED)
    told = spans.get_finished_spans()
    assert [span.name for span in told] == ["queue", "load", "steps", "png"]
    assert {(span.attributes or {})["emaki.generation.id"] for span in told} == {record.id}
    begins = [span.start_time or 0 for span in told]
    assert begins == sorted(begins)
    assert all((span.end_time or 0) >= (span.start_time or 0) for span in told)
    steps = dict(told[2].attributes or {})
    assert (steps["emaki.image_steps"], steps["emaki.evaluations"]) == (20, 20)
    assert (told[3].attributes or {})["emaki.images"] == 2


def test_one_without_pictures_has_no_png(
    tracing: OpenTelemetry, spans: InMemorySpanExporter
) -> None:
    journey(tracing, pngs=0, status=Status.CANCELED)
    assert [span.name for span in spans.get_finished_spans()] == ["queue", "load", "steps"]


def test_nothing_is_noted_of_what_nobody_traces() -> None:
    journeys = Journeys(NoTraces())
    record = fresh_record()
    journeys.taken(record)
    journeys.encoded(record.id, 1.0)
    journeys.ended(record)
    assert journeys._ways == {}


def test_nothing_of_opentelemetry_is_loaded_when_off() -> None:
    # By us: redis-py and FastAPI load it wherever it is installed.
    code = (
        "import sys, app.middleware.traced, worker.journeys; from wire.traces import traces;"
        "traces('off', 'x').begin('a', parent='').end({});"
        "print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(TracesError, match=r"install emaki\[otel\], or leave it unset"):
        traces("otlp", "api")
