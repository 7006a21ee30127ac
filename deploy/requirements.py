"""`python requirements.py EXTRA...`: what extras of pyproject.toml ask for, one requirement a line.

Only what each asks for itself: one that includes another (`worker` includes `draw`, which has
torch) leaves it to a layer of its own. Knows nothing of versions: constraints.txt pins them.
"""

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: str, extras: list[str]) -> list[str]:
    """The requirements of some extras.

    Raises:
        KeyError: there is no such extra.
    """
    project = tomllib.loads(pyproject)["project"]
    optional = project["optional-dependencies"]
    lines = [line for extra in extras for line in optional[extra]]
    return [line for line in lines if not line.startswith(f"{project['name']}[")]


if __name__ == "__main__":
    text = Path("pyproject.toml").read_text(encoding="utf-8")
    print(*requirements(text, sys.argv[1:]), sep="\n")
