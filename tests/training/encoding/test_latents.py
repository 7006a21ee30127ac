"""Training in an autoencoder's latents: encoded once, scaled, previewed, carried along."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.autoencoder import Autoencoder, load_autoencoder, preview
from models.checkpoint import load_model, read_manifest, resolve
from models.sample import draw
from tests.companions import write_autoencoder, write_text_checkpoint
from tests.training.encoding.data import trainer
from training.__main__ import main
from training.config import Config
from training.encoding.inputs import prepare
from training.errors import TrainingError
from training.judging.drawing import draw_pictures
from training.pictures.data import load_alike
from training.run.lesson import denoising
from training.run.lineage import Parent


@pytest.fixture
def vae(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_autoencoder(tmp_path / "vae")


SETTINGS = ("data.size=[16, 16]", "diffusion.clip=false", "train.steps=2", "publish.steps=2")


def test_latents_have_unit_variance_and_are_those_of_the_pictures(
    tmp_path: Path, vae: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (f"latent.autoencoder={vae}", "data.flip=true", *SETTINGS)
    run = trainer(tmp_path, *overrides)
    inputs = run.lesson.inputs
    assert inputs is not None
    assert inputs.latent is not None
    assert inputs.images.shape == (64, 2, 4, 8, 8)
    assert float(inputs.images[:, 0].astype(np.float32).std()) == pytest.approx(1, abs=0.02)
    x = torch.from_numpy(np.array(run.data.images[:4])).float() / 127.5 - 1
    autoencoder = load_autoencoder(vae, scale=inputs.latent.scale)
    for index, pictures in enumerate((x, x.flip(-1))):
        expected = autoencoder.encode(pictures)
        got = torch.from_numpy(np.array(inputs.images[:4, index])).float()
        torch.testing.assert_close(got, expected, atol=5e-3, rtol=5e-3)

    def never(*_arguments: object) -> None:
        raise AssertionError("a picture was encoded again")

    monkeypatch.setattr(Autoencoder, "encode", never)
    again = trainer(tmp_path, *overrides).lesson.inputs
    assert again is not None
    assert again.latent == inputs.latent


def test_held_out_pictures_are_scaled_as_those_that_are_trained_on(
    tmp_path: Path, vae: Path
) -> None:
    run = trainer(tmp_path, f"latent.autoencoder={vae}", *SETTINGS)
    ours = run.lesson.inputs
    assert isinstance(run.config, Config)
    assert ours is not None
    assert ours.latent is not None
    images = run.data.images[:32] // 4  # darker, and less of a spread
    data = replace(run.data, images=images, labels=run.data.labels[:32], fingerprint="dark")
    cpu = torch.device("cpu")
    alone = prepare(run.config, data, device=cpu, say=print)
    beside = prepare(run.config, data, device=cpu, say=print, beside=run.data)
    assert alone.latent is not None
    assert beside.latent is not None
    assert beside.latent.scale == ours.latent.scale != alone.latent.scale
    x = torch.from_numpy(images).float() / 127.5 - 1
    expected = load_autoencoder(vae, scale=ours.latent.scale).encode(x)
    got = torch.from_numpy(np.array(beside.images[:, 0])).float()
    torch.testing.assert_close(got, expected, atol=5e-3, rtol=5e-3)


def test_a_mirrored_picture_has_its_own_latents(tmp_path: Path, vae: Path) -> None:
    run = trainer(tmp_path, f"latent.autoencoder={vae}", "data.flip=true", *SETTINGS)
    inputs, objective = run.lesson.inputs, run.lesson.objective
    assert inputs is not None
    draws = objective.draw(0)
    images = torch.from_numpy(np.array(inputs.images[:16]))
    labels = inputs.conditions(inputs.labels[:16])
    x_0 = objective.noised(images, labels, draws, slice(0, 16)).x_0
    assert 0 < int(draws.flip.sum()) < 16
    for row, flipped in enumerate(draws.flip.tolist()):
        assert torch.equal(x_0[row], images[row, int(flipped)].float())


def test_a_checkpoint_carries_the_autoencoder_and_draws_pictures(tmp_path: Path, vae: Path) -> None:
    (vae / "report.json").write_text('{"psnr": 26.881, "judged": 256}')  # as its training writes
    run = trainer(tmp_path, f"latent.autoencoder={vae}", "train.snapshot_every=1", *SETTINGS)
    run.run(until=2)
    model = load_model(run.folder)
    manifest, autoencoder = model.manifest, model.autoencoder
    assert autoencoder is not None
    assert manifest.latent is not None
    assert "vae/diffusion_pytorch_model.safetensors" in manifest.files
    assert (manifest.network.channels, manifest.network.size) == (4, (8, 8))
    assert manifest.picture_shape == (3, 16, 16)
    assert manifest.training["autoencoder"]
    told = manifest.training["config"]
    assert (told["latent"]["autoencoder"], told["text"]["encoder"]) == ("vae", "bert")
    assert str(tmp_path) not in (resolve(run.folder) / "manifest.json").read_text()
    latents = draw(
        model.network,
        manifest.build_table("dpmpp_2m", 2),
        seeds=torch.arange(3),
        labels=torch.zeros(3, 8, 32),
        clip=False,
    )
    assert autoencoder.decode(latents).shape == (3, 3, 16, 16)
    assert preview(latents, manifest.latent.preview).shape == (3, 3, 8, 8)
    with Image.open(run.folder / "reports" / "0000002.png") as image:
        frame = (8 + 2) * 4  # latents are shown as large as their pictures would be
        assert image.size == (3 * frame - 8, 10 * frame - 8)
        assert image.mode == "RGB"
    card = (run.folder / "README.md").read_text()
    assert "sample . --prompt 'a blue square' --out" in card
    assert "8 tokens of a caption as states of the text encoder `bert`" in card
    assert "autoencoder `vae` decodes (PSNR 26.9 dB on 256 unseen pictures)." in card
    assert main(["average", str(run.folder), "0.1", "--name", "averaged"]) == 0
    averaged = load_model(run.folder.parent / "averaged")
    assert averaged.autoencoder is not None
    assert averaged.encoder is not None


def test_what_is_judged_is_decoded_and_drawn_from_the_datas_captions(
    tmp_path: Path, vae: Path
) -> None:
    run = trainer(tmp_path, f"latent.autoencoder={vae}", *SETTINGS)
    run.run(until=1)
    model = load_model(run.folder)
    data = load_alike(tmp_path / "squares", model.manifest, split="train")
    assert data.images.shape == (64, 3, 16, 16)
    assert data.captions == ("a blue square", "a red square")
    said: list[str] = []
    drawn = draw_pictures(
        model,
        model.manifest.defaults,
        images=4,
        real_labels=data.labels,
        captions=data.captions,
        say=said.append,
    )
    assert (drawn.images.shape, drawn.labels, drawn.evaluations) == ((4, 3, 16, 16), None, 4)
    with pytest.raises(TrainingError, match="draws from texts, and the data has no captions"):
        draw_pictures(
            model, model.manifest.defaults, images=1, real_labels=data.labels, say=said.append
        )


def test_another_autoencoder_is_another_run(tmp_path: Path, vae: Path) -> None:
    run = trainer(tmp_path, f"latent.autoencoder={vae}", *SETTINGS)
    run.run(until=1)
    assert read_manifest(resolve(run.folder)).latent is not None
    torch.manual_seed(1)
    other = write_autoencoder(tmp_path / "other", layers_per_block=2)
    foreign = trainer(tmp_path, f"latent.autoencoder={other}", *SETTINGS)
    with pytest.raises(TrainingError, match="was trained with autoencoder"):
        foreign.resume()
    parent = Parent.load(run.folder)
    assert isinstance(run.config, Config)
    assert isinstance(foreign.config, Config)
    assert denoising(run.config, run.data, run.device, parent=parent).weights is not None
    with pytest.raises(TrainingError, match="give the folder vae of that checkpoint"):
        denoising(foreign.config, foreign.data, run.device, parent=parent)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.size=[15, 16]"], r"data.size = \[15, 16\] is not divisible by 2"),
        (["diffusion.clip=true"], "clip is for pixels; with \\[latent\\] set clip = false"),
        (["latent.autoencoder=/nowhere"], "is no autoencoder's description"),
        (["latent.folder=x"], "unknown field 'folder'"),
    ],
)
def test_a_latent_section_that_cannot_be_is_refused(
    tmp_path: Path, vae: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        trainer(tmp_path, f"latent.autoencoder={vae}", *SETTINGS, *overrides)


def test_a_model_of_texts_is_not_distilled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text_checkpoint(tmp_path, latent=True)
    model = f"{tmp_path}/words"
    common = ["--name", "student", "--data", str(tmp_path), "--out", str(tmp_path)]
    assert main(["distill", "guidance", model, *common]) == 2
    assert "works with texts, which students do not learn" in capsys.readouterr().err
    assert main(["distill", "tables", model, "--steps", "2"]) == 2
    assert "draws from texts, for which no tables" in capsys.readouterr().err
