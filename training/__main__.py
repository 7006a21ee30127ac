"""`python -m training COMMAND`: train, sample, evaluate, publish, convert, inspect."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from models.manifest import CheckpointError
from training import commands
from training.autoencoder import command as autoencoder
from training.conversion import command as conversion
from training.distillation import command as distillation
from training.errors import TrainingError
from training.inspection import command as inspection
from training.judging import command as judging
from training.judging.drawing import add_settings
from training.run import compare, job, posthoc
from training.run.plan import MINUTES
from training.run.tracking import SERVICES
from training.survey import command as survey

_TRAIN = """\
for example:
  %(prog)s configs/mnist.toml --data pictures/ --name mine
  %(prog)s configs/mnist.toml --data pictures/ --name mine --resume
  %(prog)s configs/mnist.toml --set train.batch_size=64 --set 'network.multipliers=[1, 2]'

--set changes what the file says, section and key as they stand there; text is quoted as in TOML.
Each save is a whole checkpoint, which a running worker picks up within seconds."""

_PUBLISH = """\
Choose which step of a model is served: a worker that runs picks it up within seconds, and drawings
that have begun end on the step that they began with. Nothing is deleted, so publishing an earlier
step rolls back, and a later one goes forward again.

  %(prog)s mine 4000"""


def build_parser(
    prog: str = "python -m training",
    *,
    find_model: Callable[[str], Path] = Path,
    find_preset: Callable[[str], Path] = Path,
) -> argparse.ArgumentParser:
    """The command line; each command is a function of its arguments.

    Args:
        find_model, find_preset: where a model, or a configuration, is whose path or name is given.
    """
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    train = subparsers.add_parser(
        "train",
        help="train a model and publish its checkpoints",
        epilog=_TRAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument(
        "config",
        type=find_preset,
        nargs="?",
        help="a TOML file, e.g. configs/fashion-mnist.toml (default: one made for the pictures), "
        "or a folder of pictures, as --data",
    )
    train.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="PATH[=WEIGHT]",
        help="pictures; several times for several data sets (default: data.path)",
    )
    train.add_argument("--out", type=Path, default=Path("checkpoints"), help="default: checkpoints")
    train.add_argument("--name", help="the model's name (default: the configuration's)")
    train.add_argument("--steps", type=int, help="length of the learning-rate schedule")
    train.add_argument("--until", type=int, help="stop after this step, resumable")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    train.add_argument("--resume", action="store_true", help="continue the newest checkpoint")
    train.add_argument(
        "--init-from", type=find_model, metavar="MODEL", help="begin with another model's weights"
    )
    train.add_argument(
        "--minutes", type=float, default=MINUTES, help=f"without CONFIG (default: {MINUTES:g})"
    )
    train.add_argument("--track", choices=SERVICES, help="send the curves there, too")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="one value of the configuration anew, as TOML; may be repeated",
    )
    train.set_defaults(run=job.train)

    sample = subparsers.add_parser("sample", help="draw a grid of pictures; no service needed")
    sample.add_argument("model", type=Path, help="a model's folder or one checkpoint's")
    sample.add_argument("--batch", type=int, default=1, help="pictures (per class of --class all)")
    sample.add_argument("--seed", type=int, default=0, help="picture i uses seed + i")
    sample.add_argument("--class", dest="class_name", help="a class's name or index, or 'all'")
    sample.add_argument("--prompt", action="append", help="a text to draw from; may be repeated")
    sample.add_argument(
        "--negative-prompt", help="what guidance leads away from (default: no text)"
    )
    sample.add_argument("--strip", type=int, default=0, help="frames of a denoising strip instead")
    sample.add_argument("--scale", type=int, default=2, help="enlargement, without smoothing")
    add_settings(sample)
    sample.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    sample.add_argument("--out", type=Path, required=True, help="the PNG to write")
    sample.set_defaults(run=commands.sample)

    judging.add_parser(subparsers)

    publish = subparsers.add_parser(
        "publish",
        help="move LATEST, forward or back",
        description=_PUBLISH,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    publish.add_argument("name", help="the model's")
    publish.add_argument("step", type=int, help="of a checkpoint that is there")
    publish.add_argument("--out", type=Path, default=Path("checkpoints"), help="the models' folder")
    publish.set_defaults(run=commands.publish)

    posthoc.add_parser(subparsers)
    compare.add_parser(subparsers)
    distillation.add_parser(subparsers)
    autoencoder.add_parser(subparsers, find_preset=find_preset)
    conversion.add_parser(subparsers)
    inspection.add_parser(subparsers)
    survey.add_parser(subparsers)
    return parser


def main(
    argv: list[str] | None = None,
    *,
    prog: str = "python -m training",
    find_model: Callable[[str], Path] = Path,
    find_preset: Callable[[str], Path] = Path,
) -> int:
    """Run one command; exit code 2 and one line for what a person can mend."""
    arguments = build_parser(prog, find_model=find_model, find_preset=find_preset).parse_args(argv)
    try:
        arguments.run(arguments)
    except (TrainingError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except SafetensorError as error:  # a full disk, for one
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
