"""Emaki for people who write Python: `load` a model and draw, or ask a service.

    import emaki
    pictures = emaki.load("fashion-mnist").draw("Sneaker", n=4, seed=1)
    with emaki.Client("http://localhost:8000") as client:
        pictures = client.draw("Sneaker", n=4, seed=1)

    asked.py      what a person asks for, as the API's fields
    pictures.py   what comes back: PIL images that know how they were drawn
    local.py      `load`: the worker's engine in this process
    client/       `Client` and `AsyncClient`, on httpx
    folder.py     many pictures into a folder, and on where that stopped
    command/      the command `emaki`
    shipped.py    the models and presets that come along

Thin over the other packages, each imported when it is first needed: a client never imports torch.
Nothing imports this package.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emaki.client.aio import AsyncClient, AsyncHandle
    from emaki.client.events import Event
    from emaki.client.sync import Client, Handle
    from emaki.errors import (
        CannotDraw,
        EmakiError,
        Refused,
        ServiceAway,
        Unfinished,
    )
    from emaki.local import Model, load
    from emaki.pictures import Picture, Pictures

_HOMES = {
    "AsyncClient": "emaki.client.aio",
    "AsyncHandle": "emaki.client.aio",
    "CannotDraw": "emaki.errors",
    "Client": "emaki.client.sync",
    "EmakiError": "emaki.errors",
    "Event": "emaki.client.events",
    "Handle": "emaki.client.sync",
    "Model": "emaki.local",
    "Picture": "emaki.pictures",
    "Pictures": "emaki.pictures",
    "Refused": "emaki.errors",
    "ServiceAway": "emaki.errors",
    "Unfinished": "emaki.errors",
    "load": "emaki.local",
}
__all__ = [
    "AsyncClient",
    "AsyncHandle",
    "CannotDraw",
    "Client",
    "EmakiError",
    "Event",
    "Handle",
    "Model",
    "Picture",
    "Pictures",
    "Refused",
    "ServiceAway",
    "Unfinished",
    "load",
]


def __getattr__(name: str) -> object:
    """A name of this package, from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"emaki has no {name!r}; it has {', '.join(__all__)}")
    home = _HOMES[name]
    try:
        return getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as error:
        extra = "client" if home.startswith("emaki.client") else "draw"
        raise ImportError(
            f"emaki.{name} needs {error.name}, which is not installed; run: "
            f"pip install 'emaki[{extra}]'"
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
