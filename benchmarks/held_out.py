"""How often what is drawn from held-out words is nearest to its own reference.

    python -m benchmarks.held_out checkpoints/emoji-64 --data PATH [--saying REGEX] [--own REGEX]
        [--most 100] [--dtype fp32] [--sheet FILE.png] [--guidance-scale 3] [--steps 20] ...

The captions are those of the data's held-out pictures in which ``--saying``, a regular expression,
is found: by default those of a noun of one skin tone. What ``--own`` finds in them, the noun and
the tone, is drawn once, in each style by turns, from seeds 0, 1, ... References are the held-out
pictures of all these captions; the same noun and tone makes one its own, in either style. Near is
near in EfficientNet's features.
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


def pick_captions(test: Pictures, saying: str, own: str, most: int) -> list[list[int]]:
    """Captions that say this, by their numbers: those of one combination together.

    Raises:
        TrainingError: none does.
    """
    combinations: dict[str, list[int]] = {}
    for index in np.unique(test.labels).tolist():
        caption = test.captions[index]
        if re.search(saying, caption) and (what := re.search(own, caption)):
            combinations.setdefault(what[0], []).append(index)
    if not combinations:
        raise TrainingError(f"no held-out caption says {saying!r}; name another with --saying")
    found = list(combinations.values())
    chosen = np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)
    return [found[place] for place in chosen]


def ranks(drawn: Tensor, references: Tensor, of: Tensor) -> Tensor:
    """(N,): how many other combinations have a reference nearer than the nearest of one's own.

    Args:
        drawn: (N, D) features; picture n is of combination n.
        references: (M, D) features.
        of: (M,) int64, the combination of each reference, each of N at least once.
    """
    distances = torch.cdist(drawn.double(), references.double())
    nearest = torch.full((len(drawn), len(drawn)), torch.inf, dtype=torch.float64)
    nearest.scatter_reduce_(1, of.expand(len(drawn), -1), distances, "amin")
    return (nearest < nearest.diag()[:, None]).sum(1)


def main() -> None:
    """Draw, compare, print; and a sheet of references above what was drawn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=Path("checkpoints/emoji-64"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--saying", default=r"^[^,:]*: [\w-]+ skin tone, \w+$")
    parser.add_argument("--own", default="^[^,]*", help="what of a caption names the combination")
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--sheet", type=Path)
    add_settings(parser)
    arguments = parser.parse_args()
    device = pick_device()
    model = load_model(arguments.model, device=device, dtype=DTYPES[arguments.dtype])
    if model.manifest.text is None:
        raise SystemExit(f"{arguments.model} does not draw from words; name one that does")
    test = load_alike(arguments.data, model.manifest, split="test")
    chosen = pick_captions(test, arguments.saying, arguments.own, arguments.most)
    said = [own[turn % len(own)] for turn, own in enumerate(chosen)]
    drawn = draw_pictures(
        model,
        asked_settings(model.manifest, arguments),
        images=len(chosen),
        real_labels=np.arange(len(chosen)),
        captions=[test.captions[index] for index in said],
        say=lambda _text: None,
    )
    combination = {caption: one for one, own in enumerate(chosen) for caption in own}
    places = np.flatnonzero(np.isin(test.labels, list(combination)))
    of = np.array([combination[label] for label in test.labels[places].tolist()])
    references = torch.from_numpy(np.array(test.images[places]))
    features = open_extractor("efficientnet", device=device)
    found = ranks(features(drawn.images), features(references), torch.from_numpy(of))
    hits = int((found == 0).sum())
    print(describe())
    print(
        f"{model.manifest.version}, {drawn.settings}: {hits} of {len(chosen)} combinations "
        f"that say {arguments.saying!r} nearest to their own of {len(references)} references; "
        f"in the first five {int((found < 5).sum())}; by chance 1"
    )
    if arguments.sheet:
        shown = np.linspace(0, len(chosen) - 1, min(SHOWN, len(chosen))).round().astype(int)
        of_said = [int(np.flatnonzero(test.labels[places] == said[one])[0]) for one in shown]
        own = references[of_said]
        sides = (torch.split(side, COLUMNS) for side in (own, drawn.images[shown]))
        rows = torch.cat([torch.cat(pair) for pair in zip(*sides, strict=True)])
        save_png(grid(to_pixels(rows), columns=COLUMNS), arguments.sheet)


if __name__ == "__main__":
    main()
