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

    def __init__(self, *, requests: int, pictures: int, evaluations: int, workers: int) -> None:
        self._requests, self._pictures, self._workers = requests, pictures, workers
        self._evaluations = evaluations

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("emaki_queue_requests", "Requests waiting.", self._requests)
        text = "Pictures accepted and not begun."
        yield GaugeMetricFamily("emaki_queue_pictures", text, self._pictures)
        text = "Network evaluations accepted and not made."
        yield GaugeMetricFamily("emaki_backlog_evaluations", text, self._evaluations)
        yield GaugeMetricFamily("emaki_workers", "Live workers with a model.", self._workers)


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
    workers = len(await service.offers.workers())
    registry = CollectorRegistry()
    registry.register(_Workers(await service.store.counts()))
    now = _Now(requests=requests, pictures=pictures, evaluations=evaluations, workers=workers)
    registry.register(now)
    text: Any = generate_latest(service.telemetry.registry) + generate_latest(registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
