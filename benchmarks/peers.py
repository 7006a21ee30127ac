"""An environment of their own for what we are compared with, made on first use (`.venv-peers`).

It sees what is installed for us, so the peers run on the same torch, diffusers and FastAPI; only
what is missing is installed, in the versions that are named here. Our environment stays as it is.
"""

import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(".venv-peers")
SERVING = ("litserve==0.2.19", "pyzmq==27.3.0")


def peers_python(*packages: str) -> Path:
    """The interpreter of the peers' environment, with these packages installed now if need be."""
    python = FOLDER / "bin" / "python"
    ready = FOLDER / f".ready-{'-'.join(packages).replace('==', '-')}"
    if ready.exists():
        return python
    print(f"installing {' and '.join(packages)} into {FOLDER} (once)", file=sys.stderr)
    if not python.exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
        venv.create(FOLDER, with_pip=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        own = FOLDER / "lib" / version / "site-packages"
        (own / "ours.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    command = [str(python), "-m", "pip", "install", "-q", "--constraint", "constraints.txt"]
    subprocess.run([*command, *packages], check=True)
    ready.touch()
    return python
