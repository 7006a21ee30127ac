"""`emaki models` and `emaki show`: what there is, for a person to read. Changes nothing."""

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from emaki.client.sync import Client
from emaki.command.errors import in_one_line
from emaki.errors import CannotDraw
from emaki.pictures import Picture
from wire.schemas import ModelCard

Url = Annotated[
    str | None,
    typer.Option(help="The service's address.", envvar="EMAKI_URL", show_envvar=True),
]
Key = Annotated[
    str | None, typer.Option(help="An API key.", envvar="EMAKI_API_KEY", show_envvar=True)
]
PATIENCE = 2  # retries, where a person waits for the answer
_ID = re.compile(r"[0-9a-f]{32}")


@in_one_line("client")
def models(*, url: Url = None, key: Key = None) -> None:
    """List the models of a service; the default one first."""
    with Client(url, key, retries=PATIENCE) as client:
        cards = client.models()
    table = Table("model", "size", "draws", "steps", "sampler", "guidance", box=None)
    for card in cards:
        chosen = card.defaults
        table.add_row(
            card.version,
            f"{card.width}x{card.height}",
            _subject(card),
            str(chosen.steps),
            chosen.sampler,
            f"{chosen.guidance_scale:g}",
        )
    Console().print(table)


@in_one_line("client")
def show(
    what: Annotated[str, typer.Argument(help="A picture's file, a generation's id, or a model.")],
    *,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show how a picture was drawn, how a generation is, or what a model can do.

    For example:

        emaki show sneaker.png

        emaki show 0123456789abcdef0123456789abcdef

        emaki show fashion-mnist
    """
    if Path(what).is_file() or Path(what).suffix.lower() == ".png":
        told = Picture.read(what).parameters
    else:
        with Client(url, key, retries=PATIENCE) as client:
            if _ID.fullmatch(what):
                told = client.generation(what).generation.model_dump(mode="json")
            else:
                cards = {card.id: card for card in client.models()}
                if what not in cards:
                    known = ", ".join(cards) or "none"
                    raise CannotDraw(f"the service has no model {what!r}; it has {known}")
                told = cards[what].model_dump(mode="json")
    Console().print_json(data=told)


def _subject(card: ModelCard) -> str:
    if card.conditioning == "text":
        return "words"
    names = card.classes
    shown = ", ".join(names[:6])
    return shown + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "no classes"
