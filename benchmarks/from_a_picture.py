"""README's rows of before and after. `python -m benchmarks.from_a_picture docs/from-a-picture.png`.

Drawn by the shipped model in the plain loop: a boot; what is begun from it with ever more strength;
what its upper half becomes; and the way to another seed's boot.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from models import Model, load_model
from models.sample import draw, to_uint8
from models.start import Known
from wire.picture import last_steps

_MODEL = Path("checkpoints/fashion-mnist")
_CLASS, _INTO = "Ankle boot", "Sneaker"
_SEED, _OTHER_SEED = 6, 11
_STEPS, _GUIDANCE = 20, 1.5
_STRENGTHS = (0.3, 0.5, 0.6, 0.7, 0.8)
_SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
_SCALE, _GAP = 4, 8
_GREY = 128  # what hides the places that are drawn anew


def drawn(
    model: Model,
    name: str,
    seed: int,
    *,
    known: Known | None = None,
    strength: float = 1.0,
    variation: tuple[Tensor, float] | None = None,
) -> Tensor:
    """One picture, (H, W) uint8."""
    manifest = model.manifest
    table = manifest.build_table("dpmpp_2m", _STEPS, guidance_scale=_GUIDANCE)
    rows = last_steps(_STEPS, strength)
    pictures = draw(
        model.network,
        table.last(rows),
        seeds=torch.tensor([seed]),
        labels=torch.tensor([manifest.classes.index(name)]),
        guidance_scale=_GUIDANCE,
        clip=manifest.diffusion.clip,
        known=known,
        variation=variation,
        skipped=_STEPS - rows,
    )
    return to_uint8(pictures)[0, 0]


def rows(model: Model) -> list[list[Tensor]]:
    """Six pictures each, the boot first."""
    boot = drawn(model, _CLASS, _SEED)
    x_0 = boot[None].float() / 127.5 - 1
    kept = torch.ones(1, *boot.shape, dtype=torch.bool)
    kept[:, : boot.shape[0] // 2] = False
    into = [
        drawn(model, _INTO, _SEED, known=Known(x_0), strength=strength) for strength in _STRENGTHS
    ]
    held = Known(x_0, kept, begins=False)
    halves = [drawn(model, _CLASS, seed, known=held) for seed in range(4)]
    hidden = torch.where(kept[0], boot, torch.full_like(boot, _GREY))
    other = torch.tensor([_OTHER_SEED])
    way = [drawn(model, _CLASS, _SEED, variation=(other, share)) for share in _SHARES]
    return [[boot, *into], [boot, hidden, *halves], [boot, *way]]


def sheet(pictures: list[list[Tensor]]) -> Image.Image:
    """Laid out on white, enlarged."""
    height, width = (side * _SCALE for side in pictures[0][0].shape)
    columns = len(pictures[0])
    size = (columns * (width + _GAP) - _GAP, len(pictures) * (height + _GAP) - _GAP)
    whole = Image.new("L", size, 255)
    for y, row in enumerate(pictures):
        for x, levels in enumerate(row):
            tile = Image.fromarray(levels.numpy())
            tile = tile.resize((width, height), Image.Resampling.NEAREST)
            whole.paste(tile, (x * (width + _GAP), y * (height + _GAP)))
    return whole


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    sheet(rows(load_model(_MODEL))).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
