"""What comes along with the package: models that were trained for it, and training's presets.

They stand beside this file: as copies in a wheel, in the repository as links to where they are.
Standard library only.
"""

from pathlib import Path

_HERE = Path(__file__).parent
MODELS, PRESETS = _HERE / "checkpoints", _HERE / "configs"
_LATEST = "LATEST"


def models() -> list[str]:
    """Names of the models that came along."""
    return sorted(path.parent.name for path in MODELS.glob(f"*/{_LATEST}"))


def presets() -> list[str]:
    """Names of the presets that came along."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def find_model(path: str | Path) -> Path:
    """The folder itself, or the model of that name in `checkpoints/`, or one that came along.

    One that is nowhere is given back as it is, for whoever opens it to say so.
    """
    path = Path(path)
    if path.exists() or len(path.parts) != 1:
        return path
    for folder in (Path("checkpoints") / path, MODELS / path):
        if (folder / _LATEST).is_file():
            return folder
    return path


def find_preset(name: str) -> Path:
    """The file that was named, or the preset of that name."""
    if not Path(name).exists() and name in presets():
        return PRESETS / f"{name}.toml"
    return Path(name)
