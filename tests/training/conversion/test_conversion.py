"""diffusers' folders and our checkpoints, one into the other, against the real diffusers."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.checkpoint import WEIGHTS, load_model, read_manifest, resolve, save_checkpoint
from models.manifest import Diffusion
from models.unet import UNet
from tests.support import write_checkpoint
from tests.training.pictures.test_sources import png, write
from tests.training.run.test_saving import largest_file
from training.__main__ import main
from training.conversion.folders import convert
from training.conversion.scheduler import to_diffusion
from training.conversion.unet import to_network
from training.errors import TrainingError

UNET: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "diffusers' defaults": {},
    "asymmetric padding": {"downsample_padding": 0},
    "one head": {"attention_head_dim": None},
    "heads of four": {"attention_head_dim": 4},
    "older embedding": {"freq_shift": 1, "flip_sin_to_cos": False},
    "norm eps": {"norm_eps": 1e-3},
    "classes": {"num_class_embeds": 5},
    "no middle attention": {"add_attention": False},
    "attention first": {
        "down_block_types": ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D"),
    },
    "not square": {"sample_size": (8, 12), "in_channels": 4, "out_channels": 4},
    "two blocks, dropout": {"layers_per_block": 2, "dropout": 0.1},
    "words of old": {
        "act_fn": "swish",
        "down_block_types": ("UNetResDownBlock2D", "UNetResAttnDownBlock2D"),
        "up_block_types": ("UNetResAttnUpBlock2D", "UNetResUpBlock2D"),
    },
}


def pipeline(**options: Any) -> DDPMPipeline:
    torch.manual_seed(0)
    unet = UNet2DModel(**{**UNET, **options})
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return DDPMPipeline(unet.eval(), DDPMScheduler())


def assert_same_tensors(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype, name
        assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_diffusers_pipeline_survives_the_way_to_us_and_back(variant: str, tmp_path: Path) -> None:
    theirs = pipeline(**VARIANTS[variant])
    theirs.save_pretrained(tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "again")

    model = load_model(tmp_path / "ours")
    again = DDPMPipeline.from_pretrained(tmp_path / "again").unet.eval()
    assert_same_tensors(load_file(resolve(tmp_path / "ours") / WEIGHTS), theirs.unet.state_dict())
    assert_same_tensors(again.state_dict(), theirs.unet.state_dict())

    config = model.manifest.network
    x, t = torch.randn(3, config.channels, *config.size), torch.tensor([0, 437, 999])
    labels = torch.tensor([0, 3, 4]) if config.num_class_embeds else None
    with torch.no_grad():
        expected = theirs.unet(x, t, class_labels=labels).sample
        torch.testing.assert_close(model.network(x, t, labels), expected, atol=2e-5, rtol=1e-4)
        assert torch.equal(again(x, t, class_labels=labels).sample, expected)


@pytest.mark.parametrize("part", ["", "unet"])  # a pipeline's folder, or a network's alone
def test_a_diffusers_folder_is_fine_tuned_after_the_command_that_its_refusal_names(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    theirs = pipeline()
    theirs.save_pretrained("Faces (64)")
    write(tmp_path, {f"{name}/{i}.png": png(i) for name in ("cat", "dog") for i in range(4)})
    source = str(Path("Faces (64)", part))
    train = ["train", "--data", "pictures", "--name", "pets", "--until", "1", "--init-from"]
    assert main([*train, source]) == 2
    said = capsys.readouterr().err
    assert f"{source} is a diffusers folder; make it a checkpoint first" in said
    command = shlex.split(said.partition("python -m training ")[2])
    assert main(command) == 0

    still = ["--set", "train.learning_rate=0", "--set", "train.batch_size=4"]
    capsys.readouterr()
    assert main([*train, command[-1], *still]) == 0
    converted, pets = load_model(Path(command[-1])), load_model(Path("checkpoints/pets"))
    weights = dict(pets.network.state_dict())
    assert weights.pop("class_embedding.weight").shape[0] == 3  # cat, dog and none
    assert_same_tensors(weights, theirs.unet.state_dict())
    assert f"begins from {converted.manifest.version}: {len(weights)} of " in (
        capsys.readouterr().err
    )
    assert pets.manifest.diffusion == converted.manifest.diffusion
    (parent,) = pets.manifest.training["lineage"]
    assert parent["model"] == converted.manifest.version


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_our_checkpoint_survives_the_way_to_diffusers_and_back(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / "a", "tiny", step=7)
    weights = {name: value.to(dtype) for name, value in load_file(folder / WEIGHTS).items()}
    before = replace(read_manifest(folder), step=8, quality={"score": 1})
    folder = save_checkpoint(tmp_path / "a", before, weights=weights)

    convert(folder, tmp_path / "theirs")
    written = DDPMPipeline.from_pretrained(tmp_path / "theirs", dtype=dtype)
    assert_same_tensors(written.unet.state_dict(), weights)
    convert(tmp_path / "theirs", tmp_path / "b" / "tiny")
    after = tmp_path / "b" / "tiny" / "0000008"
    assert_same_tensors(load_file(after / WEIGHTS), weights)
    assert read_manifest(after) == read_manifest(folder)


@pytest.mark.parametrize(
    "diffusion",
    [
        Diffusion(schedule="linear", timesteps=1000, prediction="eps", variance="fixedlarge"),
        Diffusion(schedule="linear", timesteps=200, prediction="v", clip=False),
        Diffusion(schedule="linear", timesteps=10, prediction="eps"),
        Diffusion(schedule="linear", timesteps=300, prediction="eps", beta_range=(1e-4, 0.02)),
        Diffusion(schedule="scaled_linear", timesteps=64, prediction="x0", beta_range=(1e-3, 0.2)),
        Diffusion(schedule="cosine", timesteps=512, prediction="v"),
        Diffusion(schedule="exponential", timesteps=1000, prediction="eps"),
        Diffusion(schedule="sigmoid", timesteps=200, prediction="x0"),
    ],
    ids=lambda d: f"{d.schedule}-{d.timesteps}",
)
def test_diffusers_runs_the_same_forward_process(diffusion: Diffusion, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, step=1)
    manifest = replace(read_manifest(folder), step=2, diffusion=diffusion)
    folder = save_checkpoint(tmp_path, manifest, weights=load_file(folder / WEIGHTS))
    result = convert(folder, tmp_path / "theirs")
    theirs = DDPMPipeline.from_pretrained(tmp_path / "theirs").scheduler
    assert isinstance(theirs, DDPMScheduler)
    ours = torch.from_numpy(diffusion.build_schedule().alpha_bar)
    torch.testing.assert_close(theirs.alphas_cumprod.double(), ours, rtol=0, atol=1e-6)
    written_out = theirs.config["trained_betas"] is not None
    assert written_out == (diffusion.schedule in ("exponential", "sigmoid") or len(ours) == 10)
    assert any("trained_betas" in note for note in result.notes) == written_out

    (tmp_path / "theirs" / "emaki.json").unlink()
    assert convert(tmp_path / "theirs", tmp_path / "back").manifest.diffusion == diffusion


def test_ddim_and_its_own_options_are_read() -> None:
    theirs = DDIMScheduler(
        500, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False
    )
    assert to_diffusion("scheduler", theirs.config) == Diffusion(
        schedule="cosine", timesteps=500, prediction="v", clip=False
    )


# google/ddpm-cifar10-32 as it is published: diffusers 0.0.4, everything in one folder.
CIFAR10_UNET: dict[str, Any] = {
    "_class_name": "UNet2DModel",
    "_diffusers_version": "0.0.4",
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256],
    "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 32,
    "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}
CIFAR10_SCHEDULER: dict[str, Any] = {
    "_class_name": "DDPMScheduler",
    "_diffusers_version": "0.1.1",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "trained_betas": None,
    "variance_type": "fixed_large",
}


def test_google_ddpm_cifar10_32_has_its_published_size() -> None:
    config = to_network("config.json", CIFAR10_UNET, null_class=None)
    with torch.device("meta"):
        assert sum(p.numel() for p in UNet(config).parameters()) == 35_746_307


def test_an_older_repository_with_older_names_converts(tmp_path: Path) -> None:
    small = {**CIFAR10_UNET, "block_out_channels": [8, 16, 16, 16], "norm_num_groups": 4}
    theirs = UNet2DModel.from_config(small).eval()
    source = tmp_path / "older"
    source.mkdir()
    (source / "config.json").write_text(json.dumps(small))
    (source / "scheduler_config.json").write_text(json.dumps(CIFAR10_SCHEDULER))
    index = {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]}
    (source / "model_index.json").write_text(json.dumps(index))
    weights = {}
    for name, value in theirs.state_dict().items():
        for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value")):
            name = name.replace(f".{new}.", f".{old}.")
        weights[name.replace(".to_out.0.", ".proj_attn.")] = value
    assert any(".query." in name for name in weights)
    save_file(weights, source / "diffusion_pytorch_model.safetensors")

    convert(source, tmp_path / "ddpm-cifar10-32")
    model = load_model(tmp_path / "ddpm-cifar10-32")
    assert model.manifest.diffusion == Diffusion(
        schedule="linear", timesteps=1000, prediction="eps", variance="fixedlarge"
    )
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([1, 900])
    with torch.no_grad():
        torch.testing.assert_close(model.network(x, t), theirs(x, t).sample, atol=2e-5, rtol=1e-4)


def test_the_null_class_is_what_one_says(tmp_path: Path) -> None:
    pipeline(num_class_embeds=5).save_pretrained(tmp_path / "theirs")
    plain = convert(tmp_path / "theirs", tmp_path / "plain")
    assert plain.manifest.null_class is None
    assert plain.manifest.classes == ("0", "1", "2", "3", "4")
    assert any("--null-class" in note for note in plain.notes)
    assert main(["convert", f"{tmp_path}/theirs", f"{tmp_path}/last", "--null-class", "4"]) == 0
    last = read_manifest(resolve(tmp_path / "last"))
    assert (last.null_class, last.classes) == (4, ("0", "1", "2", "3"))

    kept = write_checkpoint(tmp_path, "tiny")
    convert(kept, tmp_path / "with")
    assert convert(tmp_path / "with", tmp_path / "kept").manifest.null_class == 3
    none = convert(tmp_path / "with", tmp_path / "none", null_class=None).manifest
    assert (none.null_class, none.defaults.guidance_scale) == (None, 1.0)


def test_weights_changed_in_diffusers_lose_their_figures_not_their_names(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "tiny")
    manifest = replace(read_manifest(folder), step=2, quality={"score": 1})
    convert(
        save_checkpoint(tmp_path, manifest, weights=load_file(folder / WEIGHTS)),
        tmp_path / "theirs",
    )
    tuned = DDPMPipeline.from_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        tuned.unet.conv_in.bias.add_(1)
    tuned.unet.save_pretrained(tmp_path / "theirs" / "unet")
    result = convert(tmp_path / "theirs", tmp_path / "tuned")
    assert result.manifest.classes == manifest.classes
    assert result.manifest.quality == {}
    assert any("quality figures are dropped" in note for note in result.notes)


def test_a_bare_network_folder_is_taken_for_an_ordinary_ddpm(tmp_path: Path) -> None:
    theirs = pipeline()
    theirs.unet.save_pretrained(tmp_path / "bare")
    result = convert(tmp_path / "bare", tmp_path / "ours")
    assert result.manifest.diffusion.schedule == "linear"
    assert any("DDPMScheduler's defaults are assumed" in note for note in result.notes)

    theirs.scheduler = DDPMScheduler(300, beta_schedule="squaredcos_cap_v2")
    theirs.save_pretrained(tmp_path / "whole")
    part = convert(tmp_path / "whole" / "unet", tmp_path / "part")
    assert (part.manifest.diffusion.schedule, part.notes) == ("cosine", ())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"center_input_sample": True}, "center_input_sample = true is not supported; supported"),
        ({"time_embedding_type": "fourier"}, 'time_embedding_type = "fourier" is not supported'),
        ({"time_embedding_dim": 9}, "time_embedding_dim = 9 is not supported; supported: null, 32"),
        ({"mid_block_type": None}, "mid_block_type = null is not supported"),
        ({"mid_block_scale_factor": 1.5}, "mid_block_scale_factor = 1.5 is not supported"),
        ({"downsample_padding": 2}, "downsample_padding = 2 is not supported; supported: 0, 1"),
        ({"downsample_type": "resnet"}, 'downsample_type = "resnet" is not supported'),
        ({"upsample_type": "resnet"}, 'upsample_type = "resnet" is not supported'),
        ({"act_fn": "gelu"}, 'act_fn = "gelu" is not supported; supported: silu, swish'),
        ({"attn_norm_num_groups": 2}, "attn_norm_num_groups = 2 is not supported"),
        ({"resnet_time_scale_shift": "scale_shift"}, 'resnet_time_scale_shift = "scale_shift"'),
        ({"class_embed_type": "timestep"}, 'class_embed_type = "timestep" is not supported'),
        ({"out_channels": 6}, "out_channels = 6 is not supported; supported: in_channels = 3"),
        ({"sample_size": None}, "sample_size = null is not supported"),
        ({"sample_size": 9}, "size 9x9 is not divisible by 2"),
        ({"attention_head_dim": 3}, "channels are not divisible by head_dim 3"),
        ({"down_block_types": ["SkipDownBlock2D"] * 2}, 'down_block_types = "SkipDownBlock2D"'),
        (
            {"up_block_types": ["UpBlock2D", "UpBlock2D"]},
            "supported: AttnUpBlock2D, UpBlock2D",
        ),
        ({"cross_attention_dim": 768}, "cross_attention_dim = 768 is no option that Emaki knows"),
        ({"layers_per_block": "two"}, "layers_per_block = 'two' is not int"),
        ({"_class_name": "UNet2DConditionModel"}, '_class_name = "UNet2DConditionModel" is not'),
    ],
)
def test_an_unsupported_network_is_refused_by_name_and_value(
    option: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        to_network("unet/config.json", {**UNET, **option}, null_class=None)
    assert str(caught.value).startswith("unet/config.json")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"_class_name": "PNDMScheduler"}, '"PNDMScheduler" is not supported; supported: DDPM'),
        ({"beta_schedule": "sigmoid"}, 'beta_schedule = "sigmoid" is not supported'),
        ({"trained_betas": [0.1] * 1000}, "trained_betas = [0.1, 0.1"),
        ({"trained_betas": "many"}, 'trained_betas = "many" is not supported; supported: null, or'),
        ({"variance_type": "learned_range"}, 'variance_type = "learned_range" is not supported'),
        ({"prediction_type": "flow"}, "supported: epsilon, v_prediction, sample"),
        ({"clip_sample_range": 2.0}, "clip_sample_range = 2.0 is not supported; supported: 1.0"),
        ({"thresholding": True}, "thresholding = true is not supported"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr = true is not supported"),
        ({"beta_end": 2.0}, "does not rise within 0 ... 0.999"),
        ({"num_train_timesteps": 0}, "division by zero"),
        ({"num_train_timesteps": 1}, "a schedule has 2 to 10000 timesteps, not 1"),
    ],
)
def test_an_unsupported_scheduler_is_refused_by_name_and_value(
    option: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        to_diffusion("scheduler/scheduler_config.json", option)
    assert message in str(caught.value)


def test_what_cannot_be_converted_is_one_line_and_exit_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*arguments: str) -> str:
        assert main(["convert", *arguments]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        return said

    theirs, ours = tmp_path / "theirs", f"{tmp_path}/ours"
    small, full = f"{write_checkpoint(tmp_path, 'small')}", tmp_path / "full"
    full.mkdir()
    with largest_file(1000):
        assert "File too large" in refusal(small, f"{full}/ours")
    assert not list(full.iterdir())
    pipeline().save_pretrained(theirs)
    mine = write_checkpoint(tmp_path, "tiny")
    assert "neither a checkpoint of ours nor" in refusal(f"{tmp_path}/none", ours)
    assert "exists already; give a folder that does not" in refusal(f"{mine}", f"{theirs}")
    assert "holds checkpoints already" in refusal(f"{theirs}", f"{tmp_path}/tiny")
    assert "cannot be a model's name" in refusal(f"{theirs}", f"{tmp_path}/Not a name")
    assert "neither a label" in refusal(f"{theirs}", ours, "--null-class", "last")
    assert "null class 2 is not among" in refusal(f"{theirs}", ours, "--null-class", "2")
    assert "null class 4 is not among" in refusal(f"{mine}", ours, "--null-class", "4")

    weights = theirs / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "stray.weight": torch.zeros(1)}, weights)
    assert "has an unknown tensor stray.weight" in refusal(f"{theirs}", ours)
    save_file({k: v for k, v in tensors.items() if k != "conv_in.bias"}, weights)
    assert "lacks tensor conv_in.bias" in refusal(f"{theirs}", ours)
    save_file({**tensors, "conv_in.bias": torch.zeros(3)}, weights)
    assert "conv_in.bias has shape [3]" in refusal(f"{theirs}", ours)
    weights.write_bytes(b"nothing")
    assert "cannot be read" in refusal(f"{theirs}", ours)
    weights.rename(weights.with_suffix(".bin"))
    assert "rewrite it as safetensors where you trust it" in refusal(f"{theirs}", ours)
    (theirs / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    assert "supported: DDPMPipeline, DDIMPipeline, StableDiffusionPipeline" in refusal(
        f"{theirs}", ours
    )
    assert not (tmp_path / "ours").exists()


def test_the_shipped_model_draws_in_diffusers(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[3] / "checkpoints" / "fashion-mnist"
    convert(shipped, tmp_path / "theirs")
    theirs = DDPMPipeline.from_pretrained(tmp_path / "theirs").unet.eval()
    model = load_model(shipped)
    x, t, labels = torch.randn(2, 1, 28, 28), torch.tensor([3, 800]), torch.tensor([8, 10])
    with torch.no_grad():
        torch.testing.assert_close(
            theirs(x, t, class_labels=labels).sample,
            model.network(x, t, labels),
            atol=2e-5,
            rtol=1e-4,
        )
