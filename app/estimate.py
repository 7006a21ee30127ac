"""When a queued request will be finished, from what workers measured. An estimate, no promise."""

from collections.abc import Sequence

from wire.schemas import WorkerState


def seconds_left(
    workers: Sequence[WorkerState], *, version: str, evaluations: float, steps: int
) -> float | None:
    """Until a request is finished.

    Args:
        workers: live workers, with what they measured.
        evaluations: of the network, until it is drawn: its own, and its share of what others
            have queued and running (`wire/life/look.lua`).
        steps: its own, which follow one another however many workers there are.

    Returns:
        None: no live worker that can draw it has measured how fast it is.
    """
    able = [worker for worker in workers if version in worker.versions and worker.pace]
    if not able:
        return None
    together = evaluations / sum(worker.pace for worker in able)
    return max(together, steps * min(worker.step_seconds for worker in able))
