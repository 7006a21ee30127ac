"""What the engine's tests share: a network of a few lines, and works for it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.sampler import build_table
from models.schedule import Schedule
from worker.engine.engine import Engine
from worker.engine.precision import Plan
from worker.engine.weights import Condition, Weights
from worker.engine.work import Event, ImageDone, Work

SHAPE = (1, 4, 4)
SCHEDULE = Schedule("cosine", 1000)


class FakeNetwork:
    """Elementwise, so each row's output is its own; remembers the batches it was asked for."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        self.batches.append(len(x))
        assert labels is not None
        shift = (labels + 1)[:, None, None, None] * 0.1 + t[:, None, None, None] / 5000
        return torch.tanh(0.6 * x + shift)


def fake_weights(version: str = "fake@1", network: Any = None) -> Weights:
    """Weights of three classes and a null class."""
    return Weights(version, network or FakeNetwork(), SHAPE, Condition.of_classes(3))


def work(id_: str, weights: Weights, **changes: Any) -> Work:
    """One picture of class 0 in five steps, but for the changes."""
    arguments: dict[str, Any] = {
        "owner": "somebody",
        "seeds": (1,),
        "labels": (0,),
        "sampler": "dpmpp_2m",
        "steps": 5,
        "eta": 0.0,
        **changes,
    }
    labels = arguments.pop("labels")
    arguments["conditions"] = tuple(n if n is None else torch.tensor(n) for n in labels)
    table = build_table(
        SCHEDULE,
        prediction="v",
        sampler=arguments.pop("sampler"),
        steps=arguments.pop("steps"),
        eta=arguments.pop("eta"),
    )
    return Work(id=id_, weights=weights, table=table, **arguments)


def run(engine: Engine) -> list[Event]:
    """Everything that happens until the engine is idle."""
    events = []
    while not engine.idle:
        events += engine.step()
    return events


def pictures(events: Sequence[Event]) -> dict[tuple[str, int], list[Any]]:
    """Finished pixels by work and index."""
    return {(e.id, e.index): e.pixels.tolist() for e in events if isinstance(e, ImageDone)}


def alone(one: Work, sizes: tuple[int, ...] = (8,)) -> dict[tuple[str, int], list[Any]]:
    """What a work draws in an engine of its own."""
    engine = Engine(Plan(sizes))
    engine.add(one)
    return pictures(run(engine))
