"""`benchmarks.quality`: guidance by a worse model, held against what it must come to."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.quality import with_guide
from models import Model, load_model
from models.sample import draw
from tests.support import tiny_config, write_checkpoint
from training.errors import TrainingError

LABELS = torch.arange(4) % 3


def model(folder: Path, name: str) -> Model:
    return load_model(write_checkpoint(folder, name))


def drawn(model: Model, scale: float, labels: Tensor = LABELS) -> Tensor:
    table = model.manifest.diffusion.build_table("dpmpp_2m", 4)
    return draw(
        model.network, table, seeds=torch.arange(4), labels=labels, guidance_scale=scale, clip=False
    )


def test_away_from_a_guide_is_the_line_through_both_answers(tmp_path: Path) -> None:
    good, bad = model(tmp_path, "good"), model(tmp_path, "bad")
    network = with_guide(good, bad).network
    x, t, null = torch.randn(3, 1, 8, 8), torch.full((3,), 50.0), torch.full((3,), 3)
    labels = torch.tensor([0, 1, 2])
    both = network(torch.cat([x, x]), torch.cat([t, t]), torch.cat([null, labels]))
    torch.testing.assert_close(both[:3], bad.network(x, t, labels))
    torch.testing.assert_close(both[3:], good.network(x, t, labels))
    # Without a pair it is the network alone, with a class and without one.
    torch.testing.assert_close(network(x, t, labels), good.network(x, t, labels))
    torch.testing.assert_close(network(x, t, null), good.network(x, t, null))


def test_a_model_that_guides_itself_is_not_guided(tmp_path: Path) -> None:
    good = model(tmp_path, "good")
    torch.testing.assert_close(drawn(with_guide(good, good), 3.0), drawn(good, 1.0))


def test_a_guide_of_other_classes_is_refused(tmp_path: Path) -> None:
    plain = tiny_config(num_class_embeds=None, null_class=None)
    other = load_model(write_checkpoint(tmp_path, "plain", config=plain, classes=()))
    with pytest.raises(TrainingError, match=r"plain@0000001 has not the classes of good@0000001"):
        with_guide(model(tmp_path, "good"), other)
