"""`emaki draw`: by a service or by a checkpoint, into a file or a folder."""

import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from emaki.asked import Fields, batches, fields_of, part, with_seed
from emaki.bars import Bar
from emaki.command.errors import INTERRUPTED, fail, in_one_line, in_words
from emaki.command.fields import parsed, with_fields
from emaki.command.looking import PATIENCE, Key, Url
from emaki.errors import EmakiError
from emaki.folder import Folder
from emaki.pictures import Pictures, joined
from wire.schemas import ModelCard


@dataclass(frozen=True)
class Source:
    """Whatever draws.

    Attributes:
        draw_parts: requests of the API's to their pictures, in order.
        card_of: the card of the model of a name, or of the default one.
    """

    draw_parts: Callable[[Iterable[Fields], Bar], Generator[Pictures, None, None]]
    card_of: Callable[[str | None], ModelCard | None]


@with_fields
@in_one_line("serve")
def draw(
    what: Annotated[
        str | None, typer.Argument(help="A class; a prompt where the model draws from words.")
    ] = None,
    *,
    n: Annotated[int, typer.Option("-n", min=1, help="Pictures; picture i has seed + i.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="A .png (the grid, for several), or a folder that can go on."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Draw here with this model, without a service; or by a shipped name."),
    ] = None,
    url: Url = None,
    key: Key = None,
    **fields: str | None,
) -> None:
    """Draw pictures: by the service at --url, or by a --checkpoint in this process.

    Into a folder goes any number, with what they are in metadata.jsonl; the same command again
    goes on where it stopped. Class names are matched without case, plural or hyphen.

    For example:

        emaki draw Sneaker

        emaki draw sneakers -n 9 --seed 1 --scale 8 --out sneakers.png

        emaki draw Sneaker -n 1000 --out sneakers/

        emaki draw Bag --checkpoint fashion-mnist --steps 50 --sampler ddpm
    """
    asked = parsed(fields)
    folder = out if out is not None and out.suffix.lower() != ".png" else None
    with _source(checkpoint, url, key, forget=folder is not None) as source:
        model = asked.get("model")
        card = None if what is None else source.card_of(None if model is None else str(model))
        asked = fields_of(what, card, asked)
        if folder is None:
            _into_file(source, out, with_seed(asked, n), n, what)
        else:
            into_folder(source, folder, asked, n)


def _into_file(source: Source, out: Path | None, asked: Fields, n: int, what: str | None) -> None:
    with Bar("drawing", n, shown=None) as bar:
        pictures = joined(source.draw_parts(batches(asked, n), bar))
    stem = re.sub(r"[^a-z0-9]+", "-", (what or "").casefold())[:40].strip("-") or "emaki"
    path = out or Path(f"{stem}-{asked['seed']}.png")
    if n == 1:
        pictures[0].save_png(path)
    else:
        pictures.grid.save(path)
    written = [path]
    if pictures.strip is not None:
        written.append(path.with_name(f"{path.stem}-strip.png"))
        pictures.strip.save(written[-1])
    print(*written, sep="\n")


def into_folder(source: Source, path: Path, asked: Fields, n: int) -> None:
    """Draw what is missing; whatever stops it, one line says how many are there."""
    folder = Folder(path, asked, n)
    if folder.kept:
        print(f"{path}: {folder.kept} of {n} are there; going on", file=sys.stderr)
    ranges = list(folder.parts())
    try:
        with Bar("drawing", n - folder.kept, shown=None) as bar:
            requests = (part(folder.asked, some.start, len(some)) for some in ranges)
            with closing(source.draw_parts(requests, bar)) as drawn:
                for some, pictures in zip(ranges, drawn, strict=True):
                    folder.add(some, pictures)
    except KeyboardInterrupt:
        fail(_stopped("stopped", folder), code=INTERRUPTED)
    except OSError as error:
        fail(_stopped(in_words(error), folder))
    except EmakiError as error:
        fail(_stopped(str(error), folder) if folder.kept else str(error))
    print(f"{path}: {folder.kept} pictures and metadata.jsonl")


def _stopped(why: str, folder: Folder) -> str:
    done = f"{folder.kept} of {folder.n} pictures are in {folder.path}"
    return f"{why}; {done}; the same command goes on"


@contextmanager
def _source(
    checkpoint: Path | None, url: str | None, key: str | None, *, forget: bool
) -> Iterator[Source]:
    """By the checkpoint in this process, else by the service."""
    if checkpoint is not None:
        from emaki.local import load

        model = load(checkpoint)
        yield Source(model.draw_parts, lambda _name: model.card)
        return
    from emaki.client.sync import Client

    with Client(url, key, retries=PATIENCE) as client:
        client.models()  # one that is away is said soon; one that goes away later is waited for
    with Client(url, key) as client:
        yield Source(partial(client.draw_parts, forget=forget), client.card_of)
