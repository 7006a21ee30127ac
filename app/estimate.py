"""When a queued request will be finished, from what workers measured. An estimate, no promise."""

from collections.abc import Sequence

from wire.schemas import WorkerState


def seconds_left(
    workers: Sequence[WorkerState], *, version: str, evaluations: int, backlog: int, steps: int
) -> float | None:
    """Until a request is finished, on workers of which all share the work.

    Its steps follow one another, however little it wants. While there is much else to do, each of
    them is a full one, for others fill the places that it leaves; where there is nothing, a lone
    one.

    Args:
        workers: live workers, with what they measured.
        evaluations: of the network, until it is drawn: its own, and its share of what others
            have queued and running (`wire/life/look.lua`).
        backlog: evaluations of all that is accepted and not drawn.
        steps: its own.

    Returns:
        None: no live worker that can draw it has measured how fast it is.
    """
    able = [worker for worker in workers if version in worker.versions and worker.pace]
    if not able:
        return None
    pace = sum(worker.pace for worker in able)
    full = steps * min(worker.full_step_seconds for worker in able)
    lone = steps * min(worker.lone_step_seconds for worker in able)
    return max(evaluations / pace, min(full, backlog / pace), lone)
