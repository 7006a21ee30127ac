"""The loss on pictures that are not trained on, and when it says that a network copies."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.data import CONFIG, SIZE, pictures
from training.config import Config, load_config
from training.encoding.inputs import Inputs
from training.pictures.data import Pictures
from training.run.heldout import BINS, HeldOut, Measured, copying
from training.run.learner import Learner
from training.run.lesson import denoising
from training.run.team import Team

CPU = torch.device("cpu")


def run_on(tmp_path: Path, count: int, *overrides: str) -> tuple[Config, Learner, HeldOut]:
    """A learner of so many noise pictures, which can only be learned by heart."""
    path = tmp_path / "shapes.toml"
    path.write_text(CONFIG)
    config = load_config(path, overrides=["network.dropout=0", *overrides])
    random = np.random.default_rng(0)
    seen, unseen = (
        random.integers(0, 255, (n, 1, SIZE, SIZE), dtype=np.uint8) for n in (count, 64)
    )
    data = Pictures(seen, np.zeros(count, dtype=np.int64), (), "")
    lesson = denoising(config, data, CPU)
    assert lesson.inputs is not None
    others = Inputs(unseen, np.zeros(64, dtype=np.int64))
    held_out = HeldOut(config, lesson.objective, seen=lesson.inputs, unseen=others, device=CPU)
    return config, Learner(config, data, lesson, device=CPU, team=Team()), held_out


def test_a_network_that_learns_by_heart_is_told_from_one_that_learns(tmp_path: Path) -> None:
    overrides = ["train.steps=200", "train.learning_rate=1e-2"]
    _, learner, held_out = run_on(tmp_path, 4, *overrides)
    history = []
    for step in range(61):
        if step % 20 == 0:
            history.append(held_out.measure(step, learner.network.eval()))
            learner.network.train()
        learner.advance()
    learner.close()
    assert copying(history[:2]) == ""  # both have fallen
    assert "at step 20" in (said := copying(history))
    assert "the network begins to copy" in said


def test_it_measures_the_same_each_time_and_leaves_training_alone(tmp_path: Path) -> None:
    _, learner, held_out = run_on(tmp_path, 40)
    learner.advance()
    first = held_out.measure(1, learner.network.eval())
    assert held_out.measure(1, learner.network) == first
    learner.network.train()
    loss = float(learner.advance().loss)
    learner.close()
    _, other, _ = run_on(tmp_path, 40)
    other.advance()
    assert float(other.advance().loss) == loss
    other.close()


def test_levels_run_from_little_noise_to_much(tmp_path: Path) -> None:
    _, learner, held_out = run_on(tmp_path, 64, "diffusion.prediction=eps")
    for _ in range(12):
        learner.advance()
    found = held_out.measure(12, learner.network.eval())
    learner.close()
    assert len(found.unseen_levels) == BINS
    # What the noise is, is easier to tell where there is much of it.
    assert found.unseen_levels[0] > found.unseen_levels[-1]
    assert found.unseen == pytest.approx(np.mean(found.unseen_levels), rel=1e-4)


def test_classes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "shapes.toml"
    path.write_text(CONFIG)
    config = load_config(path)
    images, labels = pictures(30, seed=0)
    data = Pictures(images[:, None], labels.astype(np.int64), ("a", "b", "c"), "")
    lesson = denoising(config, data, CPU)
    assert lesson.inputs is not None
    held_out = HeldOut(
        config, lesson.objective, seen=lesson.inputs, unseen=lesson.inputs, device=CPU
    )
    learner = Learner(config, data, lesson, device=CPU, team=Team())
    found = held_out.measure(0, learner.network.eval())
    learner.close()
    assert found.seen == found.unseen


def measured(step: int, seen: float, unseen: float) -> Measured:
    return Measured(step, seen, unseen, (seen,), (unseen,))


@pytest.mark.parametrize(
    ("history", "copies"),
    [
        ([(1, 0.5, 0.5), (2, 0.4, 0.4), (3, 0.3, 0.3)], False),
        ([(1, 0.5, 0.5), (2, 0.4, 0.4), (3, 0.3, 0.45)], True),
        ([(1, 0.5, 0.5), (2, 0.4, 0.4), (3, 0.45, 0.45)], False),  # both rise: too high a rate
        ([(1, 0.5, 0.5), (2, 0.4, 0.4), (3, 0.3, 0.402)], False),
    ],
)
def test_copying_is_a_held_out_loss_that_rises_while_the_other_falls(
    history: list[tuple[int, float, float]], copies: bool
) -> None:
    said = copying([measured(*one) for one in history])
    assert bool(said) == copies
    if copies:
        assert "0.4000 at step 2, 0.4500 now" in said
