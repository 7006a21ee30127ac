"""Your own pictures: how long until the first strip, and how long a check of many takes.

    python -m benchmarks.folder --photos stanford-cars-64.zip --many cifar10-*.zip

The commands as a person types them, on folders unpacked from the archives: the first 200 pictures
of the first in one folder, and all of the others' together. Nothing is cached before.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.machine import describe

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def unpack(archives: Iterable[Path], folder: Path, *, most: int | None = None) -> int:
    """Write an archive's pictures, flat, until there are ``most``; return how many there are."""
    folder.mkdir()
    count = 0
    for archive in archives:
        with zipfile.ZipFile(archive) as pictures:
            for name in pictures.namelist():
                if name.lower().endswith(ENDINGS) and (most is None or count < most):
                    with pictures.open(name) as source:
                        (folder / f"{count:06}{Path(name).suffix}").write_bytes(source.read())
                    count += 1
    return count


def training(folder: Path, *arguments: str) -> Iterator[str]:
    """`python -m training ...` in that folder, with a cache of its own: what it says, at once."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "training", *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield from process.stdout
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def main() -> None:
    """Print both times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--many", type=Path, nargs="+", required=True)
    parser.add_argument("--strip", type=Path, help="keep the first strip there")
    arguments = parser.parse_args()
    print(describe(), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        count = unpack([arguments.photos], root / "photos", most=200)
        began = time.perf_counter()
        for line in training(root, "train", "--data", "photos"):
            if line.startswith("strip: "):
                took = time.perf_counter() - began
                print(f"{count} photos: the first strip after {took:.0f} s", flush=True)
                if arguments.strip:
                    shutil.copy(root / line.removeprefix("strip: ").strip(), arguments.strip)
                break
            print(f"    {line}", end="", flush=True)
        count = unpack(arguments.many, root / "many")
        began = time.perf_counter()
        said = list(training(root, "data", "check", "many"))
        print(f"{count} pictures: checked in {time.perf_counter() - began:.0f} s", flush=True)
        print(*(f"    {line}" for line in said), sep="", end="")


if __name__ == "__main__":
    main()
