"""Drawn pictures as Python has them: PIL images that know how they were drawn. Knows no model."""

import io
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex, overload

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile
from pydantic import TypeAdapter

from emaki.errors import CannotDraw
from wire.schemas import GenerationRequest

_GAP = 2
_SHOWN_SIDE = 112  # a picture in a notebook is enlarged to about this many pixels
_INTERVAL = "guidance_interval"
# Nothing that a picture depends on.
_OF_A_BATCH = ("batch", "preview_every", "priority", "strip", "webhook")


class Picture(PngImageFile):
    """One drawn picture, with all that PIL images can do.

    Attributes:
        png_bytes: the file, byte for byte as the service sends it.
        parameters: fields of the API that draw it again, its own seed among them.
    """

    def __init__(self, png: bytes, parameters: Mapping[str, Any]) -> None:
        super().__init__(io.BytesIO(png))
        self.load()
        self.png_bytes = png
        self.parameters = dict(parameters)

    @classmethod
    def read(cls, path: str | Path) -> "Picture":
        """A file that was drawn by Emaki, which says how.

        Raises:
            CannotDraw: it is no picture, or does not say.
        """
        png = Path(path).read_bytes()
        try:
            with Image.open(io.BytesIO(png)) as image:
                text: dict[str, str] = dict(getattr(image, "text", {}))
        except UnidentifiedImageError as error:
            raise CannotDraw(f"{path} is no picture") from error
        if text.get("Software") != "Emaki":
            raise CannotDraw(f"{path} does not say how it was drawn; was it drawn by Emaki?")
        return cls(png, _parameters_in(text))

    @property
    def seed(self) -> int:
        """Its own."""
        return int(self.parameters["seed"])

    @property
    def class_name(self) -> str | None:
        """What it is of; None: drawn without a class."""
        found: str | None = self.parameters.get("class")
        return found

    def save_png(self, path: str | Path) -> Path:
        """Write the file as it came, parameters included; whole or not at all."""
        path = Path(path)
        temporary = path.with_name(f".{path.name}.part")
        try:
            temporary.write_bytes(self.png_bytes)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return path

    def _repr_png_(self) -> bytes:
        return _encoded(_enlarged(self))


class Pictures(list[Picture]):
    """Pictures of one drawing, in the order of their seeds; a notebook shows them as a grid.

    Attributes:
        strip: the denoising scroll, where it was asked for.
    """

    def __init__(self, pictures: Iterable[Picture] = (), strip: Image.Image | None = None) -> None:
        super().__init__(pictures)
        self.strip = strip

    @overload
    def __getitem__(self, index: SupportsIndex) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> "Pictures": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "Picture | Pictures":
        if isinstance(index, slice):
            return Pictures(super().__getitem__(index))
        return super().__getitem__(index)

    @property
    def grid(self) -> Image.Image:
        """All of them in one, near square."""
        return lay_out(self)

    def save(self, folder: str | Path) -> list[Path]:
        """Write each as `<seed>.png`, and what they are into `metadata.jsonl`; both stay readable.

        Another picture of that name stays: the new one is `<seed>-2.png`. The same one stays, too.

        Returns:
            The pictures' files.
        """
        folder, paths = Path(folder), list[Path]()
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "metadata.jsonl").open("a", encoding="utf-8") as lines:
            for picture in self:
                paths.append(path := _place_for(picture, folder))
                if not path.exists():
                    picture.save_png(path)
                    lines.write(metadata_line(path.name, picture))
        return paths

    def _repr_png_(self) -> bytes | None:
        return _encoded(_enlarged(self.grid, of=self[0])) if self else None


def _place_for(picture: Picture, folder: Path) -> Path:
    """Where this picture is, or may be written."""
    names = (f"{picture.seed}{f'-{n}' if n > 1 else ''}.png" for n in itertools.count(1))
    places = (folder / name for name in names)
    return next(p for p in places if not p.exists() or p.read_bytes() == picture.png_bytes)


def joined(parts: Iterable[Pictures]) -> Pictures:
    """The pictures of several requests as those of one."""
    drawn = list(parts)
    strip = drawn[0].strip if len(drawn) == 1 else None
    return Pictures((picture for some in drawn for picture in some), strip)


def parameters_of(
    request: Mapping[str, Any], *, index: int, seed: int, class_name: str | None
) -> dict[str, Any]:
    """What draws image ``index`` of a resolved request again, alone."""
    own = {name: value for name, value in request.items() if name not in _OF_A_BATCH}
    if isinstance(own.get("prompt"), list):
        own["prompt"] = own["prompt"][index]
    if own.get("variation_seed") is not None:
        own["variation_seed"] += index
    return {**own, "seed": seed, "class": class_name}


def _parameters_in(text: Mapping[str, str]) -> dict[str, Any]:
    """A file's text as fields of the API; what it need not say is left out, or as it then is."""
    found: dict[str, Any] = {"class": text.get("class") or None}
    for name, info in GenerationRequest.model_fields.items():
        told = text.get(name)
        if told is not None and name != _INTERVAL:
            annotation: Any = info.annotation
            found[name] = TypeAdapter(annotation).validate_strings(told)
    shares = text.get(_INTERVAL, "0, 1").split(",")
    return {**found, _INTERVAL: [float(share) for share in shares]}


def metadata_line(name: str, picture: Picture) -> str:
    """A line of `metadata.jsonl` as Hugging Face's imagefolder and `training` read it."""
    known = {name: value for name, value in picture.parameters.items() if value is not None}
    told = {"label": known.get("class"), "text": known.get("prompt")}
    told = {name: value for name, value in told.items() if value is not None}
    return json.dumps({"file_name": name, **told, **known}, ensure_ascii=False) + "\n"


def lay_out(pictures: Sequence[Image.Image]) -> Image.Image:
    """Equally large pictures in a near-square grid on white."""
    if not pictures:
        raise ValueError("there is no picture to lay out")
    if len(pictures) == 1:
        return pictures[0].copy()
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    width, height = pictures[0].width + _GAP, pictures[0].height + _GAP
    sheet = Image.new(pictures[0].mode, (columns * width - _GAP, rows * height - _GAP), "white")
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (place % columns * width, place // columns * height))
    return sheet


def _enlarged(image: Image.Image, *, of: Image.Image | None = None) -> Image.Image:
    """By a whole number, so that small pictures can be seen; not smoothed."""
    times = max(1, _SHOWN_SIDE // max((of or image).size))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
