"""`python -m training data check PATH...`: what training would see; nothing is trained."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.pictures.data import HOLD_OUT
from training.pictures.labels import Naming
from training.pictures.mixture import Asked
from training.sheets import save_png
from training.survey.look import survey
from training.survey.page import contact_sheet, to_page
from training.survey.words import sentences, to_json


def add_parser(subparsers: Any) -> None:
    """Add `data check` to the command line; argparse has no public type for ``subparsers``."""
    data = subparsers.add_parser("data", help="look at pictures before training")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="count, compare and show what training would see")
    check.add_argument("data", nargs="+", metavar="PATH[=WEIGHT]", help="as train's --data")
    check.add_argument("--label", default="label", help="metadata's field of classes")
    check.add_argument("--caption", help="how captions are made of metadata's fields: '{text}'")
    check.add_argument("--hold-out", type=float, default=HOLD_OUT, help=f"default: {HOLD_OUT}")
    check.add_argument("--no-near", action="store_true", help="look for no near duplicates")
    check.add_argument(
        "--out", type=Path, default=Path("data-check"), help="folder of the page and the sheet"
    )
    check.add_argument("--json", action="store_true", help="one JSON object on standard output")
    check.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """`data check PATH`: a page, a contact sheet, and the same in words."""
    if not 0 <= arguments.hold_out <= 0.5:
        raise TrainingError(f"--hold-out {arguments.hold_out} is not in 0 ... 0.5")
    asked = [Asked.parse(text) for text in arguments.data]
    found = survey(
        asked,
        naming=Naming(field=arguments.label),
        hold_out=arguments.hold_out,
        caption=arguments.caption,
        near=not arguments.no_near,
    )
    print(
        json.dumps(to_json(found), ensure_ascii=False)
        if arguments.json
        else "\n".join(sentences(found))
    )
    if not found.seen:
        raise TrainingError("no picture can be read; training would not begin")
    save_png(contact_sheet(found), arguments.out / "contact-sheet.png")
    name = " and ".join(one.path.name for one in asked)
    (arguments.out / "index.html").write_text(to_page(name, found), encoding="utf-8")
    print(f"wrote {arguments.out / 'index.html'} and contact-sheet.png", file=sys.stderr)
