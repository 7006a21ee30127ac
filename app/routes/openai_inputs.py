"""`/v1/images/edits` and `/v1/images/variations` as the `openai` package calls them.

Forms with files. What is transparent in the mask, or without a mask in the picture, is drawn anew;
with neither the whole picture is begun from. Emaki's own fields are those of `app.routes.openai`,
and `strength`.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile

from app.auth import Owner
from app.exceptions import InvalidField
from app.follow import one_more_stream
from app.inputs import Sent
from app.routes.openai import (
    ImagesAnswer,
    ImagesRequest,
    OpenAIError,
    answer,
    card_of,
    wanted_of,
)
from app.state import RequestId, Service, ServiceDep, traceparent
from app.submission import accept
from app.warned import DESCRIBED
from wire.schemas import MAX_BATCH, MAX_SEED, MODEL_PATTERN, Sampler

router = APIRouter(prefix="/v1/images", tags=["openai"])
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": OpenAIError}
    for status in (400, 401, 404, 408, 409, 413, 415, 421, 429, 500, 503)
}
_EVENTS = {
    "content": {"text/event-stream": {}},
    "description": "The pictures, or the stream.",
    "headers": DESCRIBED,
}


class Wishes(ImagesRequest):
    """What a form asks for beside its files."""

    strength: float | None = None


async def wishes(
    prompt: Annotated[str, Form(max_length=32_000)] = "",
    model: Annotated[str | None, Form(pattern=MODEL_PATTERN)] = None,
    n: Annotated[int | None, Form(ge=1, le=MAX_BATCH)] = None,
    response_format: Annotated[Literal["url", "b64_json"] | None, Form()] = None,
    seed: Annotated[int | None, Form(ge=0, le=MAX_SEED)] = None,
    steps: Annotated[int | None, Form(ge=1)] = None,
    guidance_scale: Annotated[float | None, Form(ge=0, le=20, allow_inf_nan=False)] = None,
    sampler: Annotated[Sampler | None, Form()] = None,
    scale: Annotated[int, Form(ge=1, le=16)] = 1,
    strength: Annotated[float | None, Form(ge=0, le=1, allow_inf_nan=False)] = None,
) -> Wishes:
    """The fields that both routes have."""
    return Wishes(
        prompt=prompt,
        model=model,
        n=n,
        response_format=response_format,
        seed=seed,
        steps=steps,
        guidance_scale=guidance_scale,
        sampler=sampler,
        scale=scale,
        strength=strength,
    )


async def place_for_a_stream(
    service: ServiceDep, owner: Owner, *, stream: Annotated[bool | None, Form()] = None
) -> AsyncIterator[bool]:
    """Whether it is to be a stream, which counts as long as it is open."""
    if not stream:
        yield False
        return
    with one_more_stream(service, owner):
        yield True


Wanted = Annotated[Wishes, Depends(wishes)]


@router.post(
    "/edits", name="edit", response_model=ImagesAnswer, responses={200: _EVENTS, **_ERRORS}
)
async def edit(
    request: Request,
    service: ServiceDep,
    owner: Owner,
    request_id: RequestId,
    wanted: Wanted,
    streamed: Annotated[bool, Depends(place_for_a_stream)],
    image: Annotated[UploadFile | None, File()] = None,
    images: Annotated[list[UploadFile] | None, File(alias="image[]")] = None,
    mask: Annotated[UploadFile | None, File()] = None,
    partial_images: Annotated[int | None, Form(ge=0, le=3)] = None,
) -> Response:
    """OpenAI's edits: draw a picture's transparent places anew, or the whole from it."""
    files = [*([image] if image else []), *(images or [])]
    if len(files) != 1:
        raise InvalidField("image", f"{len(files)} pictures came; send one")
    sent = Sent(
        await files[0].read(),
        None if mask is None else await mask.read(),
        of_alpha=True,
        holes=True,
    )
    asked = wanted.model_copy(update={"stream": streamed, "partial_images": partial_images})
    return await _draw(request, service, owner, asked, sent, request_id=request_id)


@router.post(
    "/variations",
    name="vary",
    response_model=ImagesAnswer,
    responses={200: {"headers": DESCRIBED}, **_ERRORS},
)
async def vary(
    request: Request,
    service: ServiceDep,
    owner: Owner,
    request_id: RequestId,
    wanted: Wanted,
    image: Annotated[UploadFile, File()],
) -> Response:
    """OpenAI's variations: other pictures that begin from this one."""
    sent = Sent(await image.read())
    return await _draw(request, service, owner, wanted, sent, request_id=request_id)


async def _draw(
    request: Request,
    service: Service,
    owner: str,
    asked: Wishes,
    sent: Sent,
    *,
    request_id: str,
) -> Response:
    card = await card_of(service, asked.model)
    wanted = wanted_of(asked, card, strength=asked.strength)
    trace = await traceparent(request)
    record, _ = await accept(
        service, owner, wanted, request_id=request_id, traceparent=trace, sent=sent
    )
    return await answer(request, service, record, asked, kind="image_edit")
