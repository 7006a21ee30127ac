"""`/metrics`: Prometheus text. What workers count reaches it through Redis; no key needed."""

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.problems import errors
from app.state import ServiceDep

router = APIRouter()


class _Snapshot(Collector):
    def __init__(self, counts: dict[str, int], *, queued: int, workers: int) -> None:
        self._counts, self._queued, self._workers = counts, queued, workers

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("emaki_queue_depth", "Requests waiting.", value=self._queued)
        yield GaugeMetricFamily("emaki_workers", "Live workers with a model.", value=self._workers)
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"emaki_{name}", text, value=self._counts.get(name, 0))


_COUNTERS = {
    "generations_finished": "Generations that ended, however.",
    "recoveries": "Requests taken back from a worker that died or slept.",
    "checkpoints_refused": "Checkpoints that could not be served.",
}


@router.get(
    "/metrics",
    tags=["health"],
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Metrics."}, **errors(503)},
)
async def metrics(service: ServiceDep) -> Response:
    """Prometheus metrics."""
    counts, queued = await service.store.counts()
    workers, _ = await service.store.live_models()
    registry = CollectorRegistry()
    registry.register(_Snapshot(counts, queued=queued, workers=workers))
    text: Any = generate_latest(registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
