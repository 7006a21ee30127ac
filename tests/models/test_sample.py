"""The plain sampling loop: what it draws, and what it never depends on."""

import pytest
import torch
from torch import Tensor

from models.sample import draw, to_uint8
from models.sampler import SAMPLERS, Sampler, build_table
from models.schedule import Schedule
from models.unet import UNet
from tests.support import tiny_config


def network() -> UNet:
    torch.manual_seed(3)
    return UNet(tiny_config()).eval()


def run(unet: UNet, sampler: Sampler = "dpmpp_2m", **arguments: object) -> Tensor:
    table = build_table(Schedule("cosine", 1000), prediction="v", sampler=sampler, steps=6)
    return draw(unet, table, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_image_depends_on_its_own_seed_and_class(sampler: Sampler) -> None:
    unet = network()
    seeds, labels = torch.tensor([4, 5, 6]), torch.tensor([0, 1, 2])
    together = run(unet, sampler, seeds=seeds, labels=labels, guidance_scale=2.0)
    for i in range(3):
        alone = run(
            unet, sampler, seeds=seeds[i : i + 1], labels=labels[i : i + 1], guidance_scale=2.0
        )
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-4)


def test_guidance_one_is_the_class_and_zero_is_no_class() -> None:
    unet = network()
    seeds, labels = torch.tensor([1, 2]), torch.tensor([0, 2])
    null = torch.tensor([3, 3])
    assert torch.equal(
        run(unet, seeds=seeds, labels=labels, guidance_scale=0.0),
        run(unet, seeds=seeds, labels=null, guidance_scale=1.0),
    )
    assert torch.equal(
        run(unet, seeds=seeds, guidance_scale=3.0), run(unet, seeds=seeds, labels=null)
    )
    assert not torch.equal(
        run(unet, seeds=seeds, labels=labels, guidance_scale=3.0),
        run(unet, seeds=seeds, labels=labels, guidance_scale=1.0),
    )


def test_guidance_needs_a_null_class() -> None:
    unet = UNet(tiny_config(null_class=None, num_class_embeds=3)).eval()
    with pytest.raises(ValueError, match=r"guidance_scale 2.0 needs a null class"):
        run(unet, seeds=torch.tensor([1]), labels=torch.tensor([0]), guidance_scale=2.0)


def test_clipped_pictures_stay_in_range() -> None:
    pictures = run(network(), seeds=torch.arange(4))
    assert pictures.abs().max() <= 1


def test_pixels_round_half_to_even_and_clamp() -> None:
    values = torch.tensor([-9.0, -1.0, -1 + 1 / 255, 0.0, 1.0, 9.0])
    assert to_uint8(values).tolist() == [0, 0, 0, 128, 255, 255]
