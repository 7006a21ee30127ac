"""Autoencoders and text encoders: what their own libraries compute, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file, save_file
from transformers import BertModel, CLIPTextModel

from models.autoencoder import (
    AutoencoderError,
    fit_preview,
    load_autoencoder,
    preview,
    smooth_latents,
)
from models.checkpoint import (
    WEIGHTS,
    load_model,
    read_manifest,
    resolve,
    save_checkpoint,
    write_manifest,
)
from models.companions import encoder_files, locate
from models.encoder import EncoderError, TextError, load_encoder
from models.manifest import CheckpointError
from tests.companions import (
    WIDTH,
    write_autoencoder,
    write_bert,
    write_clip,
    write_text_checkpoint,
)


@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_an_autoencoder_computes_what_diffusers_does(tmp_path: Path, kind: str) -> None:
    write_autoencoder(tmp_path, kind=kind)
    ours = load_autoencoder(tmp_path, scale=0.25)
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    latents = ours.encode(x)
    side = 16 // ours.factor
    assert latents.shape == (2, ours.channels, side, side)
    with torch.no_grad():
        if kind == "kl":
            kl = AutoencoderKL.from_pretrained(tmp_path).eval()
            expected = kl.encode(x).latent_dist.mode()
            decoded = kl.decode(expected).sample
        else:
            tiny = AutoencoderTiny.from_pretrained(tmp_path).eval()
            expected = tiny.encode(x).latents
            decoded = tiny.decode(expected).sample
    torch.testing.assert_close(latents, expected * 0.25)
    torch.testing.assert_close(ours.decode(latents), decoded.clamp(-1, 1), atol=1e-5, rtol=1e-4)


def test_an_autoencoder_that_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AutoencoderError, match="is no autoencoder's description"):
        load_autoencoder(tmp_path / "none")
    write_autoencoder(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "diffusion_pytorch_model.safetensors"
    words, tensors = json.loads(config.read_text()), load_file(weights)

    config.write_text(json.dumps({**words, "_class_name": "VQModel"}))
    with pytest.raises(AutoencoderError, match="'VQModel' is not supported; supported: Auto"):
        load_autoencoder(tmp_path)
    config.write_text(json.dumps({**words, "shift_factor": 0.1}))
    with pytest.raises(AutoencoderError, match="shift_factor = 0.1 is not supported"):
        load_autoencoder(tmp_path)
    config.write_text(json.dumps({**words, "act_fn": 3}))
    with pytest.raises(AutoencoderError, match="cannot be read: 'int' object has no"):
        load_autoencoder(tmp_path)
    config.write_text(json.dumps(words))
    save_file({k: v for k, v in tensors.items() if k != "encoder.conv_in.bias"}, weights)
    with pytest.raises(AutoencoderError, match=r"lacks tensor encoder\.conv_in\.bias"):
        load_autoencoder(tmp_path)
    weights.write_bytes(b"nothing")
    with pytest.raises(AutoencoderError, match="cannot be read"):
        load_autoencoder(tmp_path)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(AutoencoderError, match="only whole safetensors are read"):
        load_autoencoder(tmp_path)


def test_a_linear_decoder_is_previewed_exactly() -> None:
    latents = smooth_latents(16, 4, 8)
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)) * 0.1
    small = torch.einsum("pc,bchw->bphw", weights, latents) + 0.2
    fitted = fit_preview(latents, small.repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(preview(latents, fitted), small, atol=1e-4, rtol=1e-3)


def test_clip_states_are_transformers_states_filled_up_and_all(tmp_path: Path) -> None:
    write_clip(tmp_path / "text_encoder", tmp_path / "tokenizer")
    ours = load_encoder(tmp_path / "text_encoder", tmp_path / "tokenizer", tokens=77)
    theirs = CLIPTextModel.from_pretrained(tmp_path / "text_encoder").eval()
    start, end = 52, 53
    letters = [ord(letter) - ord("a") for letter in "red"]
    ids = [start, letters[0], letters[1], letters[2] + 26, *[end] * 73]
    with torch.no_grad():
        expected = theirs(torch.tensor([ids])).last_hidden_state[0]
    torch.testing.assert_close(ours.encode("red").states, expected)


def test_bert_states_are_transformers_states_and_zero_after_the_text(tmp_path: Path) -> None:
    write_bert(tmp_path)
    ours = load_encoder(tmp_path, tmp_path, tokens=8)
    theirs = BertModel.from_pretrained(tmp_path).eval()
    ids = torch.tensor([[2, 10, 5, 7, 3]])  # [CLS] a red square [SEP]
    with torch.no_grad():
        expected = theirs(ids).last_hidden_state[0]
    states = ours.encode("a red square").states
    torch.testing.assert_close(states[:5], expected, atol=1e-6, rtol=1e-5)
    assert states.shape == (8, WIDTH)
    assert not states[5:].any()


def test_a_text_that_is_too_long_is_cut_and_said_to_be(tmp_path: Path) -> None:
    encoder = load_encoder(write_bert(tmp_path), tmp_path, tokens=8)
    fits, cut = encoder.encode("red " * 6), encoder.encode("red " * 7)
    assert (fits.cut, cut.cut) == (False, True)
    assert torch.equal(fits.states, cut.states)


def test_texts_and_states_that_are_none_are_refused(tmp_path: Path) -> None:
    encoder = load_encoder(write_bert(tmp_path / "good"), tmp_path / "good", tokens=8)
    with pytest.raises(TextError, match="character 4 of the text is half of a surrogate"):
        encoder.encode("red \ud800")
    bad = write_bert(tmp_path / "bad")
    tensors = load_file(bad / "model.safetensors")
    tensors["encoder.layer.1.output.LayerNorm.bias"].fill_(float("nan"))
    save_file(tensors, bad / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TextError, match="no numbers"):
        load_encoder(bad, bad, tokens=8).encode("red")


def test_an_encoder_that_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="is no text encoder's description"):
        load_encoder(tmp_path / "none", tmp_path, tokens=8)
    write_bert(tmp_path)
    with pytest.raises(EncoderError, match="64 positions are fewer than 65 tokens"):
        load_encoder(tmp_path, tmp_path, tokens=65)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    words, tensors = json.loads(config.read_text()), load_file(weights)

    def refusal() -> str:
        with pytest.raises(EncoderError) as caught:
            load_encoder(tmp_path, tmp_path, tokens=8)
        return str(caught.value)

    config.write_text(json.dumps({**words, "model_type": ["bert"]}))
    assert "model_type = ['bert'] is not supported" in refusal()
    for odd in ("512", None):
        config.write_text(json.dumps({**words, "max_position_embeddings": odd}))
        assert f"max_position_embeddings = {odd!r}" in refusal()
    config.write_text(json.dumps({**words, "model_type": "t5"}))
    assert "model_type = 't5' is not supported; supported: clip_text_model, bert" in refusal()
    config.write_text(json.dumps(words))
    short = {k: v for k, v in tensors.items() if "layer.0.output" not in k}
    save_file(short, weights, metadata={"format": "pt"})
    assert "lacks tensor encoder.layer.0.output" in refusal()
    few = {k: v[:9] if "word_embeddings" in k else v for k, v in tensors.items()}
    save_file(few, weights, metadata={"format": "pt"})
    config.write_text(json.dumps({**words, "vocab_size": 9}))
    assert "they do not belong together" in refusal()
    weights.write_bytes(b"nothing")
    assert "cannot be read" in refusal()
    weights.rename(tmp_path / "pytorch_model.bin")
    assert "only whole safetensors are read" in refusal()


@pytest.mark.parametrize("latent", [False, True])
def test_a_checkpoint_carries_its_companions(tmp_path: Path, *, latent: bool) -> None:
    folder = write_text_checkpoint(tmp_path, latent=latent)
    model = load_model(tmp_path / "words")
    assert model.manifest == read_manifest(folder)
    assert model.manifest.picture_shape == ((3, 16, 16) if latent else (3, 8, 8))
    assert model.encoder is not None
    assert (model.encoder.width, model.encoder.tokens) == (WIDTH, 8)
    assert (model.autoencoder is not None) == latent
    states = model.encoder.encode("a red square").states
    drawn = model.network(
        torch.zeros(1, model.network.config.channels, 8, 8), torch.ones(1), states[None]
    )
    assert torch.isfinite(drawn).all()


@pytest.mark.parametrize(
    "name", ["vae/config.json", "text_encoder/model.safetensors", "tokenizer/tokenizer.json"]
)
def test_a_companion_that_changed_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_text_checkpoint(tmp_path, latent=True)
    damaged = bytearray((folder / name).read_bytes())
    damaged[-2] ^= 1
    (folder / name).write_bytes(damaged)
    with pytest.raises(CheckpointError, match=f"{name} has sha256"):
        load_model(folder)


@pytest.mark.parametrize(
    "name",
    ["vae/config.json", "text_encoder/model.safetensors", "tokenizer/tokenizer_config.json"],
)
def test_a_companion_without_a_digest_is_not_read(tmp_path: Path, name: str) -> None:
    folder = write_text_checkpoint(tmp_path, latent=True)
    manifest = read_manifest(folder)
    files = {known: record for known, record in manifest.files.items() if known != name}
    write_manifest(folder, replace(manifest, files=files))
    with pytest.raises(CheckpointError, match=f"no digest of {name}"):
        load_model(folder)


def test_a_manifest_that_does_not_fit_its_companions_is_refused(tmp_path: Path) -> None:
    folder = write_text_checkpoint(tmp_path, latent=True)
    manifest = read_manifest(folder)
    assert manifest.latent is not None
    assert manifest.text is not None
    latent = replace(manifest.latent, size=(32, 32))
    weights = load_file(folder / WEIGHTS)
    companions = {name: folder / name for name in manifest.files if name != WEIGHTS}
    other = save_checkpoint(
        tmp_path, replace(manifest, step=2, latent=latent), weights=weights, companions=companions
    )
    with pytest.raises(
        CheckpointError, match="at 1/2 of the size; the manifest says 4 of 3 at 1/4"
    ):
        load_model(other)
    for wrong in (
        {"latent": replace(manifest.latent, preview=(0.1,) * 14)},
        {"latent": replace(manifest.latent, size=(16, 24))},
        {"diffusion": replace(manifest.diffusion, clip=True)},
        {"text": None},
    ):
        with pytest.raises(ValueError, match=r"14 numbers|whole multiple|clip|belong together"):
            replace(manifest, **wrong)
    for step, name in enumerate(("../text_encoder", "/text_encoder", "package:../os", ""), 10):
        text = replace(manifest.text, encoder=name)
        odd = save_checkpoint(
            tmp_path,
            replace(manifest, step=step, text=text),
            weights=weights,
            companions=companions,
        )
        with pytest.raises(CheckpointError, match="leads out of the checkpoint|not installed"):
            load_model(odd)


def test_an_encoder_may_stay_in_its_package_and_is_verified_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "some_words"
    write_bert(package / "model")
    (package / "__init__.py").write_text("raise SystemExit('a package is not run')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = resolve(write_text_checkpoint(tmp_path))
    manifest = read_manifest(folder)
    assert manifest.text is not None
    name = "package:some_words/model"
    files = encoder_files(locate(folder, name), name=name)
    companions = {n: folder / n for n in manifest.files if n.startswith("tokenizer/")} | files
    text = replace(manifest.text, encoder=name)
    other = save_checkpoint(
        tmp_path,
        replace(manifest, step=2, text=text),
        weights=load_file(folder / WEIGHTS),
        companions=companions,
    )
    assert not (other / "text_encoder").exists()
    assert load_model(other).encoder is not None
    (package / "model" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="its manifest says"):
        load_model(other)
    with pytest.raises(ValueError, match="the package no_words, which"):
        locate(folder, "package:no_words/model")
