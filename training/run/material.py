"""The pictures of a run: those that it learns from, and those that it is judged by."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from training.config import Config, Run, load_config
from training.encoding.inputs import prepare
from training.errors import NoTestPictures, TrainingError
from training.judging.gate import AgreementGate
from training.pictures.data import Pictures, load_pictures
from training.pictures.mixture import Asked
from training.pictures.source import Split
from training.run.heldout import HeldOut
from training.run.lesson import Lesson

_Run = TypeVar("_Run", bound=Run)


def asked_data(
    given: Sequence[str], config: Run, *, begun: Path | None = None
) -> tuple[Asked, ...]:
    """The data sets of the command line, else those of the configuration.

    Args:
        begun: the configuration that a run that goes on has left; it is asked last.

    Raises:
        TrainingError: none of them names one.
    """
    named = given or config.data.paths or ([config.data.path] if config.data.path else [])
    if not named and begun is not None and begun.is_file():
        named = load_config(begun).data.paths
    if not named:
        raise TrainingError(
            "no data: give --data PATH, a folder, a zip or a tar of pictures, or a folder of "
            "shards, parquet or IDX files; docs/training.md says where each preset's data is"
        )
    return tuple(Asked.parse(text) for text in named)


def with_sources(config: _Run, asked: Sequence[Asked]) -> _Run:
    """The configuration with where its pictures are, for the file that is kept beside a run.

    Raises:
        TrainingError: a name that no such file can hold.
    """
    paths = tuple(map(str, asked))
    for path in paths:
        if path.encode(errors="replace").decode() != path:
            raise TrainingError(
                f"--data {path!a} is no name in UTF-8, and cannot be written into a "
                "configuration; rename it, or give a link to it that has another name"
            )
    return replace(config, data=replace(config.data, path=None, paths=paths))


def load_split(
    asked: Path | Sequence[Asked],
    config: Run,
    split: Split,
    *,
    known: tuple[str, ...] = (),
    quiet: bool,
) -> Pictures:
    """A split as the configuration has it.

    Args:
        known: classes that come first; the pictures may have others, and fewer.
    """
    captions = config.captions
    return load_pictures(
        asked,
        split=split,
        size=config.data.size,
        channels=config.data.channels,
        class_names=config.data.class_names,
        known=known,
        extend=bool(known),
        label=config.data.label,
        resize=config.data.resize,
        hold_out=config.data.hold_out,
        caption=captions.caption if captions else None,
        caption_group=captions.group if captions else None,
        quiet=quiet,
    )


def unseen(asked: Path | Sequence[Asked], config: Run, data: Pictures, *, quiet: bool) -> Pictures:
    """The test split, with the classes of the training data in their order."""
    return load_split(asked, config, "test", known=data.classes, quiet=quiet)


def gate_for(
    asked: Path | Sequence[Asked], config: Run, data: Pictures, device: torch.device
) -> AgreementGate:
    """What judges checkpoints before they are published."""
    test = unseen(asked, config, data, quiet=False)
    return AgreementGate(data, test, images=config.publish.gate_images, device=device)


def held_out_for(
    asked: Path | Sequence[Asked],
    config: Run,
    data: Pictures,
    lesson: Lesson,
    device: torch.device,
    *,
    say: Callable[[str], None],
) -> HeldOut | None:
    """What measures the loss on pictures of both kinds; None where it is a teacher's."""
    if not isinstance(config, Config) or lesson.inputs is None:
        return None
    try:
        # What is to be said of these files is said, by the training split's or the gate's loading.
        said = config.publish.gate or data.held_out > 0
        test = unseen(asked, config, data, quiet=said)
        others = prepare(config, test, device=device, say=say, beside=data)
    except NoTestPictures:
        others = None
    return HeldOut(config, lesson.objective, seen=lesson.inputs, unseen=others, device=device)
