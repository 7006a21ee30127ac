"""What is told about when a request will be drawn."""

from app.estimate import seconds_left
from wire.schemas import WorkerState

MODEL = "tiny@0000001"


def worker(*, versions: tuple[str, ...] = (MODEL,), pace: float = 200.0) -> WorkerState:
    return WorkerState(
        served=[*versions],
        versions=[*versions],
        pace=pace,
        full_step_seconds=0.16,
        lone_step_seconds=0.02,
    )


def left(*workers: WorkerState, evaluations: int, backlog: int, steps: int) -> float | None:
    return seconds_left(
        workers, version=MODEL, evaluations=evaluations, backlog=backlog, steps=steps
    )


def test_a_lone_request_takes_its_steps() -> None:
    assert left(worker(), evaluations=50, backlog=50, steps=50) == 1.0


def test_a_small_request_among_many_takes_full_steps() -> None:
    assert left(worker(), evaluations=40, backlog=5000, steps=10) == 1.6
    assert left(worker(), evaluations=40, backlog=100, steps=10) == 0.5, "the others end before"


def test_a_large_request_takes_its_share_of_the_pace() -> None:
    assert left(worker(), evaluations=2000, backlog=5000, steps=10) == 10.0
    assert left(worker(), worker(), evaluations=2000, backlog=5000, steps=10) == 5.0


def test_only_workers_that_can_draw_it_and_have_drawn_count() -> None:
    others = worker(versions=("other@0000001",)), worker(pace=0.0)
    assert left(*others, evaluations=10, backlog=10, steps=10) is None
    assert left(*others, worker(), evaluations=2000, backlog=2000, steps=10) == 10.0
