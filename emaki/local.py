"""`load`: a model in this process, drawn by the worker's engine, so the pixels are the service's.

Knows torch, the engine, and how the API makes the choices that are left open; no Redis, no HTTP.
"""

import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pydantic import ValidationError

from app.exceptions import ServiceError
from app.resolve import resolve
from app.sources import fit_data, given, kept
from emaki import shipped
from emaki.asked import Fields, batches, fields_of
from emaki.bars import Bar
from emaki.errors import CannotDraw
from emaki.pictures import Picture, Pictures, joined, parameters_of
from models.checkpoint import resolve as find_checkpoint
from models.cores import Cores, available_cores
from models.manifest import CheckpointError
from wire import keys
from wire.images import InputFiles
from wire.record import Record
from wire.schemas import GenerationRequest, ModelCard, RequestView, ResolvedRequest
from worker.catalog import Loaded, card_of
from worker.catalog import load as load_checkpoint
from worker.engine.engine import Engine
from worker.engine.precision import Plan, Precision, choose, plan
from worker.engine.work import Event, ImageDone, Pixels, Preview, Work, WorkFailed
from worker.inputs import Inputs
from worker.orders import Order, Undrawable, as_work, require_classes
from worker.render import png, strip_png

OnPreview = Callable[[int, int, Image.Image], object]
_NO_LIMIT = 2**62  # of work: it is the caller's own machine


def load(
    path: str | Path = "fashion-mnist",
    *,
    device: str = "auto",
    precision: Precision | None = None,
    threads: int | None = None,
) -> "Model":
    """A model from its folder (or one checkpoint's), or by the name of one that came along.

    Args:
        device: auto, cpu, cuda, cuda:1 ...
        precision: as EMAKI_PRECISION; None: what a worker would choose.
        threads: cores that draw; None: all.

    Raises:
        CannotDraw: no model is there, or it is damaged.
    """
    where = torch.device(_device(device))
    chosen = plan(
        precision or choose(device=where), device=where, cores=threads or available_cores()
    )
    cores = Cores(chosen.cores)
    try:
        folder = find_checkpoint(shipped.find_model(path))
        with _one_thread():
            loaded = load_checkpoint(folder, device=where, plan=chosen, cores=cores)
    except (CheckpointError, OSError) as error:
        raise CannotDraw(_why(path, error)) from error
    return Model(loaded, chosen)


class Model:
    """A model that draws here.

    Attributes:
        card: what it can do, as the API describes it.
    """

    def __init__(self, loaded: Loaded, chosen: Plan) -> None:
        self.card: ModelCard = card_of(
            loaded.manifest, [loaded.manifest.step], created=int(loaded.written)
        )
        self._loaded, self._engine = loaded, Engine(chosen)
        self._lock = threading.Lock()
        self._inputs = Inputs()
        self._numbers = count()

    def draw(
        self,
        what: object = None,
        *,
        n: int = 1,
        progress: bool | None = None,
        on_preview: OnPreview | None = None,
        **fields: Any,
    ) -> Pictures:
        """Draw: `model.draw("Sneaker", n=4, seed=1, steps=20)`.

        Args:
            what: a class, or a prompt where the model draws from words.
            n: pictures, however many; picture i has seed + i.
            progress: a bar; None: where somebody sees it.
            on_preview: told (index, step, picture) every `preview_every` steps.
            fields: of `POST /v1/generations`; `class_` for `class`, and pictures as they are.

        Raises:
            CannotDraw: the model cannot draw this; the message says what it can.
        """
        asked = fields_of(what, self.card, fields)
        with Bar("drawing", n, shown=progress) as bar:
            return joined(self.draw_parts(batches(asked, n), bar, on_preview=on_preview))

    def draw_parts(
        self, requests: Iterable[Fields], bar: Bar, *, on_preview: OnPreview | None = None
    ) -> Generator[Pictures, None, None]:
        """Draw requests of the API's one after the other; all are looked at before the first."""
        resolved = [self._resolved(request) for request in requests]
        done = 0
        for request, files in resolved:
            with self._lock:
                drawn = self._draw(request, files, on_preview, bar, done=done)
            done += len(drawn)
            yield drawn

    def __repr__(self) -> str:
        return f"<emaki model {self.card.version}, {self.card.width}x{self.card.height}>"

    def _resolved(self, asked: Fields) -> tuple[ResolvedRequest, InputFiles | None]:
        """What is asked for, every choice made, and the pictures that it begins from."""
        asked = {"model": self.card.version, **asked}
        try:
            wanted = GenerationRequest.model_validate(asked)
            inputs = fit_data(wanted, self.card)
            files = kept(inputs)
            begins = InputFiles(files[keys.INIT], files.get(keys.MASK)) if files else None
            request = resolve(wanted, self.card, max_work=_NO_LIMIT, given=given(inputs))
            return request, begins
        except ValidationError as error:
            raise CannotDraw("; ".join(_in_words(error))) from error
        except ServiceError as error:
            field = "".join(f"{entry.field}: " for entry in error.errors)
            detail = str(error)
            raise CannotDraw(detail if detail.startswith(field) else field + detail) from error

    def _draw(
        self,
        request: ResolvedRequest,
        files: InputFiles | None,
        on_preview: OnPreview | None,
        bar: Bar,
        *,
        done: int,
    ) -> Pictures:
        try:
            require_classes(request, self._loaded.manifest)
            begun = self._inputs.begin(files, request, self._loaded.weights)
            order = Order(self._loaded.conditions(request), begun)
            number = f"drawing-{next(self._numbers)}"
            record = Record(id=number, owner="", request=request, created=0.0, result_ttl=0)
            work = as_work(record, self._loaded, order, id_=number)
        except Undrawable as error:
            raise CannotDraw(str(error)) from error
        for text in record.warnings:
            warnings.warn(text, stacklevel=2)
        view = RequestView.of(request, id_=number).model_dump(mode="json")
        view |= {"init_image": request.init_image, "mask": request.mask}  # digests: they are here
        pictures: dict[int, Picture] = {}
        frames: dict[int, tuple[Pixels, ...]] = {}
        with closing(self._events(work, bar, done=done)) as events:
            for event in events:
                if isinstance(event, WorkFailed):
                    raise CannotDraw(f"{self.card.version}: drawing failed: {event.error}")
                if isinstance(event, Preview) and on_preview is not None:
                    on_preview(done + event.index, event.step, _image(event.pixels))
                elif isinstance(event, ImageDone):
                    own, i = request.picture(event.index), event.index
                    known = parameters_of(view, index=i, seed=own.seed, class_name=own.class_name)
                    pictures[i], frames[i] = Picture(png(event.pixels, own), known), event.frames
        rows = [frames[index] for index in sorted(frames) if frames[index]]
        strip = Image.open(BytesIO(strip_png(rows, request.pictures))) if rows else None
        return Pictures((pictures[index] for index in sorted(pictures)), strip)

    def _events(self, work: Work, bar: Bar, *, done: int) -> Generator[Event, None, None]:
        """What happens until the work is done; it is dropped where nobody goes on listening."""
        total = len(work.seeds) * work.table.steps
        self._engine.add(work)
        try:
            with _one_thread():
                while not self._engine.idle:
                    yield from self._engine.step()
                    bar.at(done + self._engine.row_steps(work.id) / total * len(work.seeds))
        finally:
            self._engine.cancel(work.id)
        bar.at(done + len(work.seeds))


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in a worker: cores share out chunks, not operations. Torch is as it was afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise CannotDraw(f"device {name!r}: this machine or torch build has none; use cpu or auto")
    return name


def _why(path: str | Path, error: Exception) -> str:
    known = ", ".join(shipped.models())
    hint = f" (what came along: {known})" if known and not Path(path).exists() else ""
    return f"{error}{hint}"


def _in_words(error: ValidationError) -> Iterator[str]:
    """Each field that is refused, as a person reads it."""
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else "the request"
        if problem["type"] == "extra_forbidden":
            fields = GenerationRequest.model_fields.items()
            known = ", ".join(info.alias or field for field, info in fields)
            yield f"{name}: unknown field; use one of {known}"
        else:
            message = problem["msg"][:1].lower() + problem["msg"][1:]
            yield f"{name}: {problem['input']!r:.60} is not accepted: {message}"
