"""`evaluate MODEL`: from a command line to a table, JSON, a page, and figures in the manifest."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from models.checkpoint import MANIFEST, load_model, read_manifest, resolve
from training.devices import pick_device
from training.judging.drawing import add_settings, asked_settings
from training.judging.features import KNOWN
from training.judging.figures import table
from training.judging.history import note
from training.judging.judge import DEFAULT_IMAGES, METRICS, appoint_judge, default_metrics
from training.judging.report import write_report
from training.judging.results import MEASURED, VARYING, Evaluation
from training.pictures.data import load_alike
from training.pictures.mixture import Asked
from training.pictures.source import SPLITS

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What the command line takes."""
    parser = subparsers.add_parser(
        "evaluate", help="measure a model; at its defaults, note the figures in its manifest"
    )
    parser.add_argument("model", type=Path, help="a model's folder or one checkpoint's")
    parser.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="PATH[=WEIGHT]",
        help="the data it was trained on; as train's",
    )
    parser.add_argument(
        "--images",
        type=int,
        help=f"pictures to draw (default: {DEFAULT_IMAGES}, or as many as there are unseen)",
    )
    parser.add_argument(
        "--metrics", nargs="+", choices=METRICS, help="default: all that the data allows"
    )
    parser.add_argument(
        "--extractor",
        action="append",
        default=[],
        metavar="NAME[=FILE]",
        help=f"{KNOWN}; may be given several times (default: classifier, efficientnet without "
        "classes)",
    )
    add_settings(parser)
    parser.add_argument("--dtype", choices=_DTYPES, default="fp32", help="to draw in")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page of its own, too")
    parser.set_defaults(run=evaluate)


def evaluate(arguments: argparse.Namespace) -> None:
    """`evaluate MODEL`: measure; at the model's defaults, note the figures in its manifest."""
    folder = resolve(arguments.model)
    device = pick_device(arguments.device)
    model = load_model(folder, device=device, dtype=_DTYPES[arguments.dtype])
    manifest = model.manifest
    settings = asked_settings(manifest, arguments)
    asked = [Asked.parse(text) for text in arguments.data]
    train, test = (load_alike(asked, manifest, split=split) for split in SPLITS)
    judge = appoint_judge(
        train,
        test,
        images=arguments.images,
        by_class=bool(manifest.classes),
        metrics=arguments.metrics or default_metrics(classes=bool(manifest.classes)),
        extractors=arguments.extractor,
        device=device,
        say=_say,
    )
    found = judge.measure(model, settings)
    if settings == manifest.defaults:
        _note(folder, found)
    if arguments.json:
        print(json.dumps({"model": manifest.version, **_quality(found)}))
    else:
        print("\n".join(table(manifest, found)))
    if arguments.html:
        write_report(
            arguments.html, manifest, found, train=train, chosen=judge.chosen_test, test=test
        )
        _say(f"wrote {arguments.html}")


def _quality(found: Evaluation) -> dict[str, Any]:
    agreement = {} if found.agreement is None else {"class_agreement": found.agreement.to_json()}
    return {**agreement, "evaluation": found.to_json()}


def _note(folder: Path, found: Evaluation) -> None:
    """Keep the figures; what else was measured under the same conditions stays beside them."""
    fresh = _quality(found)
    old, new = read_manifest(folder).quality.get("evaluation", {}), fresh.pop("evaluation")
    measured = {name: new.pop(name) for name in MEASURED if name in new}
    if any(measured.values()):
        same = all(old.get(name) == value for name, value in new.items() if name not in VARYING)
        kept = {name: old.get(name) for name in MEASURED} if same else {}
        features = {**(kept.pop("features", None) or {}), **measured.pop("features")}
        others = {name: value or kept.get(name) for name, value in measured.items()}
        fresh["evaluation"] = {**new, "features": features, **others}
    note(folder, fresh)
    _say(f"noted in {folder / MANIFEST}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
