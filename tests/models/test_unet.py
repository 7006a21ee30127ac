"""The network against the real diffusers package."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel, UNet2DModel

from models.unet import TextAttention, UNet, UNetConfig, timestep_embedding
from models.unet.transformer import attend


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
    seen: list[torch.Tensor] = []
    for block in theirs.down_blocks:  # each gives back what leaves it, and what is kept of it
        block.register_forward_hook(
            lambda _, __, found: seen.append(found[1][config.blocks_per_level - 1])
        )
    theirs.mid_block.register_forward_hook(lambda _, __, found: seen.append(found))
    with torch.no_grad():
        expected = theirs(x, t, class_labels=labels).sample
        torch.testing.assert_close(ours(x, t, labels), expected, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(ours.features(x, t, labels), seen, atol=2e-5, rtol=1e-4)


def stable_diffusion(text: TextAttention, **changes: Any) -> UNetConfig:
    """Its four levels, two blocks in each and attention at all but the lowest; a tenth as wide."""
    settings: dict[str, Any] = {
        "channels": 4,
        "size": (16, 16),
        "block_channels": (32, 64, 128, 128),
        "attention_levels": (True, True, True, False),
        "text": text,
    }
    return UNetConfig(**{**settings, **changes})


TEXT_NETWORKS = {
    "1.x": stable_diffusion(TextAttention(width=48, heads=(8,) * 4, layers=(1,) * 4)),
    "2.x": stable_diffusion(
        TextAttention(width=64, heads=(2, 4, 8, 8), layers=(1,) * 4, linear_projection=True)
    ),
    "several layers": stable_diffusion(
        TextAttention(width=48, heads=(4, 4, 2), layers=(1, 2, 3)),
        block_channels=(32, 32, 64),
        attention_levels=(False, True, True),
        blocks_per_level=1,
        size=(8, 12),
        norm_groups=16,
        channels=3,
    ),
}


@pytest.mark.parametrize("name", TEXT_NETWORKS)
def test_network_with_text_is_diffusers_network(name: str) -> None:
    config = TEXT_NETWORKS[name]
    assert config.text is not None
    down = ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in config.attention_levels]
    up = ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(config.attention_levels)]
    torch.manual_seed(0)
    theirs = UNet2DConditionModel(
        sample_size=config.size,
        in_channels=config.channels,
        out_channels=config.channels,
        block_out_channels=config.block_channels,
        layers_per_block=config.blocks_per_level,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        cross_attention_dim=config.text.width,
        attention_head_dim=config.text.heads,  # which is what the number of heads is called there
        transformer_layers_per_block=config.text.layers,
        use_linear_projection=config.text.linear_projection,
        norm_num_groups=config.norm_groups,
    ).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # norms too are random, not ones and zeros
            parameter.add_(torch.randn_like(parameter) * 0.02)
    ours = UNet(config).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x, text = torch.randn(3, config.channels, *config.size), torch.randn(3, 7, config.text.width)
    t = torch.tensor([0, 437, 999])
    with torch.no_grad():
        expected = theirs(x, t, encoder_hidden_states=text).sample
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(x, t, text), expected, atol=1e-5, rtol=1e-5)
        other = ours(x, t, text.flip(0))
    assert not torch.allclose(other[0], expected[0], atol=1e-3)


def test_what_is_kept_of_a_text_predicts_what_its_states_do() -> None:
    torch.manual_seed(0)
    asked = TextAttention(width=200, heads=(2, 4, 4), layers=(1, 2, 1))
    shape: dict[str, Any] = {"block_channels": (16, 32, 64), "norm_groups": 16, "channels": 3}
    levels = (False, True, True)
    network = UNet(stable_diffusion(asked, attention_levels=levels, blocks_per_level=1, **shape))
    x, text, t = torch.randn(3, 3, 16, 16), torch.randn(3, 7, 200), torch.tensor([0, 437, 999])
    with torch.no_grad():
        kept = torch.stack([network.listen(states) for states in text])
        # Two layers of 32 channels in three blocks, one of 64 in three and in the middle.
        assert kept.shape == (3, 2, 7, 6 * 32 + 4 * 64)
        expected = network(x, t, text)
        torch.testing.assert_close(network(x, t, kept), expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(network(x, t, kept.flip(0))[0], expected[0], atol=1e-3)
        with pytest.raises(ValueError, match="needs text states"):
            network(x, t, kept[..., 1:])


def test_a_large_network_keeps_a_texts_states_alone() -> None:
    network = UNet(TEXT_NETWORKS["1.x"])  # whose keys and values are fifty times as many numbers
    states = torch.randn(7, 48)
    assert network.listen(states) is states


@pytest.mark.parametrize("count", [7, 32, 77])
def test_bfloat16_keys_that_are_filled_up_change_nothing(count: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, n, 24) for n in (64, count, count))
    query, key, value = (one.bfloat16().requires_grad_() for one in (query, key, value))
    found = attend(query, key, value)
    expected = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
    torch.testing.assert_close(found.float(), expected, atol=1e-2, rtol=1e-2)
    found.sum().backward()
    assert key.grad is not None
    assert key.grad.shape == key.shape


def test_a_network_of_stable_diffusions_size_has_its_parameters() -> None:
    shape: dict[str, Any] = {
        "size": (64, 64),
        "block_channels": (320, 640, 1280, 1280),
    }
    first = stable_diffusion(TextAttention(width=768, heads=(8,) * 4, layers=(1,) * 4), **shape)
    second = stable_diffusion(
        TextAttention(width=1024, heads=(5, 10, 20, 20), layers=(1,) * 4, linear_projection=True),
        **shape,
    )
    with torch.device("meta"):
        counts = [sum(p.numel() for p in UNet(c).parameters()) for c in (first, second)]
    assert counts == [859_520_964, 865_910_724]  # as diffusers counts runwayml's and stabilityai's


def test_a_network_with_text_needs_text_of_its_width() -> None:
    network = UNet(TEXT_NETWORKS["several layers"])
    x, t = torch.zeros(1, 3, 8, 12), torch.tensor([0])
    for condition in (None, torch.tensor(1), torch.tensor([1]), torch.zeros(1, 7, 47)):
        with pytest.raises(ValueError, match=r"needs text states \(B, L, 48\)"):
            network(x, t, condition)


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
        ({"text": TextAttention(width=8, heads=(3,), layers=(1,))}, "not divisible by 3 heads"),
        ({"text": TextAttention(width=8, heads=(2,), layers=())}, "each of 1 levels"),
        ({"text": TextAttention(width=0, heads=(2,), layers=(1,))}, "text.width = 0"),
        (
            {"text": TextAttention(width=8, heads=(2,), layers=(1,)), "num_class_embeds": 3},
            "neither classes nor head_dim",
        ),
        (
            {"text": TextAttention(width=8, heads=(2,), layers=(1,)), "mid_attention": False},
            "attention at its lowest point",
        ),
    ],
)
def test_impossible_networks_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**changes)
