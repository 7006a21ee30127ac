"""Adversarial distillation: drawn as it is served, and one loss that teaches two."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.checkpoint import RESUME, read_manifest, resolve, write_manifest
from models.manifest import Manifest
from models.noise import normal
from models.sample import draw
from tests.training.distillation.support import (
    CPU,
    distillation,
    pictures,
    published,
    student_run,
    teacher,
)
from training.distillation.adversarial import AdversarialObjective, Chains
from training.distillation.command import student
from training.distillation.levels import with_levels
from training.errors import TrainingError
from training.run.loop import Trainer

LEVELS = "distill.levels=[[], [2.0], [3.0, 0.7]]"
ROWS = slice(0, 16)


def finishing(tmp_path: Path, *overrides: str, name: str = "finished") -> Trainer:
    """A run that goes on from a consistency model of two steps' training."""
    first = tmp_path / "models" / "student"
    if not first.exists():
        run = student_run(tmp_path, "consistency", LEVELS)
        run.run(until=2)
        run.close()
    folder = resolve(first)
    config = distillation(folder, "adversarial", *overrides, name=name)
    data = pictures(tmp_path)
    lesson = student("adversarial", folder, read_manifest(folder), config, data, device=CPU)
    return Trainer(config, data, lesson, out=tmp_path / "models", device=CPU, commit="unknown")


def objective(run: Trainer) -> AdversarialObjective:
    found = run.lesson.objective
    assert isinstance(found, AdversarialObjective)
    return found


def batch(run: Trainer) -> tuple[Tensor, Tensor, Chains]:
    pixels, labels = torch.tensor(run.data.images[ROWS]), torch.tensor(run.data.labels[ROWS])
    return pixels, labels, objective(run).draw(0)


def gradients(run: Trainer, *, rows: slice = ROWS) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of the student's parameters and of the critic's."""
    pixels, labels, draws = batch(run)
    network, critic = run.learner.network, objective(run).parts
    assert critic is not None
    loss = objective(run).loss(network, pixels[rows], labels[rows], draws, rows)
    named = [dict(part.named_parameters()) for part in (network, critic)]
    found = iter(torch.autograd.grad(loss, [*named[0].values(), *named[1].values()]))
    student, critics = ({name: next(found) for name in part} for part in named)
    return student, critics


@pytest.fixture
def run(tmp_path: Path) -> Trainer:
    run = finishing(tmp_path, "distill.slope=0", "distill.hold=0")
    run.close()
    return run


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_pictures_are_drawn_as_they_are_served(run: Trainer, steps: int) -> None:
    seeds, labels = torch.arange(4), torch.tensor([0, 1, 2, 0])
    loss, network, manifest = objective(run), run.learner.network, published_student(run)
    consistency = manifest.distilled.consistency
    assert consistency is not None
    table = consistency.table(manifest.diffusion.build_schedule(), "v", steps)
    served = draw(network, table, seeds=seeds, labels=labels, clip=manifest.diffusion.clip)
    shape = (1, 8, 8)
    anew = [normal(seeds, torch.full_like(seeds, k), shape) for k in range(steps)]
    places = torch.arange(3)
    chain = torch.where(places < steps, steps * (steps - 1) // 2 + places, -1).expand(4, 3)
    padded = torch.stack([*anew, *[torch.full((4, *shape), torch.nan)] * (3 - steps)], dim=1)
    x, last = loss.follow(network, labels, chain, padded)
    drawn = loss.estimate(network, x, last, labels).clamp(-1, 1)
    torch.testing.assert_close(drawn, served, rtol=0, atol=1e-5)


def published_student(run: Trainer) -> Manifest:
    return read_manifest(resolve(run.folder.parent / "student"))


def test_every_evaluation_is_judged_and_the_last_most_often(tmp_path: Path) -> None:
    run = finishing(tmp_path, "train.batch_size=4096")
    run.close()
    draws = objective(run).draw(3)
    assert isinstance(draws, Chains)
    chains, counts = torch.unique(draws.chain, dim=0, return_counts=True)
    shares = {
        tuple(entry for entry in chain if entry >= 0): count / 4096
        for chain, count in zip(chains.tolist(), counts.tolist(), strict=True)
    }
    wanted = {(0,): 9, (1,): 9 / 4, (1, 2): 27 / 4, (3,): 1, (3, 4): 3, (3, 4, 5): 5}
    assert shares.keys() == wanted.keys()
    assert all(shares[chain] == pytest.approx(of / 27, abs=0.03) for chain, of in wanted.items())
    again = objective(run).draw(3)
    assert torch.equal(again.chain, draws.chain)
    assert torch.equal(again.anew, draws.anew)


def test_the_critic_learns_to_tell_them_apart_and_the_student_to_mislead_it(run: Trainer) -> None:
    """What a small step of one alone, down its own gradient, does to the critic's error."""

    def error() -> float:
        with torch.no_grad():
            pixels, labels, draws = batch(run)
            return float(objective(run).loss(run.learner.network, pixels, labels, draws, ROWS))

    network, critic = run.learner.network, objective(run).parts
    assert critic is not None
    before = error()
    for part, which, better in ((network, 0, False), (critic, 1, True)):
        slope = gradients(run)[which]
        length = sum(float(value.square().sum()) for value in slope.values()) ** 0.5
        with torch.no_grad():
            for name, parameter in part.named_parameters():
                parameter.sub_(slope[name] / length * 1e-2)
            after = error()
            for name, parameter in part.named_parameters():
                parameter.add_(slope[name] / length * 1e-2)
        assert (after < before) is better
        assert after != before


def test_the_critics_slope_is_no_concern_of_the_student(tmp_path: Path, run: Trainer) -> None:
    plain = gradients(run)
    steep = finishing(tmp_path, "distill.slope=5", "distill.hold=0", name="steep")
    steep.close()
    other = gradients(steep)
    for name, value in plain[0].items():
        torch.testing.assert_close(other[0][name], value, rtol=1e-3, atol=1e-7)
    assert any(not torch.allclose(other[1][name], value) for name, value in plain[1].items())


def test_a_student_that_moves_is_held(tmp_path: Path) -> None:
    """Without a critic's say, the loss is the mean squared change, and least where none is."""
    run = finishing(tmp_path, "distill.slope=0", "distill.hold=100")
    run.close()
    pixels, labels, draws = batch(run)
    loss, network = objective(run), run.learner.network
    with torch.no_grad():
        still = float(loss.loss(network, pixels, labels, draws, ROWS))
        network.get_parameter("conv_out.bias").add_(0.1)
        moved = float(loss.loss(network, pixels, labels, draws, ROWS))
        x, last = loss.follow(network, labels, draws.chain, draws.anew)
    change = float((loss._sigma[last] * 0.1).square().mean())
    assert moved - still == pytest.approx(100 * change, rel=0.05)
    assert x.shape == (16, 1, 8, 8)


def test_the_rows_shares_sum_to_the_batchs_loss(run: Trainer) -> None:
    whole = gradients(run)
    parts = [gradients(run, rows=rows) for rows in (slice(0, 5), slice(5, 16))]
    for which in (0, 1):
        for name, value in whole[which].items():
            summed = parts[0][which][name] + parts[1][which][name]
            torch.testing.assert_close(summed, value, rtol=1e-3, atol=1e-6)


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    whole = finishing(tmp_path, name="whole")
    whole.run(until=6)
    finishing(tmp_path, name="parts").run(until=3)
    second = finishing(tmp_path, name="parts")
    second.resume()
    second.run(until=6)
    files = [run.folder / "0000006" / RESUME for run in (whole, second)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_the_student_can_be_asked_for_stays(tmp_path: Path) -> None:
    run = finishing(tmp_path)
    run.run(until=2)
    before, after = published_student(run), published(run).manifest
    assert after.distilled == before.distilled
    assert after.defaults == before.defaults
    assert after.training["teacher"]["model"] == before.version
    assert [one["model"] for one in after.training["lineage"]] == [before.version]
    run.close()
    critic = objective(run).parts
    assert critic is not None
    assert not set(critic.state_dict()) & set(published(run).network.state_dict())


def test_a_model_that_is_not_a_consistency_model_is_refused(tmp_path: Path) -> None:
    folder = resolve(teacher(tmp_path))
    with pytest.raises(TrainingError, match="teacher@0000060 is no consistency model.*distill con"):
        distillation(folder, "adversarial", name="x")


@pytest.mark.parametrize("key", ["critic_rate", "slope", "hold"])
def test_a_weight_below_zero_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(TrainingError, match=f"distill.{key} = -1.* is below 0"):
        finishing(tmp_path, f"distill.{key}=-1")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.uncertainty=true",
            "train.uncertainty = True does not go with learning from real and drawn",
        ),
        ("train.min_snr_gamma=5", "train.min_snr_gamma = 5"),
        ("train.compile=true", "train.compile = True"),
        ("distill.guidance_scale=2", "guidance_scale"),
        ("distill.levels=[[]]", "levels"),
    ],
)
def test_what_means_nothing_to_a_critic_is_refused(
    tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        finishing(tmp_path, override)


def test_levels_that_were_found_meanwhile_make_it_another_run(tmp_path: Path) -> None:
    finishing(tmp_path).run(until=2)
    folder = resolve(tmp_path / "models" / "student")
    write_manifest(folder, with_levels(read_manifest(folder), (1.5,)))
    with pytest.raises(TrainingError, match="was trained with distilled .*; start with another"):
        finishing(tmp_path).resume()
