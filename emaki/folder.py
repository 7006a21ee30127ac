"""Many pictures into one folder, and on where that stopped. Knows no model and no service.

request.json     what was asked for, its seed included: asking for something else is refused
000000.png ...   picture i of it
metadata.jsonl   a line for each that is whole, as `training` and Hugging Face's imagefolder
                 read it
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from emaki.asked import Fields, with_seed
from emaki.errors import CannotDraw
from emaki.pictures import Picture, metadata_line
from wire.schemas import MAX_BATCH

_REQUEST, _METADATA = "request.json", "metadata.jsonl"


class Folder:
    """A folder that pictures are drawn into.

    Args:
        asked: the API's fields; without a seed, the folder's own, else a new one.
        n: pictures in all; a folder that has fewer gets the others.

    Raises:
        CannotDraw: it holds pictures of something else, or files that are not of this making.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, asked: Fields, n: int) -> None:
        self.path, self.n = path, n
        path.mkdir(parents=True, exist_ok=True)
        if not (path / _REQUEST).exists() and any(path.iterdir()):
            raise CannotDraw(
                f"{path} is neither empty nor begun by `emaki draw`; name another folder"
            )
        self.done = self._read_done()
        self.asked = self._agree(asked)

    @property
    def kept(self) -> int:
        """How many of the pictures are there."""
        return len([index for index in self.done if index < self.n])

    def parts(self) -> Iterator[range]:
        """Pictures that are missing, a request's worth at a time."""
        start = 0
        while start < self.n:
            if start in self.done:
                start += 1
                continue
            stop = start + 1
            while stop < min(self.n, start + MAX_BATCH) and stop not in self.done:
                stop += 1
            yield range(start, stop)
            start = stop

    def add(self, part: range, pictures: list[Picture]) -> None:
        """Keep pictures; each is on disk, or not at all, whenever this is interrupted."""
        with (self.path / _METADATA).open("a", encoding="utf-8") as lines:
            for index, picture in zip(part, pictures, strict=True):
                self._pin(picture)
                path = picture.save_png(self.path / _name(index))
                _append(lines, metadata_line(path.name, picture))
                self.done.add(index)

    def _agree(self, asked: Fields) -> Fields:
        """What the folder is of, which is what is asked for now."""
        path = self.path / _REQUEST
        if not self.done:
            asked = with_seed(asked, self.n)
            _replace(path, json.dumps(asked, indent=1, ensure_ascii=False))
            return asked
        try:
            before: Fields = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CannotDraw(f"{path} is not as it was written; name another folder") from error
        wanted = dict(asked)
        for name in ("model", "seed"):
            wanted.setdefault(name, before.get(name))
        if str(before.get("model")).partition("@")[0] == wanted.get("model"):
            wanted["model"] = before["model"]  # the version that the first picture pinned
        for name in sorted({*before, *wanted}):
            if before.get(name) != wanted.get(name):
                raise CannotDraw(
                    f"{self.path} holds pictures with {name} {_shown(before.get(name))}, not "
                    f"{_shown(wanted.get(name))}; ask for the same, or name another folder"
                )
        return before

    def _read_done(self) -> set[int]:
        """Pictures that are whole; lines that are cut off, or of no file, are taken out."""
        path = self.path / _METADATA
        if not path.exists():
            return set()
        text = path.read_text(encoding="utf-8")
        whole = text.split("\n")[:-1]  # a prompt may hold other ends of lines
        try:
            lines = {json.loads(line)["file_name"]: f"{line}\n" for line in whole}
            kept = {name: line for name, line in lines.items() if (self.path / name).is_file()}
            done = {int(Path(name).stem) for name in kept}
        except (ValueError, KeyError, TypeError) as error:
            raise CannotDraw(f"{path} is not as it was written; name another folder") from error
        if "".join(kept.values()) != text:
            _replace(path, "".join(kept.values()))
        return done

    def _pin(self, picture: Picture) -> None:
        """The version that drew the first one draws all, also when a newer one is published."""
        version = picture.parameters["model"]
        if self.asked.get("model") != version:
            self.asked["model"] = version
            _replace(self.path / _REQUEST, json.dumps(self.asked, indent=1, ensure_ascii=False))


def _name(index: int) -> str:
    return f"{index:06}.png"


def _append(lines: TextIO, line: str) -> None:
    lines.write(line)
    lines.flush()


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _shown(value: object) -> str:
    return "left open" if value is None else repr(value)[:60]
