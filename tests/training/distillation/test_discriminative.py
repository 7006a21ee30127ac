"""Discriminative training: real and drawn pictures told apart by a change of the error."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from models import load_model
from models.checkpoint import read_manifest, resolve, write_manifest
from models.distilled import Distilled, LearnedTable
from models.prediction import target
from models.sample import draw, to_uint8
from tests.training.data import CONFIG
from tests.training.distillation.support import (
    CPU,
    distillation,
    latent_teacher,
    pictures,
    published,
    student_run,
    teacher,
)
from training.__main__ import main
from training.distillation.discriminative import Comparisons, DiscriminativeObjective
from training.distillation.drawings import drawings
from training.errors import TrainingError
from training.run.loop import Trainer

FEW = "distill.drawings=40"
ROWS = slice(0, 16)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def better(tmp_path: Path, *overrides: str, name: str = "better") -> Trainer:
    return student_run(tmp_path, "discriminative", FEW, *overrides, name=name)


def objective(run: Trainer) -> DiscriminativeObjective:
    found = run.lesson.objective
    assert isinstance(found, DiscriminativeObjective)
    return found


def batch(run: Trainer) -> tuple[Tensor, Tensor, Comparisons]:
    pixels, labels = torch.tensor(run.data.images[ROWS]), torch.tensor(run.data.labels[ROWS])
    return pixels, labels, objective(run).draw(0)


def test_the_drawings_are_the_teachers_own_unguided_and_drawn_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = better(tmp_path)
    run.close()
    assert "drawing 40 pictures by teacher@0000060 (once" in capsys.readouterr().err
    kept = objective(run)._drawings
    model = load_model(teacher(tmp_path))
    assert kept.labels is not None
    counts = np.bincount(kept.labels) / len(kept)
    real = np.bincount(run.data.labels) / len(run.data)
    assert counts[3] == 0.1  # as many as learn without a class: the null class drew them
    assert counts[:3] == pytest.approx(0.9 * real, abs=2 / 40)  # classes have their shares
    expected = draw(
        model.network,
        model.manifest.build_table("dpmpp_2m", model.manifest.defaults.steps),
        seeds=torch.arange(40) + (1 << 40),
        labels=torch.from_numpy(kept.labels),
    )
    x_0, labels = kept.rows(torch.tensor([0, 7, 39]))
    assert torch.equal(x_0, to_uint8(expected[[0, 7, 39]]).float() / 127.5 - 1)
    assert labels is not None
    assert labels.tolist() == [*kept.labels[[0, 7]].tolist(), 3]
    better(tmp_path, name="again").close()
    assert "drawing" not in capsys.readouterr().err
    assert run.lesson.inputs is not None
    rare = replace(run.lesson.inputs, weights=np.where(run.data.labels == 0, 9.0, 1.0))
    weighed = drawings(objective(run)._teacher, rare, 40, unlabelled=0, bf16=False, device=CPU)
    assert weighed.labels is not None
    assert weighed.key != kept.key
    assert np.bincount(weighed.labels)[0] > 25  # of 40, where it is a third of the pictures


def test_a_student_that_has_not_changed_cannot_tell(tmp_path: Path) -> None:
    run = better(tmp_path, "distill.drawn_weight=0.5")
    pixels, labels, draws = batch(run)
    loss = objective(run).loss(run.learner.network, pixels, labels, draws, ROWS)
    assert loss.item() == pytest.approx(1.5 * math.log(2), rel=1e-6)
    # What it learns: half a likelihood more of the real, and half a likelihood less of the drawn.
    real = objective(run).noised(pixels, labels, draws, ROWS)
    x_0, told = objective(run)._drawings.rows(draws.drawn)
    drawn = replace(real, x_0=x_0, x_t=real.alpha * x_0 + real.sigma * real.noise, labels=told)
    sums = []
    for part in (real, drawn):
        wanted = target("v", part.x_0, part.noise, part.alpha, part.sigma)
        output = run.learner.network(part.x_t, part.t, part.labels)
        sums.append((output - wanted).square().sum() / 16)
    expected = 0.05 * (0.5 * sums[0] - 0.5 * 0.5 * sums[1])
    parameters = list(run.learner.network.parameters())
    for got, whole in zip(
        torch.autograd.grad(loss, parameters),
        torch.autograd.grad(expected, parameters),
        strict=True,
    ):
        torch.testing.assert_close(got, whole, rtol=1e-3, atol=1e-5)
    run.close()


def test_the_shares_of_a_batch_sum_to_it(tmp_path: Path) -> None:
    run = better(tmp_path)
    run.run(until=2)
    pixels, labels, draws = batch(run)
    loss, network = objective(run).loss, run.learner.network
    with torch.no_grad():
        whole = loss(network, pixels, labels, draws, ROWS)
        parts = [
            loss(network, pixels[rows], labels[rows], draws, rows)
            for rows in (slice(0, 5), slice(5, 16))
        ]
    assert float(whole) != pytest.approx(2 * math.log(2), rel=1e-6)  # it has changed
    torch.testing.assert_close(sum(parts, torch.zeros(())), whole)
    run.close()


def test_it_learns_to_tell_real_pictures_from_its_own(tmp_path: Path) -> None:
    given = ["train.steps=60", "train.learning_rate=2e-3", "train.save_every=60"]
    run = better(tmp_path, *given)
    run.run(until=60)
    run.close()
    network, before = published(run).network, load_model(teacher(tmp_path)).network
    changed = dict[str, float]()
    pixels, labels, _ = batch(run)
    with torch.no_grad():
        for step in range(8):
            draws = objective(run).draw(1000 + step)
            real = objective(run).noised(pixels, labels, draws, ROWS)
            drawn = objective(run)._noised_drawings(real, draws, ROWS)
            for name, part in (("real", real), ("drawn", drawn)):
                errors = [objective(run).errors(one, part).sum() for one in (network, before)]
                changed[name] = changed.get(name, 0.0) + float(errors[0] - errors[1])
    odds = 0.05 * 64 * (changed["drawn"] - changed["real"]) / (8 * 16)
    assert float(F.sigmoid(torch.tensor(odds))) > 0.55


def test_it_goes_on_to_the_same_bits_and_is_asked_as_before(tmp_path: Path, cache: Path) -> None:
    whole = better(tmp_path, name="whole")
    whole.run(until=8)
    first = better(tmp_path)
    first.run(until=4)
    shutil.rmtree(cache)  # what is gone is drawn again
    second = better(tmp_path)
    second.resume()
    second.run(until=8)
    for run in (whole, first, second):
        run.close()
    one, two = (published(run) for run in (whole, second))
    for name, value in one.network.state_dict().items():
        assert torch.equal(two.network.state_dict()[name], value)
    told, before = one.manifest, read_manifest(resolve(teacher(tmp_path)))
    assert told.defaults == before.defaults
    assert [parent["model"] for parent in told.training["lineage"]] == [before.version]
    for override in ("distill.beta=0.1", "train.label_dropout=0.5"):  # other drawings, the latter
        other = better(tmp_path, override)
        with pytest.raises(TrainingError, match="was trained with d(istilled|rawings)"):
            other.resume()
        other.close()


def test_a_learned_table_does_not_go_along(tmp_path: Path) -> None:
    folder = resolve(teacher(tmp_path))
    manifest = read_manifest(folder)
    table = LearnedTable(guidance_scale=1.5, t=(90.0,), a=(0.0,), b=(1.0,), c=(0.0,))
    defaults = replace(manifest.defaults, sampler="learned", steps=1)
    learned = replace(manifest, distilled=Distilled(tables=(table,)), defaults=defaults)
    learned.training["config"]["publish"]["license"] = "other"
    write_manifest(folder, learned)
    run = better(tmp_path)
    run.run(until=1)
    run.close()
    told = published(run).manifest
    assert told.training["config"]["publish"]["license"] == "other"  # as the teacher's
    assert told.distilled == Distilled()  # it was learned for other weights
    assert told.defaults == replace(defaults, sampler="dpmpp_2m", steps=20)
    with pytest.raises(TrainingError, match="sampler learned is not among"):
        distillation(folder, "discriminative", "publish.sampler='learned'", name="x")


@pytest.mark.parametrize(
    "settings",
    [("train.label_dropout=0",), ("diffusion.prediction='eps'",), ("diffusion.prediction='x0'",)],
)
def test_any_diffusion_model_is_trained_on(tmp_path: Path, settings: tuple[str, ...]) -> None:
    guided = "publish.guidance_scale=1"
    folder = teacher(tmp_path, *settings, guided, steps=2)
    run = better(tmp_path, *settings[: settings[0].startswith("train")])
    run.run(until=1)
    run.close()
    assert published(run).manifest.diffusion == read_manifest(resolve(folder)).diffusion
    if "label_dropout" in settings[0]:
        with pytest.raises(TrainingError, match="guidance 2 needs a null class"):
            distillation(folder, "discriminative", "publish.guidance_scale=2", name="x")


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_model_of_latents_learns_from_its_latents(tmp_path: Path, mirrored: bool) -> None:
    latents = latent_teacher(tmp_path, mirrored=mirrored)
    kept = tmp_path / "cache" / "emaki"
    encoded = set((kept / "latents").iterdir())
    line = ["distill", "discriminative", str(latents), "--data", str(tmp_path / "data")]
    line += ["--name", "better", "--out", str(tmp_path / "models"), "--set", FEW, "--steps", "2"]
    assert main([*line, "--set=train.batch_size=8", "--set=distill.beta=0.01"]) == 0
    model = load_model(tmp_path / "models" / "better")
    assert model.manifest.picture_shape == (1, 8, 8)
    assert model.autoencoder is not None
    card = (tmp_path / "models" / "better" / "README.md").read_text()
    assert "Draws latents of 4x4, which the autoencoder `vae` decodes" in card
    assert set((kept / "latents").iterdir()) == encoded  # the teacher's served
    (folder,) = (kept / "drawings").iterdir()
    assert np.load(folder / "drawn.npy").dtype == np.float16


def test_classes_and_pictures_without_any_do_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flat").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "flat" / "one.png")
    given = ["--name", "x", "--out", str(tmp_path / "models")]
    line = ["distill", "discriminative", str(teacher(tmp_path)), *given]
    assert main([*line, "--data", str(tmp_path / "flat")]) == 2
    assert "has classes, and the pictures have none" in capsys.readouterr().err
    plain = tmp_path / "plain.toml"
    plain.write_text(CONFIG.replace('class_names = ["Circle", "Square", "Cross"]', ""))
    settings = ["--set=train.steps=1", "--set=publish.guidance_scale=1"]
    train = ["train", str(plain), "--data", str(tmp_path / "flat"), *settings]
    assert main([*train, "--out", str(tmp_path / "models")]) == 0
    pictures(tmp_path)
    line[2] = str(tmp_path / "models" / "plain")
    assert main([*line, "--data", str(tmp_path / "data")]) == 2
    assert "plain@0000001 knows no classes" in capsys.readouterr().err
    alone = [*line, "--data", str(tmp_path / "flat"), "--set", FEW, "--set=train.batch_size=8"]
    assert main([*alone, "--steps", "2"]) == 0
    assert load_model(tmp_path / "models" / "x").manifest.classes == ()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("distill.drawings=0", "distill.drawings = 0 is not in 1 ... 1000000"),
        ("distill.drawings=1000001", "distill.drawings = 1000001 is not in 1 ... 1000000"),
        ("distill.beta=0", "distill.beta = 0 is not above 0"),
        ("distill.drawn_weight=-1", "distill.drawn_weight = -1 is not above 0"),
        ("distill.guidance_scale=2.0", "unknown field 'guidance_scale'"),
        ("train.uncertainty=true", "leave it out"),
    ],
)
def test_what_it_cannot_do_is_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        distillation(teacher(tmp_path), "discriminative", override, name="x")


def test_a_distilled_model_is_told_where_to_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method in ("consistency", "guidance"):
        run = student_run(tmp_path, method, name=method)
        run.run(until=1)
        run.close()
    pictures(tmp_path)
    given = ["--data", str(tmp_path / "data"), "--name", "x", "--out", str(tmp_path)]
    models = tmp_path / "models"
    assert main(["distill", "discriminative", str(models / "consistency"), *given]) == 2
    assert "consistency@0000001 is a consistency model already" in capsys.readouterr().err
    assert main(["distill", "discriminative", str(models / "guidance"), *given]) == 2
    assert "hold guidance of 1.5 already; give the model" in capsys.readouterr().err
    assert main(["distill", "adversarial", str(teacher(tmp_path)), *given]) == 2
    assert "train it on with distill discriminative" in capsys.readouterr().err
