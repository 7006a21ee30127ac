"""What a generation came to: pictures from its archive, or why there are none. No I/O."""

import io
import warnings
import zipfile

from PIL import Image

from emaki.errors import Unfinished
from emaki.pictures import Picture, Pictures, parameters_of
from wire.schemas import Generation, Status


def succeeded(generation: Generation) -> Generation:
    """The generation itself, if it has its pictures.

    Raises:
        Unfinished: it failed or was canceled.
    """
    if generation.status is Status.FAILED:
        error = generation.error
        why, code = (error.detail, error.code) if error else ("unknown", "unknown")
        raise Unfinished(f"generation {generation.id} failed: {why}", code=code)
    if generation.status is Status.CANCELED:
        raise Unfinished(f"generation {generation.id} was canceled", code="canceled")
    return generation


def pictures(generation: Generation, archive: bytes, strip: bytes | None = None) -> Pictures:
    """The files of a finished generation as pictures; its warnings become Python's."""
    for text in generation.warnings:
        warnings.warn(text, stacklevel=2)
    request = generation.request.model_dump(mode="json")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        pngs = [files.read(name) for name in sorted(files.namelist())]
    drawn = (
        Picture(
            png,
            parameters_of(request, index=entry.index, seed=entry.seed, class_name=entry.class_),
        )
        for png, entry in zip(pngs, generation.images, strict=True)
    )
    return Pictures(drawn, None if strip is None else Image.open(io.BytesIO(strip)))
