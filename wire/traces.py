"""Traces by option: a span for what takes time, from HTTP to PNG, in one trace.

A trace goes from process to process as W3C's `traceparent`, which a generation's record keeps.
OpenTelemetry's packages (the extra `otel`) are imported once `EMAKI_TRACES` asks for them, and only
here; where they send to is theirs to say (`OTEL_EXPORTER_OTLP_ENDPOINT` and the like).
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, Protocol

Option = Literal["off", "otlp"]
Value = str | int | float
_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_KEY = "traceparent"


class TracesError(Exception):
    """`EMAKI_TRACES` asks for what is not installed."""


class Span(Protocol):
    """Something that takes time."""

    @property
    def parent(self) -> str:
        """The `traceparent` of what happens within it; "": nobody traces."""

    def end(
        self, attributes: Mapping[str, Value], *, at: float | None = None, name: str = ""
    ) -> None:
        """It is over, now or at a Unix time; ``name`` if only now one knows it."""


class Traces(Protocol):
    """Where spans go."""

    def begin(
        self, name: str, *, parent: str, at: float | None = None, server: bool = False
    ) -> Span:
        """Something begins, now or at a Unix time.

        Args:
            parent: a `traceparent`; what is none begins a trace of its own.
            server: it answers a request from outside.
        """

    def close(self) -> None:
        """Send what waits to be sent."""


class _NoSpan:
    parent = ""

    def end(
        self, attributes: Mapping[str, Value], *, at: float | None = None, name: str = ""
    ) -> None:
        """Nothing."""


class NoTraces:
    """Nobody traces."""

    def begin(
        self,
        name: str,  # noqa: ARG002 - as `Traces` has it
        *,
        parent: str,  # noqa: ARG002
        at: float | None = None,  # noqa: ARG002
        server: bool = False,  # noqa: ARG002
    ) -> Span:
        return _NoSpan()

    def close(self) -> None:
        """Nothing."""


class _OpenSpan:
    def __init__(self, span: Any, parent: str) -> None:
        self._span, self.parent = span, parent

    def end(
        self, attributes: Mapping[str, Value], *, at: float | None = None, name: str = ""
    ) -> None:
        if name:
            self._span.update_name(name)
        self._span.set_attributes(attributes)
        self._span.end(_nanoseconds(at))


class OpenTelemetry:
    """Spans of one process.

    Args:
        provider: of OpenTelemetry's SDK.
    """

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider, self._tracer = provider, provider.get_tracer("emaki")
        self._carry = TraceContextTextMapPropagator()
        self._kinds = {True: SpanKind.SERVER, False: SpanKind.INTERNAL}

    def begin(
        self, name: str, *, parent: str, at: float | None = None, server: bool = False
    ) -> Span:
        from opentelemetry.context import Context
        from opentelemetry.trace import set_span_in_context

        known = {_KEY: parent} if _PARENT.fullmatch(parent) else {}
        span = self._tracer.start_span(
            name,
            context=self._carry.extract(known, context=Context()),
            kind=self._kinds[server],
            start_time=_nanoseconds(at),
        )
        carried: dict[str, str] = {}
        self._carry.inject(carried, context=set_span_in_context(span))
        return _OpenSpan(span, carried.get(_KEY, ""))

    def close(self) -> None:
        self._provider.shutdown()


def traces(option: Option, process: str) -> Traces:
    """What `EMAKI_TRACES` asks for.

    Raises:
        TracesError: OpenTelemetry's packages are not installed.
    """
    if option == "off":
        return NoTraces()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracesError(
            f"EMAKI_TRACES={option} needs OpenTelemetry's packages ({error}); install emaki[otel], "
            "or leave it unset"
        ) from error

    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: f"emaki-{process}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetry(provider)


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)
