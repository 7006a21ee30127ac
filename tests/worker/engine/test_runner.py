"""The engine's thread: what it says of the works that a step is of, and when."""

from torch import Tensor

from tests.support import eventually
from tests.worker.engine.fake import FakeNetwork, fake_weights, work
from worker.engine.engine import Engine
from worker.engine.precision import Plan
from worker.engine.runner import Canceled, Runner
from worker.engine.work import Drawing, Event, WorkDone


def test_who_is_in_a_step_is_said_before_it_and_only_when_that_changes() -> None:
    heard: list[Event | Canceled] = []
    in_time: list[bool] = []

    class Listening(FakeNetwork):
        def __call__(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
            heard.extend(runner.events())
            in_time.append(any(isinstance(event, Drawing) for event in heard))
            return super().__call__(x, t, labels)

    weights = fake_weights(network=Listening())
    runner = Runner(Engine(Plan((4,))))
    runner.submit(work("short", weights, steps=3))
    runner.submit(work("long", weights, steps=6))
    runner.start()

    def ended() -> bool:
        heard.extend(runner.events(wait=0.1))
        return WorkDone("long") in heard

    eventually(ended, what="the longer work")
    said = [set(event.ids) for event in heard if isinstance(event, Drawing)]
    assert said == [{"short", "long"}, {"long"}]
    assert all(in_time)
