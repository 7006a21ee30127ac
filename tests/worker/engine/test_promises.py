"""What `EMAKI_PRECISION` promises, held by the shipped model among random neighbours."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from models.sampler import SAMPLERS, Sampler
from worker.catalog import Catalog, Loaded
from worker.engine.engine import Engine
from worker.engine.precision import Plan, Precision, plan
from worker.engine.work import ImageDone, Work

SHIPPED = Path(__file__).parents[3] / "checkpoints/fashion-mnist"
CPU = torch.device("cpu")
STEPS = 8


@pytest.fixture(scope="module", params=["exact", "balanced"])
def precision(request: pytest.FixtureRequest) -> Precision:
    mode: Precision = request.param
    return mode


@pytest.fixture(scope="module")
def chosen(precision: Precision) -> Plan:
    return plan(precision, device=CPU, cores=2)


@pytest.fixture(scope="module")
def loaded(chosen: Plan, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    checkpoints = tmp_path_factory.mktemp("checkpoints")
    (checkpoints / SHIPPED.name).symlink_to(SHIPPED)
    catalog = Catalog(checkpoints, device=CPU, plan=chosen)
    catalog.refresh()
    (card,) = catalog.cards()
    found = catalog.find(card.version)
    assert isinstance(found, Loaded)
    return found


def work(loaded: Loaded, id_: str, **changes: Any) -> Work:
    fields: dict[str, Any] = {"sampler": "dpmpp_2m", "steps": STEPS, **changes}
    labels = fields.pop("labels")
    table = loaded.manifest.diffusion.build_table(fields.pop("sampler"), fields.pop("steps"))
    return Work(
        id=id_,
        owner="o",
        weights=loaded.weights,
        table=table,
        conditions=tuple(torch.tensor(label) for label in labels),
        **fields,
    )


def draw(engine: Engine, id_: str) -> npt.NDArray[np.int64]:
    drawn = {}
    while not engine.idle:
        for event in engine.step():
            if isinstance(event, ImageDone) and event.id == id_:
                drawn[event.index] = event.pixels.astype(np.int64)
    return np.stack([drawn[index] for index in sorted(drawn)])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("guidance_scale", [1.0, 1.5])
def test_a_picture_is_the_same_whoever_shares_the_batch(
    loaded: Loaded, precision: Precision, chosen: Plan, sampler: Sampler, guidance_scale: float
) -> None:
    watched: dict[str, Any] = {
        "seeds": (1, 2**60),
        "labels": (7, 8),
        "sampler": sampler,
        "guidance_scale": guidance_scale,
    }
    alone = Engine(chosen)
    alone.add(work(loaded, "watched", **watched))
    expected = draw(alone, "watched")

    chance = np.random.default_rng(0)
    others = Engine(chosen)
    for i in range(5):
        if i == 2:
            others.add(work(loaded, "watched", **watched))
        neighbours: dict[str, Any] = {
            "seeds": (int(chance.integers(2**40)),),
            "labels": (int(chance.integers(10)),),
            "sampler": SAMPLERS[i % 4],
            "steps": int(chance.integers(3, STEPS)),
            "guidance_scale": float(chance.choice([0.0, 1.0, 2.0])),
            "guidance_interval": (float(chance.choice([0.0, 0.3])), 0.8),
        }
        others.add(work(loaded, f"neighbour {i}", **neighbours))
        others.step()
    difference = np.abs(draw(others, "watched") - expected)
    if precision == "exact":
        assert difference.max() == 0
    else:
        assert difference.max() <= 1
        assert (difference > 0).mean() <= 0.001
