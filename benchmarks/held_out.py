"""How often what is drawn from held-out words is nearest to its own reference.

    python -m benchmarks.held_out checkpoints/emoji-64 --data PATH [--saying REGEX]
        [--most 100] [--dtype bf16] [--sheet FILE.png] [--guidance-scale 3] [--steps 20] ...

The captions are those of the data's held-out pictures in which ``--saying``, a regular expression,
is found: by default those of a noun of one skin tone. Each is drawn once, from seeds 0, 1, ... A
reference is the held-out picture of one of these captions; near is near in EfficientNet's features.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe, pick_device
from models import load_model
from training.errors import TrainingError
from training.judging.classifier import to_pixels
from training.judging.drawing import add_settings, asked_settings, draw_pictures
from training.judging.features import open_extractor
from training.pictures.data import Pictures, load_alike
from training.sheets import grid, save_png

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SHOWN, COLUMNS = 24, 12  # on the sheet


def pick_captions(test: Pictures, saying: str, most: int) -> list[int]:
    """Captions that say this, by their numbers, evenly over all that do.

    Raises:
        TrainingError: none does.
    """
    held_out = np.unique(test.labels).tolist()
    found = [index for index in held_out if re.search(saying, test.captions[index])]
    if not found:
        raise TrainingError(f"no held-out caption says {saying!r}; name another with --saying")
    chosen = np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)
    return [found[place] for place in chosen]


def ranks(drawn: Tensor, references: Tensor, of: Tensor) -> Tensor:
    """(N,): how many references of other captions are nearer than the nearest of one's own.

    Args:
        drawn: (N, D) features; picture n is of caption n.
        references: (M, D) features.
        of: (M,) int64, the caption of each reference.
    """
    distances = torch.cdist(drawn.double(), references.double())
    own = of == torch.arange(len(drawn))[:, None]
    nearest = distances.masked_fill(~own, torch.inf).min(1, keepdim=True).values
    return ((distances < nearest) & ~own).sum(1)


def main() -> None:
    """Draw, compare, print; and a sheet of references above what was drawn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=Path("checkpoints/emoji-64"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--saying", default=r"^[^,:]*: [\w-]+ skin tone, \w+$")
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--sheet", type=Path)
    add_settings(parser)
    arguments = parser.parse_args()
    device = pick_device()
    model = load_model(arguments.model, device=device, dtype=DTYPES[arguments.dtype])
    if model.manifest.text is None:
        raise SystemExit(f"{arguments.model} does not draw from words; name one that does")
    test = load_alike(arguments.data, model.manifest, split="test")
    chosen = pick_captions(test, arguments.saying, arguments.most)
    drawn = draw_pictures(
        model,
        asked_settings(model.manifest, arguments),
        images=len(chosen),
        real_labels=np.arange(len(chosen)),
        captions=[test.captions[index] for index in chosen],
        say=lambda _text: None,
    )
    places = np.flatnonzero(np.isin(test.labels, chosen))
    of = np.searchsorted(chosen, test.labels[places])
    references = torch.from_numpy(np.array(test.images[places]))
    features = open_extractor("efficientnet", device=device)
    found = ranks(features(drawn.images), features(references), torch.from_numpy(of))
    hits = int((found == 0).sum())
    print(describe())
    print(
        f"{model.manifest.version}, {drawn.settings}: {hits} of {len(chosen)} captions that say "
        f"{arguments.saying!r} nearest to their own of {len(references)} references; in the "
        f"first five {int((found < 5).sum())}; by chance 1"
    )
    if arguments.sheet:
        shown = np.linspace(0, len(chosen) - 1, min(SHOWN, len(chosen))).round().astype(int)
        own = torch.stack([references[int(np.flatnonzero(of == one)[0])] for one in shown])
        sides = (torch.split(side, COLUMNS) for side in (own, drawn.images[shown]))
        rows = torch.cat([torch.cat(pair) for pair in zip(*sides, strict=True)])
        save_png(grid(to_pixels(rows), columns=COLUMNS), arguments.sheet)


if __name__ == "__main__":
    main()
