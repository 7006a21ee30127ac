"""`emaki serve` and `emaki worker`: the processes, with settings as options. Knows no HTTP."""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

import emaki
from emaki import shipped
from emaki.command.errors import in_one_line

_DEFAULT = "fashion-mnist"

Checkpoints = Annotated[
    Path | None, typer.Option(help="Where models are (EMAKI_CHECKPOINTS, checkpoints/).")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 ... (EMAKI_DEVICE)")]


@in_one_line("serve")
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Listen here (EMAKI_HOST, 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="And here (EMAKI_PORT, 8000).")] = None,
    checkpoints: Checkpoints = None,
    default_model: Annotated[
        str | None, typer.Option(help=f"EMAKI_DEFAULT_MODEL, {_DEFAULT}.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where Redis keeps its file (EMAKI_DATA, .data/).")
    ] = None,
    device: Device = None,
) -> None:
    """Serve models on this machine: Redis, a worker and the API. Ctrl-C stops it all.

    In a folder without models the ones that came along are put into checkpoints/. Every other
    setting is an environment variable EMAKI_*; see docs/settings.md.

    For example:

        emaki serve

        emaki serve --port 9000 --checkpoints runs/ --default-model mine

        EMAKI_API_KEYS=secret emaki serve --host 0.0.0.0
    """
    import serve.__main__ as supervisor

    _settings(host=host, port=port, default_model=default_model, data=data, device=device)
    _models(checkpoints)
    _only_installed_modules()
    raise typer.Exit(supervisor.main())


@in_one_line("serve")
def worker(*, checkpoints: Checkpoints = None, device: Device = None) -> None:
    """Run one more worker for a service that is there, on this machine or another.

    For example:

        EMAKI_REDIS_URL=redis://:PASSWORD@HOST:6379/0 emaki worker --device cuda:0
    """
    _settings(device=device)
    _models(checkpoints)
    import worker.__main__ as process

    process.main()


def _settings(**values: object) -> None:
    for name, value in values.items():
        if value is not None:
            os.environ[f"EMAKI_{name.upper()}"] = str(value)


def _models(checkpoints: Path | None) -> None:
    """Bring the shipped models along where there is no folder of models yet."""
    _settings(checkpoints=checkpoints)
    folder = Path(os.environ.get("EMAKI_CHECKPOINTS") or "checkpoints")
    if folder.exists():
        if not any(folder.glob("*/LATEST")):
            text = f"emaki: {folder}/ holds no model yet; train one, or copy one from"
            print(text, shipped.MODELS, file=sys.stderr)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for name in shipped.models():
        shutil.copytree(shipped.MODELS / name, temporary / name)
    temporary.rename(folder)
    names = " and ".join(shipped.models())
    print(f"emaki: {folder}/ was not there; it holds {names} now", file=sys.stderr)


def _only_installed_modules() -> None:
    """The children are `python -m app` and so on, which must not be found in the current folder."""
    here = Path(emaki.__file__).resolve().parents[1]
    if here != Path.cwd().resolve():
        os.environ["PYTHONSAFEPATH"] = "1"
