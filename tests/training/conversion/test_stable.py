"""StableDiffusionPipeline's folders: in, out, and the same picture as diffusers' own pipeline."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from models.checkpoint import WEIGHTS, load_model, read_manifest, resolve
from models.manifest import Diffusion
from models.noise import normal
from models.sample import draw, to_uint8
from tests.companions import WIDTH, write_autoencoder, write_clip, write_text_checkpoint
from training.__main__ import main
from training.conversion.folders import convert
from training.conversion.text_unet import to_text_network
from training.errors import TrainingError

UNET: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": WIDTH,
}
# Stable Diffusion's schedule, as all of its folders have it.
SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
VERSIONS: dict[str, tuple[dict[str, Any], str]] = {
    "1.x": ({"attention_head_dim": 8}, "epsilon"),
    "2.x": ({"attention_head_dim": (2, 4), "use_linear_projection": True}, "v_prediction"),
    "several layers": ({"transformer_layers_per_block": (2, 1), "layers_per_block": 2}, "epsilon"),
}


def write_pipeline(folder: Path, version: str = "1.x", *, dtype: Any = torch.float32) -> Path:
    """A StableDiffusionPipeline of tiny random parts."""
    options, prediction = VERSIONS[version]
    write_clip(folder / "te", folder / "tok")
    write_autoencoder(folder / "vae", scaling_factor=0.3)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**{**UNET, **options})
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "te"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tok"),
        unet=unet,
        scheduler=PNDMScheduler(skip_prk_steps=True, prediction_type=prediction, **SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype)
    pipeline.save_pretrained(folder / "theirs")
    return folder / "theirs"


def assert_same_files(ours: Path, theirs: Path) -> None:
    a, b = load_file(ours), load_file(theirs)
    assert set(a) == set(b)
    for name, value in a.items():
        assert value.dtype == b[name].dtype
        assert torch.equal(value, b[name]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_pipeline_survives_the_way_to_us_and_back(
    tmp_path: Path, version: str, dtype: torch.dtype
) -> None:
    theirs = write_pipeline(tmp_path, version, dtype=dtype)
    convert(theirs, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "again")
    folder = resolve(tmp_path / "ours")
    unet = theirs / "unet" / "diffusion_pytorch_model.safetensors"
    assert_same_files(folder / WEIGHTS, unet)
    for part in ("unet", "vae"):
        name = f"{part}/diffusion_pytorch_model.safetensors"
        assert_same_files(tmp_path / "again" / name, theirs / name)
    name = "text_encoder/model.safetensors"
    assert_same_files(tmp_path / "again" / name, theirs / name)
    again = StableDiffusionPipeline.from_pretrained(tmp_path / "again", safety_checker=None)
    assert again.unet.dtype == torch.float32  # as diffusers loads, whatever is stored
    third = convert(tmp_path / "again", tmp_path / "third")
    before, after = read_manifest(folder), read_manifest(third.folder)
    assert (before.network, before.diffusion) == (after.network, after.diffusion)
    assert (before.latent, before.text) == (after.latent, after.text)
    assert after.diffusion == Diffusion(
        schedule="scaled_linear",
        timesteps=1000,
        prediction="v" if version == "2.x" else "eps",
        clip=False,
        beta_range=(0.00085, 0.012),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_ddim_draws_the_picture_that_diffusers_draws(tmp_path: Path, version: str) -> None:
    theirs = write_pipeline(tmp_path, version)
    convert(theirs, tmp_path / "ours")
    model = load_model(tmp_path / "ours")
    assert model.encoder is not None
    assert model.autoencoder is not None
    prompts, negative, seeds = ["a red car", "blue"], "grey", torch.tensor([5, 6])
    pipeline = StableDiffusionPipeline.from_pretrained(theirs, safety_checker=None)
    pipeline.scheduler = DDIMScheduler.from_config(
        pipeline.scheduler.config,
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        clip_sample=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = normal(seeds, torch.zeros_like(seeds), (4, 8, 8))
    drawn = pipeline(
        prompts,
        negative_prompt=[negative] * 2,
        latents=noise,
        num_inference_steps=10,
        guidance_scale=7.5,
        output_type="np",
    ).images
    expected = np.round(drawn * 255).astype(np.int64)

    def states(texts: list[str]) -> Tensor:
        assert model.encoder is not None
        return torch.stack([model.encoder.encode(text).states for text in texts])

    latents = draw(
        model.network,
        model.manifest.diffusion.build_table("ddim", 10),
        seeds=seeds,
        labels=states(prompts),
        null=states([negative])[0],
        guidance_scale=7.5,
        clip=model.manifest.diffusion.clip,
    )
    ours = to_uint8(model.autoencoder.decode(latents)).permute(0, 2, 3, 1).numpy().astype(np.int64)
    assert expected.std() > 5
    differences = np.abs(ours - expected)
    assert differences.max() <= 1
    assert (differences > 0).mean() <= 0.001


def test_a_vae_scaled_otherwise_is_written_back_so(tmp_path: Path) -> None:
    convert(write_pipeline(tmp_path), tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "again")
    manifest = read_manifest(resolve(tmp_path / "ours"))
    assert manifest.latent is not None
    assert (manifest.latent.scale, manifest.latent.size) == (0.3, (16, 16))
    assert manifest.text is not None
    assert manifest.text.tokens == 77
    words = json.loads((tmp_path / "again" / "vae" / "config.json").read_text())
    assert words["scaling_factor"] == 0.3


def test_parts_that_are_not_supported_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = write_pipeline(tmp_path)
    index = json.loads((theirs / "model_index.json").read_text())
    capsys.readouterr()

    def refusal(*arguments: str, **changes: Any) -> str:
        (theirs / "model_index.json").write_text(json.dumps({**index, **changes}))
        assert main(["convert", str(theirs), str(tmp_path / "ours"), *arguments]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert not (tmp_path / "ours").exists()
        return said

    assert "StableDiffusionXLPipeline" in refusal(_class_name="StableDiffusionXLPipeline")
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    assert "safety_checker is not supported" in refusal(safety_checker=checker)
    adapter = ["transformers", "CLIPVisionModelWithProjection"]
    assert "image_encoder is not supported" in refusal(image_encoder=adapter)
    assert '"T5EncoderModel" is not' in refusal(text_encoder=["transformers", "T5EncoderModel"])
    assert "--null-class is for labels" in refusal("--null-class", "none")

    unet = theirs / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(unet)
    save_file({**tensors, "mid_block.lora_A.weight": torch.zeros(1)}, unet)
    assert "unknown tensor mid_block.lora_A.weight" in refusal()
    save_file(tensors, unet)
    encoder = theirs / "text_encoder" / "model.safetensors"
    encoder.rename(encoder.with_name("pytorch_model.bin"))
    assert "only whole safetensors are read" in refusal()
    encoder.with_name("pytorch_model.bin").rename(encoder)
    config = theirs / "vae" / "config.json"
    config.write_text(config.read_text().replace("AutoencoderKL", "VQModel"))
    assert "'VQModel' is not supported" in refusal()


def test_a_checkpoint_that_diffusers_has_no_pipeline_for_is_refused(tmp_path: Path) -> None:
    text = write_text_checkpoint(tmp_path, "text")
    both = write_text_checkpoint(tmp_path, "both", latent=True)
    with pytest.raises(TrainingError, match="has text alone: diffusers has no pipeline"):
        convert(text, tmp_path / "a")
    with pytest.raises(TrainingError, match='model_type = "bert" is not supported'):
        convert(both, tmp_path / "b")
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"in_channels": 9}, "in_channels = 9 is not supported; supported: out_channels = 4"),
        ({"addition_embed_type": "text_time"}, 'addition_embed_type = "text_time" is not'),
        ({"encoder_hid_dim_type": "ip_image_proj"}, 'encoder_hid_dim_type = "ip_image_proj"'),
        ({"class_embed_type": "projection"}, 'class_embed_type = "projection" is not supported'),
        ({"num_class_embeds": 5}, "num_class_embeds = 5 is not supported"),
        ({"dual_cross_attention": True}, "dual_cross_attention = true is not supported"),
        ({"only_cross_attention": True}, "only_cross_attention = true is not supported"),
        ({"mid_block_type": None}, "mid_block_type = null is not supported"),
        ({"attention_type": "gated"}, 'attention_type = "gated" is not supported'),
        ({"cross_attention_dim": [16, 16]}, "cross_attention_dim = [16, 16] is not int"),
        ({"attention_head_dim": "many"}, 'attention_head_dim = "many" is not supported'),
        ({"attention_head_dim": 5}, "channels are not divisible by 5 heads"),
        ({"down_block_types": ["SimpleCrossAttnDownBlock2D"] * 2}, '"SimpleCrossAttnDownBlock2D"'),
        ({"up_block_types": ["UpBlock2D"] * 2}, "supported: UpBlock2D, CrossAttnUpBlock2D"),
        ({"time_embedding_dim": 9}, "time_embedding_dim = 9 is not supported"),
        ({"_class_name": "UNetMotionModel"}, '"UNetMotionModel" is not supported'),
    ],
)
def test_an_unsupported_network_with_text_is_refused_by_name(
    option: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        to_text_network("unet/config.json", {**UNET, **option})
    assert message in str(caught.value)
