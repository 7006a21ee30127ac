"""The network against the real diffusers package."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DModel

from models.unet import UNet, UNetConfig, timestep_embedding


def reference(c: UNetConfig) -> UNet2DModel:
    return UNet2DModel(
        sample_size=c.size,
        in_channels=c.channels,
        out_channels=c.channels,
        block_out_channels=c.block_channels,
        layers_per_block=c.blocks_per_level,
        down_block_types=tuple(
            "AttnDownBlock2D" if a else "DownBlock2D" for a in c.attention_levels
        ),
        up_block_types=tuple(
            "AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(c.attention_levels)
        ),
        attention_head_dim=c.head_dim,
        norm_num_groups=c.norm_groups,
        norm_eps=c.norm_eps,
        num_class_embeds=c.num_class_embeds,
        downsample_padding=c.downsample_padding,
        freq_shift=c.freq_shift,
        flip_sin_to_cos=c.flip_sin_to_cos,
        add_attention=c.mid_attention,
    ).eval()


VARIANTS: dict[str, dict[str, Any]] = {
    "classes": {"num_class_embeds": 11, "null_class": 10},
    "two blocks": {"blocks_per_level": 2, "attention_levels": (False, True, True)},
    "one level": {"block_channels": (16,), "attention_levels": (True,)},
    "heads": {"head_dim": 8},
    "rgb": {"channels": 3},
    "not square": {"size": (8, 16)},
    "asymmetric padding": {"downsample_padding": 0},
    "older embedding": {"freq_shift": 1.0, "flip_sin_to_cos": False, "norm_eps": 1e-6},
    "no middle attention": {"mid_attention": False},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_network_is_diffusers_network(variant: str) -> None:
    settings: dict[str, Any] = {
        "channels": 1,
        "size": (16, 16),
        "block_channels": (16, 16, 32),
        "blocks_per_level": 1,
        "attention_levels": (False, False, True),
        "norm_groups": 8,
    }
    config = UNetConfig(**{**settings, **VARIANTS[variant]})
    torch.manual_seed(0)
    ours = UNet(config).eval()
    theirs = reference(config)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(3, config.channels, *config.size)
    t = torch.tensor([0.0, 437.5, 999.0])
    labels = torch.tensor([0, 3, 10]) if config.num_class_embeds else None
    with torch.no_grad():
        expected = theirs(x, t, class_labels=labels).sample
        torch.testing.assert_close(ours(x, t, labels), expected, atol=2e-5, rtol=1e-4)


def tiny(**changes: Any) -> UNetConfig:
    settings: dict[str, Any] = {
        "channels": 1,
        "size": (8, 8),
        "block_channels": (8,),
        "attention_levels": (False,),
        "norm_groups": 4,
    }
    return UNetConfig(**{**settings, **changes})


def test_no_labels_means_the_null_class() -> None:
    network = UNet(tiny(num_class_embeds=4, null_class=3)).eval()
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([1, 2])
    torch.testing.assert_close(network(x, t), network(x, t, torch.tensor([3, 3])))


def test_labels_are_needed_without_a_null_class() -> None:
    network = UNet(tiny(num_class_embeds=4))
    with pytest.raises(ValueError, match="no null class"):
        network(torch.zeros(1, 1, 8, 8), torch.tensor([0]))


def test_labels_are_refused_without_classes() -> None:
    network = UNet(tiny())
    with pytest.raises(ValueError, match="without classes"):
        network(torch.zeros(1, 1, 8, 8), torch.tensor([0]), torch.tensor([0]))


def test_embedding_takes_fractional_timesteps() -> None:
    whole, half = timestep_embedding(torch.tensor([3.0, 3.5]), 16)
    assert not torch.equal(whole, half)
    torch.testing.assert_close(whole, timestep_embedding(torch.tensor([3]), 16)[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (9, 8), "block_channels": (8, 8), "attention_levels": (False,) * 2}, "9x8"),
        ({"norm_groups": 3}, "3 norm groups"),
        ({"head_dim": 5}, "head_dim 5"),
        ({"attention_levels": ()}, "0 entries for 1 levels"),
        ({"null_class": 4, "num_class_embeds": 4}, "null class 4"),
        ({"downsample_padding": 2}, "downsample_padding"),
    ],
)
def test_impossible_networks_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**changes)
