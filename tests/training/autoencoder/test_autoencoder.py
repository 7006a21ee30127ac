"""Training an autoencoder: it learns, resumes bit for bit, and leaves what diffusers reads."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor

from models.autoencoder import load_autoencoder
from tests.training.encoding.data import write_squares
from training.__main__ import main
from training.autoencoder.command import load_split
from training.autoencoder.loop import AutoencoderTrainer
from training.autoencoder.objective import loss, psnr
from training.autoencoder.settings import Train, load_settings
from training.errors import TrainingError
from training.pictures.data import load_pictures

CONFIG = """
[data]
size = [16, 16]
channels = 3
flip = true
hold_out = 0.2

[autoencoder]
widths = [16, 16, 16]
blocks = 1

[train]
steps = 60
batch_size = 16
learning_rate = 4e-3
warmup_steps = 5
ema_decay = 0.9
equivariance = 0.5
bf16 = false
report_every = 1000
save_every = 1000
"""


@pytest.fixture
def squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "tiny.toml").write_text(CONFIG)
    return write_squares(tmp_path / "squares", size=16)


def trainer(folder: Path, out: str, *overrides: str) -> AutoencoderTrainer:
    settings = load_settings(folder / "tiny.toml", name=None, overrides=overrides)
    train, test = (
        load_pictures(
            folder / "squares", split=split, size=(16, 16), channels=3, hold_out=0.2, quiet=True
        )
        for split in ("train", "test")
    )
    device = torch.device("cpu")
    return AutoencoderTrainer(settings, train, test, out=folder / out, device=device)


@pytest.mark.parametrize("kind", ["tiny", "kl"])
def test_reconstructions_become_like_the_pictures(squares: Path, kind: str) -> None:
    run = trainer(squares.parent, "out", f"autoencoder.kind={kind}", "autoencoder.norm_groups=8")
    before = run.measure()
    run.run(until=60)
    assert run.measure() > before + 2.5
    facts = json.loads((run.folder / "report.json").read_text())
    assert facts["psnr"] == pytest.approx(run.measure(), abs=0.01)
    with Image.open(run.folder / "reports" / "0000060.png") as image:
        assert image.size == ((10 * 18 - 2) * 2, (2 * 18 - 2) * 2)


def test_the_folder_is_one_that_diffusers_reads(squares: Path) -> None:
    run = trainer(squares.parent, "out")
    run.run(until=2)
    theirs = AutoencoderTiny.from_pretrained(run.folder).eval()
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        latents = load_autoencoder(run.folder).encode(x)
        torch.testing.assert_close(latents, theirs.encode(x).latents)
    assert latents.shape == (2, 4, 4, 4)


def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(squares: Path) -> None:
    whole = trainer(squares.parent, "whole")
    whole.run(until=6)
    trainer(squares.parent, "parts").run(until=3)
    second = trainer(squares.parent, "parts")
    report = json.loads((second.folder / "report.json").read_text())
    del report["settings"]["data"]["resize"]  # as if that setting had come since
    (second.folder / "report.json").write_text(json.dumps(report))
    second.resume()
    assert second.step == 3
    second.run(until=6)
    files = [run.folder / "resume.safetensors" for run in (whole, second)]
    assert files[0].read_bytes() == files[1].read_bytes()
    with pytest.raises(TrainingError, match=r"another \[autoencoder\]"):
        trainer(squares.parent, "parts", "autoencoder.latent_channels=8").resume()
    (second.folder / "resume.safetensors").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="cannot be resumed"):
        trainer(squares.parent, "parts").resume()


def test_a_signal_that_comes_during_a_report_saves_too(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(squares.parent, "told", "train.report_every=2")
    report = run.report

    def told_to_stop() -> Path:
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return report()

    monkeypatch.setattr(run, "report", told_to_stop)
    run.run(until=6)
    again = trainer(squares.parent, "told", "train.report_every=2")
    again.resume()
    assert again.step == run.step == 3


def test_psnr_is_that_of_eight_bit_pictures() -> None:
    x = torch.zeros(2, 3, 4, 4)
    wrong = torch.stack([x[0] + 0.1, x[1] + 5])
    off = (x[0] + 0.1 + 1) * 127.5
    expected = 20 * torch.log10(255 / (off.round() - 127.5).abs().mean())
    values = psnr(wrong, x)
    assert float(values[0]) == pytest.approx(float(expected), abs=0.01)
    assert float(values[1]) == pytest.approx(20 * 0.30103, abs=0.01)  # clamped to 1: 6 dB


class _Averages(torch.nn.Module):
    """Stands for an autoencoder that halves by averaging and doubles by repeating."""

    class Encoded:
        """As diffusers' output of AutoencoderTiny."""

        def __init__(self, latents: Tensor) -> None:
            self.latents = self.sample = latents

    def encode(self, x: Tensor) -> Encoded:
        return self.Encoded(torch.nn.functional.avg_pool2d(x, 2))

    def decode(self, latents: Tensor) -> Encoded:
        return self.Encoded(latents.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_equivariance_asks_for_the_picture_scaled_and_turned_alike() -> None:
    x = torch.rand(2, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    train = Train(steps=1, equivariance=1.0, kl_weight=0.0, bf16=False)
    values = [float(loss(_Averages(), x, train, step)) for step in range(24)]
    exact = [value for value in values if value < 1e-6]
    assert len(exact) >= 12  # at 3/4 of the size, averages of averages are others
    assert max(values) < 0.6


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("autoencoder.kind=vq", "not one of kl, tiny"),
        ("autoencoder.widths=[16, 32]", "as wide as one another"),
        ("autoencoder.widths=[16, 16, 16, 16, 16, 16]", "not divisible by 32"),
        ("autoencoder.blocks=0", "at least 1"),
        ("train.equivariance=2", r"train.equivariance = 2 is not in 0 \.\.\. 1"),
        ("train.momentum=0.9", "unknown field 'momentum'"),
    ],
)
def test_an_impossible_autoencoder_is_refused(squares: Path, override: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        load_settings(squares.parent / "tiny.toml", name=None, overrides=[override])


def test_the_command_trains_and_goes_on(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["autoencoder", f"{squares.parent}/tiny.toml", "--data", str(squares)]
    common += ["--out", f"{squares.parent}/out"]
    assert main([*common, "--until", "2"]) == 0
    assert "PSNR" in capsys.readouterr().out
    assert main([*common, "--until", "3"]) == 2
    assert "--resume continues it" in capsys.readouterr().err
    assert main([*common, "--until", "3", "--resume"]) == 0
    assert main([*common, "--until", "3", "--resume"]) == 2
    assert "reached already" in capsys.readouterr().err


def test_what_a_text_model_does_not_see_its_autoencoder_does_not_either(squares: Path) -> None:
    words = ['text.caption="{text} {number}"', 'text.group="{number}"']
    settings = load_settings(squares.parent / "tiny.toml", name=None, overrides=words)
    kept: dict[str, Any] = {
        "split": "test",
        "size": (16, 16),
        "channels": 3,
        "hold_out": 0.2,
        "quiet": True,
    }
    captions: dict[str, Any] = {"caption": "{text} {number}", "caption_group": "{number}"}
    of_text, of_bytes = (load_pictures(squares, **kept, **more) for more in (captions, {}))
    unseen = load_split(squares, settings, "test")
    assert np.array_equal(unseen.images, of_text.images)
    assert not np.array_equal(unseen.images, of_bytes.images)
