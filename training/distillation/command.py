"""`python -m training distill METHOD MODEL`: a student of a trained model, or what draws it."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from models.arithmetic import computes_bfloat16
from models.checkpoint import load_model, read_manifest, resolve
from models.manifest import Manifest
from training.distillation.adversarial import AdversarialObjective
from training.distillation.consistency import ConsistencyObjective
from training.distillation.discriminative import DiscriminativeObjective
from training.distillation.guidance import GuidanceObjective
from training.distillation.learn import learn
from training.distillation.levels import find
from training.distillation.options import (
    ON_ITSELF,
    Distillation,
    Method,
    distilled_by,
    load_distillation,
)
from training.distillation.teacher import TaughtObjective, Teacher
from training.encoding.inputs import prepare_as
from training.errors import TrainingError
from training.judging.drawing import add_guidance
from training.judging.features import KNOWN
from training.pictures.data import Pictures, has_grown
from training.pictures.mixture import Asked
from training.run.attention import use_plain_attention
from training.run.job import carry_out, parent_of
from training.run.lesson import Lesson
from training.run.lineage import Parent, summary
from training.run.material import with_sources

_OBJECTIVES: dict[Method, type[TaughtObjective]] = {
    "guidance": GuidanceObjective,
    "consistency": ConsistencyObjective,
    "adversarial": AdversarialObjective,
    "discriminative": DiscriminativeObjective,
}
_DATA: dict[str, Any] = {
    "action": "append",
    "required": True,
    "metavar": "PATH[=WEIGHT]",
    "help": "what it was trained on; as train's",
}
_HELP = {
    "guidance": "one evaluation a guided step instead of two",
    "consistency": "one to four evaluations a picture",
    "adversarial": "better pictures from a consistency model",
    "discriminative": "better pictures from a diffusion model",
}


def add_parser(subparsers: Any) -> None:
    """Add `distill` to the command line; argparse has no public type for ``subparsers``."""
    distill = subparsers.add_parser("distill", help="better or cheaper pictures of a model")
    methods = distill.add_subparsers(required=True, metavar="METHOD")
    for method in get_args(Method):
        parser = methods.add_parser(method, help=_HELP[method])
        what = ON_ITSELF.get(method, "the teacher")
        parser.add_argument("model", type=Path, help=f"{what}: a model's folder or a step's")
        parser.add_argument("--data", **_DATA)
        parser.add_argument("--name", required=True, help="the new model's name")
        parser.add_argument("--config", type=Path, help="a TOML file: [train] [publish] [distill]")
        parser.add_argument("--out", type=Path, default=Path("checkpoints"))
        parser.add_argument("--steps", type=int, help="length of the learning-rate schedule")
        parser.add_argument("--until", type=int, help="stop after this step, resumable")
        parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
        parser.add_argument("--resume", action="store_true", help="continue the newest checkpoint")
        if method in ON_ITSELF:
            parser.set_defaults(guidance_scale=None, init_from=None)
        else:
            parser.add_argument("--guidance-scale", type=float, help="default: the teacher's")
            parser.add_argument(
                "--init-from",
                type=Path,
                metavar="MODEL",
                help="begin with another student's weights (default: the teacher's)",
            )
        parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
        parser.set_defaults(run=teach, method=method)
    tables = methods.add_parser("tables", help="a solver's coefficients, for a few steps")
    tables.add_argument("model", type=Path, help="a model's folder or a step's")
    tables.add_argument("--steps", type=int, required=True, help="that the table is learned for")
    add_guidance(tables)
    tables.add_argument("--config", type=Path, help="a TOML file: [tables]")
    tables.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    tables.add_argument("--resume", action="store_true", help="go on where a signal stopped it")
    tables.add_argument("--replace", action="store_true", help="a table that is there already")
    tables.add_argument("--set", action="append", default=[], metavar="tables.KEY=VALUE")
    tables.set_defaults(run=learn)
    levels = methods.add_parser("levels", help="a consistency model's levels, found by drawing")
    levels.add_argument("model", type=Path, help="a consistency model's folder or a step's")
    levels.add_argument("--data", **_DATA)
    levels.add_argument(
        "--images", type=int, help="to draw each time (default: 2000, or as many as are unseen)"
    )
    levels.add_argument(
        "--extractor",
        metavar="NAME[=FILE]",
        help=f"{KNOWN} (default: classifier, efficientnet without classes)",
    )
    levels.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    levels.set_defaults(run=find)


def teach(arguments: argparse.Namespace) -> None:
    """Train a student of MODEL, or MODEL itself, and publish its checkpoints."""
    folder, method = resolve(arguments.model), arguments.method
    manifest, parent = read_manifest(folder), parent_of(arguments)
    overrides = list(arguments.set)
    for key in ("train.steps", "distill.guidance_scale"):
        value = getattr(arguments, key.partition(".")[2])
        if value is not None:
            overrides.append(f"{key}={value}")
    asked = [Asked.parse(text) for text in arguments.data]
    run = load_distillation(
        method, manifest, name=arguments.name, path=arguments.config, overrides=overrides
    )
    run = with_sources(run, asked)

    def lesson(data: Pictures, device: torch.device) -> Lesson:
        if bool(manifest.classes) != bool(data.classes):
            raise TrainingError(
                f"{manifest.version} has classes, and the pictures have none: put them into a "
                "folder that is named after their class"
                if manifest.classes
                else f"{manifest.version} knows no classes, and the pictures are in folders of "
                "classes: put them all into one"
            )
        new = [name for name in data.classes if name not in manifest.classes]
        if new:
            raise TrainingError(
                f"{manifest.version} has no class for {', '.join(new)}, and a student has its "
                "teacher's: leave these pictures out, or train the teacher on with them first"
            )
        copy = student(method, folder, manifest, run, data, device=device)
        return copy if parent is None else taught_before(copy, parent, run, data)

    known = manifest.classes if has_grown(manifest) else ()
    carry_out(run, asked, lesson, arguments, known=known)


def student(
    method: Method,
    folder: Path,
    manifest: Manifest,
    run: Distillation,
    data: Pictures,
    *,
    device: torch.device,
) -> Lesson:
    """A copy of the teacher, without its dropout, and what it is to learn."""
    model = load_model(folder, device=device)
    plain = device.type == "cpu" and not run.train.compile
    if plain and run.train.bf16 and computes_bfloat16(device):
        use_plain_attention(model.network)
    teacher = Teacher(model, run.guidance)
    inputs = prepare_as(manifest, folder, data, flip=run.data.flip, device=device, say=_say)
    facts: dict[str, Any] = {
        **inputs.facts,
        "teacher": teacher.identity,
        "distilled": run.learned(method, manifest),
    }
    if method in ON_ITSELF:
        facts |= Parent(model).facts()
    objective = _OBJECTIVES[method](run, teacher, inputs, device=device)
    return Lesson(
        shape=replace(manifest.network, dropout=0.0),
        objective=objective,
        inputs=inputs,
        weights={name: value.clone() for name, value in model.network.state_dict().items()},
        distilled=distilled_by(method, manifest, run),
        facts={**facts, **objective.facts},
    )


def taught_before(student: Lesson, parent: Parent, run: Distillation, data: Pictures) -> Lesson:
    """The same lesson for a student that knows something already."""
    assert student.inputs is not None
    parent.require_alike(run, data, autoencoder=student.inputs.facts.get("autoencoder"))
    inherited = parent.weights_for(student.shape, data.classes, run.train.seed)
    _say(summary(parent, inherited))
    return replace(student, weights=inherited.weights, facts={**student.facts, **parent.facts()})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
