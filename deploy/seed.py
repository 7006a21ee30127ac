"""`python deploy/seed.py SHIPPED CHECKPOINTS`: put the shipped models where workers look for them.

What is there already stays as it is: a model that was trained or rolled back is never touched, and
a version shipped later is added beside the others without being published. Copies appear whole,
by a rename. Standard library only.
"""

import shutil
import sys
from pathlib import Path

_LATEST = "LATEST"


def seed(shipped: Path, checkpoints: Path) -> list[str]:
    """Copy every version that is missing; publish it only where its model is new.

    Returns:
        What was added, as ``name/step``.

    Raises:
        OSError: the folder cannot be written.
    """
    added = []
    for model in sorted(path for path in shipped.iterdir() if (path / _LATEST).is_file()):
        target = checkpoints / model.name
        target.mkdir(exist_ok=True)
        for version in sorted(path for path in model.iterdir() if path.is_dir()):
            if (target / version.name).exists():
                continue
            temporary = target / f".tmp-{version.name}"
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(version, temporary)
            temporary.rename(target / version.name)
            added.append(f"{model.name}/{version.name}")
        if not (target / _LATEST).exists():
            temporary = target / f".{_LATEST}.seed"
            shutil.copyfile(model / _LATEST, temporary)
            temporary.rename(target / _LATEST)
    return added


def main(arguments: list[str]) -> int:
    """0 when all is there; 2 and one line when the folder cannot be written."""
    shipped, checkpoints = map(Path, arguments)
    try:
        added = seed(shipped, checkpoints)
    except OSError as error:
        print(
            f"error: {error.filename or checkpoints}: {error.strerror}; give user 10001 a "
            "checkpoints volume that it may write, with space left",
            file=sys.stderr,
        )
        return 2
    print(f"{checkpoints}: added {', '.join(added)}" if added else f"{checkpoints}: complete")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
