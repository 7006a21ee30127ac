"""The pictures of a generation: one by one, as a grid, as an archive, and the denoising strip."""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.exceptions import ImageNotFound, InvalidField
from app.problems import BINARY, errors
from app.routes.generations import Found
from app.sheets import images_zip, rescaled
from app.state import Service, ServiceDep
from app.submission import all_images, no_image, picture
from wire.keys import INIT, MASK, STRIP
from wire.record import Record
from wire.schemas import Status

router = APIRouter(prefix="/v1/generations/{id}", tags=["pictures"])
_FOREVER = "private, max-age=31536000, immutable"


async def as_drawn(request: Request) -> None:
    """Refuses `?scale=` where it would mean nothing."""
    if "scale" in request.query_params:
        raise InvalidField(
            "scale", "of single pictures only: ask for images/{i}.png?scale=, or submit with scale"
        )


AsDrawn = Depends(as_drawn)


def _answers(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"content": {media_type: {"schema": BINARY}}, "description": "Here it is."},
        304: {"description": "Not modified."},
        **errors(401, 404, 410, 429, 503),
    }


@router.get(
    "/images/{index}.png",
    operation_id="get_image",
    response_class=Response,
    responses={**_answers("image/png"), **errors(422)},
)
async def image(
    service: ServiceDep,
    record: Found,
    index: int,
    request: Request,
    scale: Annotated[
        int | None, Query(ge=1, le=16, description="Another enlargement than it was drawn with.")
    ] = None,
) -> Response:
    """One finished picture."""
    facts = record.images.get(index)
    if facts is None:
        raise ImageNotFound(no_image(record, index))
    drawn = record.request.scale
    tag = facts["sha256"] if scale in (None, drawn) else f"{facts['sha256']}-{scale}"
    if (unchanged := _unchanged(request, tag)) is not None:
        return unchanged
    data = await service.store.png(record.id, index)
    if data is None:
        raise ImageNotFound(no_image(record, index))
    if scale is not None and scale != drawn:
        async with service.sheets:
            data = await run_in_threadpool(rescaled, data, drawn, scale)
    return _file(data, "image/png", tag)


@router.get(
    "/grid.png",
    operation_id="get_grid",
    response_class=Response,
    responses={**_answers("image/png"), **errors(422)},
    dependencies=[AsDrawn],
)
async def grid(service: ServiceDep, record: Found, request: Request) -> Response:
    """All pictures in one, when all are finished."""
    if record.status is not Status.SUCCEEDED:
        raise ImageNotFound(no_image(record))
    tag = _tag_of_all(record, "grid")
    if (unchanged := _unchanged(request, tag)) is not None:
        return unchanged
    return _file(await picture(service, record), "image/png", tag)


@router.get(
    "/images.zip",
    operation_id="get_images_zip",
    response_class=Response,
    responses={**_answers("application/zip"), **errors(422)},
    dependencies=[AsDrawn],
)
async def archive(service: ServiceDep, record: Found, request: Request) -> Response:
    """All pictures in one archive, when all are finished."""
    tag = _tag_of_all(record, "zip")
    if record.status is Status.SUCCEEDED and (unchanged := _unchanged(request, tag)) is not None:
        return unchanged
    async with service.sheets:
        data = await run_in_threadpool(images_zip, await all_images(service, record))
    answer = _file(data, "application/zip", tag)
    answer.headers["Content-Disposition"] = f'attachment; filename="{record.id}.zip"'
    return answer


@router.get(
    "/strip.png",
    operation_id="get_strip",
    response_class=Response,
    responses={**_answers("image/png"), **errors(422)},
    dependencies=[AsDrawn],
)
async def strip(service: ServiceDep, record: Found, request: Request) -> Response:
    """The denoising scroll: a row per image, frames left to right, noise first."""
    if not record.request.strip:
        raise ImageNotFound(
            f"generation {record.id} has no strip: it was not asked for; send `strip` with 1 to 16"
        )
    data = await service.store.png(record.id, STRIP)
    if record.status is not Status.SUCCEEDED or data is None:
        raise ImageNotFound(no_image(record))
    tag = hashlib.sha256(data).hexdigest()
    return _unchanged(request, tag) or _file(data, "image/png", tag)


@router.get("/init.png", response_class=Response, responses=_answers("image/png"))
async def init(service: ServiceDep, record: Found, request: Request) -> Response:
    """The picture that it was begun from, at the model's size."""
    return await _input(service, record, INIT, request)


@router.get("/mask.png", response_class=Response, responses=_answers("image/png"))
async def mask(service: ServiceDep, record: Found, request: Request) -> Response:
    """What was drawn anew of that picture: white; what was kept is black."""
    return await _input(service, record, MASK, request)


async def _input(service: Service, record: Record, name: str, request: Request) -> Response:
    data = await service.store.png(record.id, name)
    if data is None:
        raise ImageNotFound(
            f"generation {record.id} has no {name}.png: it was not asked for; send `init_image`"
        )
    tag = hashlib.sha256(data).hexdigest()
    return _unchanged(request, tag) or _file(data, "image/png", tag)


def _tag_of_all(record: Record, kind: str) -> str:
    """A name for everything's bytes that needs none of them."""
    parts = [kind, *(record.images[index]["sha256"] for index in sorted(record.images))]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _unchanged(request: Request, tag: str) -> Response | None:
    known = request.headers.get("if-none-match", "").split(",")
    if f'"{tag}"' in [entry.strip().removeprefix("W/") for entry in known]:
        return Response(None, 304, {"ETag": f'"{tag}"', "Cache-Control": _FOREVER})
    return None


def _file(data: bytes, media_type: str, tag: str) -> Response:
    headers = {"ETag": f'"{tag}"', "Cache-Control": _FOREVER}
    return Response(data, 200, headers, media_type=media_type)
