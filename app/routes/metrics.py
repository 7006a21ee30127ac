"""`/metrics`: Prometheus text. What workers count reaches it through Redis; no key needed."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.problems import errors
from app.state import ServiceDep
from wire.metrics import COUNTERS, HISTOGRAMS, INF, LABELLED
from wire.schemas import Status

router = APIRouter()
_LABELS = {
    "generations": tuple(status.value for status in Status if status.finished),
    "batch_places": ("used", "padded"),
    "webhooks": ("put", "delivered", "later", "dead"),
}
_GAUGES = {
    "queue_requests": "Requests waiting.",
    "queue_pictures": "Pictures accepted and not begun.",
    "backlog_evaluations": "Network evaluations accepted and not made.",
    "workers": "Live workers with a model.",
    "webhooks_waiting": "Generations with messages that webhooks have not taken.",
    "webhooks_due": "Of these, whose next try is due and not yet made.",
}


class _Workers(Collector):
    """What workers counted, as one look at Redis shows it."""

    def __init__(self, counts: Mapping[str, float]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"emaki_{name}", text, value=self._counts.get(name, 0))
        for name, (label, text) in LABELLED.items():
            family = CounterMetricFamily(f"emaki_{name}", text, labels=[label])
            for value in _LABELS[name]:
                family.add_metric([value], self._counts.get(f"{name}:{value}", 0))
            yield family
        for name, (bounds, text) in HISTOGRAMS.items():
            total, buckets = 0.0, []
            for bound in (*bounds, INF):
                total += self._counts.get(f"{name}:{bound}", 0)
                buckets.append(("+Inf" if bound == INF else str(bound), total))
            histogram = HistogramMetricFamily(f"emaki_{name}", text)
            histogram.add_metric([], buckets, self._counts.get(f"{name}:sum", 0.0))
            yield histogram


class _Now(Collector):
    """What is there at this moment."""

    def __init__(self, values: Mapping[str, int]) -> None:
        self._values = values

    def collect(self) -> Iterator[Metric]:
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"emaki_{name}", text, self._values[name])


@router.get(
    "/metrics",
    operation_id="get_metrics",
    tags=["health"],
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Metrics."}, **errors(503)},
)
async def metrics(service: ServiceDep) -> Response:
    """Prometheus metrics."""
    requests, pictures, evaluations = await service.store.queue()
    waiting, due = await service.store.untold()
    registry = CollectorRegistry()
    registry.register(_Workers(await service.store.counts()))
    now = {
        "queue_requests": requests,
        "queue_pictures": pictures,
        "backlog_evaluations": evaluations,
        "workers": len(await service.offers.workers()),
        "webhooks_waiting": waiting,
        "webhooks_due": due,
    }
    registry.register(_Now(now))
    text: Any = generate_latest(service.telemetry.registry) + generate_latest(registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
