"""`python requirements.py [EXTRA]...`: what pyproject.toml asks for, one requirement a line.

Without an extra: the project's own dependencies (torch among them). With extras: only theirs, so
that an image without torch can be built. Knows nothing of versions: constraints.txt pins them.
"""

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: str, extras: list[str]) -> list[str]:
    """The requirements of some extras, or the project's own where none is named.

    Raises:
        KeyError: there is no such extra.
    """
    project = tomllib.loads(pyproject)["project"]
    if not extras:
        return list(project["dependencies"])
    optional = project["optional-dependencies"]
    return [line for extra in extras for line in optional[extra]]


if __name__ == "__main__":
    text = Path("pyproject.toml").read_text(encoding="utf-8")
    print(*requirements(text, sys.argv[1:]), sep="\n")
