"""When a queued request will be finished, from what workers measured. An estimate, no promise."""

from collections.abc import Sequence

from wire.schemas import WorkerState


class Load:
    """The work that is there, and how fast it goes.

    Args:
        workers: live workers, with their pace and what they have in hand.
        requests: how many requests are queued, and ``row_steps`` image-steps all these make.
    """

    def __init__(
        self, workers: Sequence[WorkerState] = (), *, requests: int = 0, row_steps: int = 0
    ) -> None:
        self._workers, self._requests, self._row_steps = workers, requests, row_steps

    def seconds(self, model: str, work: int, position: int) -> float | None:
        """Until a request of ``work`` image-steps at this place of the queue is finished.

        What is before it in the queue counts as average requests. None: no live worker has
        measured how fast it draws that model.
        """
        able = [worker for worker in self._workers if model in worker.models]
        pace = sum(worker.pace for worker in able)
        if not pace:
            return None
        average = self._row_steps / self._requests if self._requests else 0.0
        ahead = sum(worker.backlog for worker in able) + average * (position - 1)
        return (ahead + work) / pace
