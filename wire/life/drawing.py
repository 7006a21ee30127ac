"""What the worker that holds a generation tells: drawing, start, progress, preview, image, strip.

Each but `drawing` answers whether it counted: it does not once the generation has ended, or another
worker has taken it in hand.
"""

import base64
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from wire.life.script import Call, script
from wire.record import Record, image_entry, image_field

_BATCH_SECONDS = 24 * 3600  # what was in a dead worker's last step is known for so long


def drawing(worker: str, ids: Iterable[str]) -> Call[bool]:
    """These are in the step that begins: if this worker dies, it may be their doing."""
    return script("drawing").call(bool, worker=worker, ids=" ".join(ids), seconds=_BATCH_SECONDS)


def start(record: Record, worker: str, *, now: float) -> Call[bool]:
    """The first step is made; ``record`` says so already."""
    status = record.generation(now=now).model_dump_json()
    return script("start").call(
        bool,
        id=record.id,
        worker=worker,
        now=repr(now),
        status=status,
        warnings=json.dumps(record.warnings),
    )


def progress(record: Record, worker: str, *, now: float) -> Call[bool]:
    """How far it is, as ``record`` says."""
    return script("progress").call(
        bool,
        id=record.id,
        worker=worker,
        row_steps=record.row_steps,
        evaluated=record.evaluated,
        eta="" if record.eta is None else repr(record.eta),
        event=record.progress(now=now).model_dump_json(),
    )


def preview(id_: str, worker: str, *, index: int, step: int, png: bytes) -> Call[bool]:
    """What image ``index`` will roughly be."""
    data = {"index": index, "step": step, "png_base64": base64.b64encode(png).decode()}
    return script("preview").call(bool, id=id_, worker=worker, event=json.dumps(data))


def image(
    id_: str, worker: str, *, facts: Mapping[str, Any], png: bytes
) -> Call[dict[str, Any] | None]:
    """An image is finished; the first one that came is kept.

    Args:
        facts: of `wire.schemas.ImageEntry`, without the address.
        png: its bytes; empty where it is a file.

    Returns:
        The facts of the image that is kept; None if this worker's does not count.
    """

    def read(answer: Any) -> dict[str, Any] | None:
        return None if answer is None else json.loads(answer)

    return script("image").call(
        read,
        id=id_,
        worker=worker,
        index=facts["index"],
        field=image_field(facts["index"]),
        facts=json.dumps(facts),
        png=png,
        event=image_entry(id_, facts).model_dump_json(),
        now=repr(time.time()),
    )


def strip(id_: str, worker: str, *, png: bytes) -> Call[bool]:
    """The denoising strip; empty where it is a file."""
    return script("strip").call(bool, id=id_, worker=worker, png=png)
