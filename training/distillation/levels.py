"""`distill levels MODEL`: where a consistency model's pictures are noised to between evaluations.

The levels are no part of the weights: they are found after training, by drawing. For each number of
steps, one level after the other is moved up or down by a factor as long as the Fréchet distance
falls; what was found is noted before the next number of steps begins.
"""

import argparse
import itertools
from collections.abc import Callable
from dataclasses import replace

from models.checkpoint import MANIFEST, load_model, read_manifest, resolve, write_manifest
from models.distilled import Consistency
from models.manifest import Defaults, Manifest
from training.devices import pick_device
from training.errors import TrainingError
from training.judging.judge import appoint_judge
from training.pictures.data import load_alike
from training.pictures.mixture import Asked
from training.pictures.source import SPLITS

Levels = tuple[float, ...]
_FACTOR = 1.4
_DIGITS = 3
_MOST_IMAGES = 2000


def find(arguments: argparse.Namespace) -> None:
    """`distill levels MODEL`: search, and note what was found in the manifest."""
    folder, device = resolve(arguments.model), pick_device(arguments.device)
    model = load_model(folder, device=device)
    consistency = model.manifest.distilled.consistency
    if consistency is None:
        raise TrainingError(
            f"{model.manifest.version} is no consistency model and has no levels to search for; "
            "make one of it with distill consistency"
        )
    asked = [Asked.parse(text) for text in arguments.data]
    train, test = (load_alike(asked, model.manifest, split=split) for split in SPLITS)
    most = min(_MOST_IMAGES, len(train), len(test))
    judge = appoint_judge(
        train,
        test,
        images=most if arguments.images is None else arguments.images,
        by_class=bool(model.manifest.classes),
        metrics=["distances"],
        extractors=[arguments.extractor] if arguments.extractor else [],
        device=device,
        say=lambda _text: None,
    )

    def distance(levels: Levels) -> float:
        """The Fréchet distance of pictures drawn with these levels."""
        moved = replace(model, manifest=with_levels(model.manifest, levels))
        settings = Defaults(sampler="consistency", steps=len(levels) + 1)
        found = judge.measure(moved, settings)
        (features,) = found.features.values()
        frechet = features.drawn[0].frechet
        print(f"{len(levels) + 1} steps, levels {list(levels)}: {frechet:.3f}", flush=True)
        return frechet

    for start in consistency.levels[1:]:
        best = descend(distance, start)
        write_manifest(folder, with_levels(read_manifest(folder), best))
        print(f"{len(best) + 1} steps: {list(best)}, noted in {folder / MANIFEST}", flush=True)


def descend(distance: Callable[[Levels], float], start: Levels) -> Levels:
    """Move each level in turn while the distance falls, until none can be moved any more."""
    best, lowest, known = start, distance(start), {start}
    moved = True
    while moved:
        moved = False
        for index in range(len(start)):
            for factor in (_FACTOR, 1 / _FACTOR):
                tried = _moved(best, index, factor)
                while tried not in known and _falls(tried):
                    known.add(tried)
                    found = distance(tried)
                    if found >= lowest:
                        break
                    best, lowest, moved = tried, found, True
                    tried = _moved(best, index, factor)
    return best


def with_levels(manifest: Manifest, levels: Levels) -> Manifest:
    """The manifest with these levels for as many steps as they are for."""
    consistency = manifest.distilled.consistency
    assert consistency is not None
    changed = list(consistency.levels)
    changed[len(levels)] = levels
    distilled = replace(manifest.distilled, consistency=Consistency(levels=tuple(changed)))
    return replace(manifest, distilled=distilled)


def _moved(levels: Levels, index: int, factor: float) -> Levels:
    moved = float(f"{levels[index] * factor:.{_DIGITS}g}")
    return (*levels[:index], moved, *levels[index + 1 :])


def _falls(levels: Levels) -> bool:
    return all(early > late for early, late in itertools.pairwise(levels))
