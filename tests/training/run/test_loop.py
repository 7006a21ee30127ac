"""The training loop: it learns, resumes bit for bit, and stops when it should."""

import os
import signal
import threading
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image

from models import load_model
from models.checkpoint import RESUME, steps_of
from tests.training.data import CONFIG, NAMES, write_idx
from training.config import load_config
from training.errors import TrainingError
from training.pictures.data import load_pictures
from training.run.lesson import denoising
from training.run.loader import EpochOrder
from training.run.loop import Trainer


def trainer(tmp_path: Path, out: str = "out", *overrides: str, device: str = "cpu") -> Trainer:
    path = tmp_path / "shapes.toml"
    path.write_text(CONFIG)
    data_folder = tmp_path / "data"
    if not data_folder.exists():
        write_idx(data_folder)
    config = load_config(path, overrides=overrides)
    data = load_pictures(data_folder, size=(8, 8), channels=1, class_names=NAMES)
    lesson = denoising(config, data, torch.device(device))
    return Trainer(
        config, data, lesson, out=tmp_path / out, device=torch.device(device), commit="unknown"
    )


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("bf16", ["true", "false"])
def test_training_learns(tmp_path: Path, bf16: str, device: str) -> None:
    run = trainer(tmp_path, "out", f"train.bf16={bf16}", "train.steps=80", device=device)
    losses = [float(run.learner.advance().loss) for _ in range(80)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(tmp_path: Path) -> None:
    whole = trainer(tmp_path, "whole")
    whole.run(until=12)
    first = trainer(tmp_path, "parts")
    first.run(until=5)
    second = trainer(tmp_path, "parts")
    second.resume()
    assert second.step == 5
    second.run(until=12)
    for name, value in whole.learner.network.named_parameters():
        assert torch.equal(value, dict(second.learner.network.named_parameters())[name]), name
        assert torch.equal(whole.learner.ema.weights[name], second.learner.ema.weights[name]), name
    files = [run.folder / "0000012" / RESUME for run in (whole, second)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_is_learned_beside_the_network_resumes_too(tmp_path: Path) -> None:
    options = ["train.uncertainty=true", "train.noise_density=lognormal"]
    whole = trainer(tmp_path, "whole", *options)
    whole.run(until=6)
    trainer(tmp_path, "parts", *options).run(until=3)
    second = trainer(tmp_path, "parts", *options)
    second.resume()
    second.run(until=6)
    files = [run.folder / "0000006" / RESUME for run in (whole, second)]
    assert files[0].read_bytes() == files[1].read_bytes()
    trainer(tmp_path, "plain").run(until=2)
    other = trainer(tmp_path, "plain", *options)
    with pytest.raises(TrainingError, match="trained without parts.*train.uncertainty = false"):
        other.resume()


def test_checkpoints_are_published_and_the_oldest_dropped(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.run(until=12)
    assert steps_of(run.folder) == [8, 12]
    model = load_model(run.folder)
    assert model.manifest.version == "shapes@0000012"
    assert model.manifest.classes == NAMES
    assert model.manifest.defaults.guidance_scale == 1.5
    facts = model.manifest.training
    assert facts["pictures_seen"] == 12 * 16
    assert facts["data"] == {
        "pictures": 96,
        "unreadable": 0,
        "resize": "crop",
        "held_out": 0,
        "sha256": run.data.fingerprint,
    }
    for name, value in model.network.named_parameters():
        assert torch.equal(value, run.learner.ema.weights[name])


def test_each_report_is_a_denoising_strip(tmp_path: Path) -> None:
    run = trainer(tmp_path, "out", "publish.steps=9")
    run.run(until=6)
    with Image.open(run.folder / "reports" / "0000006.png") as image:
        width, height = image.size
    frame = (8 + 2) * 2
    assert (width, height) == (9 * frame - 4, 10 * frame - 4)
    second = run.report().read_bytes()
    assert second == run.report().read_bytes()  # one fixed noise


def test_every_epoch_shows_every_picture_once() -> None:
    order = EpochOrder(96, seed=0)
    stream = [int(i) for step in range(18) for i in order.batch(step, 16)]
    assert sorted(stream[:96]) == list(range(96)) == sorted(stream[96:192])
    assert stream[:96] != stream[96:192]
    assert sorted(i for step in range(3) for i in order.batch(step, 64)) == sorted(stream[:192])


def test_learning_rate_warms_up_and_decays(tmp_path: Path) -> None:
    run = trainer(tmp_path, "out", "train.final_learning_rate=1e-4")
    rates = [run.learner.learning_rate(step) for step in range(13)]
    assert rates[:3] == pytest.approx([2e-3 / 3, 4e-3 / 3, 2e-3])
    assert rates[3] == pytest.approx(2e-3)
    assert all(a > b for a, b in pairwise(rates[3:]))
    assert rates[12] == pytest.approx(1e-4)


def test_a_large_gradient_is_clipped_before_the_step(tmp_path: Path) -> None:
    run = trainer(tmp_path, "out", "train.clip_norm=0.01")
    norm = float(run.learner.advance().norm)
    gradients = [p.grad for p in run.learner.network.parameters() if p.grad is not None]
    assert norm > 0.1
    assert float(torch.stack([g.norm() for g in gradients]).norm()) == pytest.approx(0.01, rel=1e-3)


def test_sigterm_saves_and_stops(tmp_path: Path) -> None:
    run = trainer(tmp_path, "out", "train.steps=100000", "train.save_every=100000")
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    run.run(until=100000)
    assert steps_of(run.folder) == [run.step]
    assert 0 < run.step < 100000


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    run = trainer(tmp_path, "out", "train.learning_rate=1", "train.clip_norm=1e6")
    with torch.no_grad():
        next(run.learner.network.parameters()).fill_(float("nan"))
    with pytest.raises(
        TrainingError,
        match="loss became nan at step 1; the last good checkpoint is none of this run",
    ):
        run.run(until=12)


def test_resuming_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no checkpoint to resume"):
        trainer(tmp_path).resume()
    trainer(tmp_path).run(until=2)
    with pytest.raises(TrainingError, match="another \\[network\\]"):
        trainer(tmp_path, "out", "network.base=16").resume()
    with pytest.raises(TrainingError, match="another \\[diffusion\\]"):
        trainer(tmp_path, "out", "diffusion.prediction=eps").resume()
    with pytest.raises(TrainingError, match="trained with train.batch_size = 16, not 8"):
        trainer(tmp_path, "out", "train.batch_size=8").resume()
    write_idx(tmp_path / "data", train=95)
    with pytest.raises(TrainingError, match="only 0 of the 96 pictures that it was trained on"):
        trainer(tmp_path).resume()


def test_a_run_without_label_dropout_has_no_null_class(tmp_path: Path) -> None:
    run = trainer(tmp_path, "out", "train.label_dropout=0", "publish.guidance_scale=1")
    run.run(until=2)
    manifest = load_model(run.folder).manifest
    assert (manifest.null_class, manifest.network.num_class_embeds) == (None, 3)


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_every_prediction_learns_under_min_snr(tmp_path: Path, prediction: str) -> None:
    run = trainer(tmp_path, "out", f"diffusion.prediction={prediction}", "train.min_snr_gamma=5")
    losses = [float(run.learner.advance().loss) for _ in range(40)]
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])
    run.close()


def test_odd_shapes_and_channels_are_trained_on(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(6):
        Image.new("RGBA", (20, 10), (40 * index, 9, 9, 200)).save(folder / f"{index}.png")
    (tmp_path / "shapes.toml").write_text(CONFIG)
    overrides = ["data.size=[4, 12]", "data.channels=4", "network.attention=[2]"]
    overrides += ["data.class_names=[]", "publish.guidance_scale=1"]
    config = load_config(tmp_path / "shapes.toml", overrides=overrides)
    data = load_pictures(folder, size=(4, 12), channels=4, resize="squash")
    cpu = torch.device("cpu")
    lesson = denoising(config, data, cpu)
    run = Trainer(config, data, lesson, out=tmp_path, device=cpu, commit="unknown")
    run.run(until=2)
    manifest = load_model(run.folder).manifest
    assert (manifest.network.size, manifest.network.channels) == ((4, 12), 4)
    assert (manifest.classes, manifest.network.num_class_embeds) == ((), None)


def test_curves_are_written_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = trainer(tmp_path)
    first.run(until=7)
    second = trainer(tmp_path)
    second.resume()
    second.run(until=12)
    # File by file: of a folder's, written within one second, TensorBoard sorts ".10" before ".9".
    written = (first.folder / "reports").glob("events.*")
    curves = [EventAccumulator(str(file)).Reload() for file in written]
    steps = [point.step for some in curves for point in some.Scalars("train/loss")]
    assert sorted(steps) == [4, 7, 8, 10, 12]
    assert set(curves[0].Tags()["scalars"]) == {
        "train/loss",
        "train/gradient_norm",
        "train/learning_rate",
        "train/pictures_per_second",
    }
