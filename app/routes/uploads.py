"""`/v1/uploads`: pictures to begin from or to mask with that are too large for a request's body."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field

from app.auth import Owner
from app.decoding import BadPicture
from app.exceptions import InvalidField, UploadNotFound
from app.problems import errors
from app.state import ServiceDep
from app.uploads import Upload

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])
_PICTURES: dict[str, Any] = {"image/png": {}, "image/jpeg": {}, "image/webp": {}}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in _PICTURES
        },
    }
}


class UploadView(BaseModel):
    """A picture that is here to begin from."""

    url: str = Field(description="For `init_image` and `mask`; needs the same API key.")
    sha256: str
    width: int
    height: int


async def find_upload(
    service: ServiceDep, owner: Owner, id_: Annotated[str, Path(alias="id")]
) -> Upload:
    """The upload that the path names, if it is the caller's."""
    upload = await service.uploads.find(id_, owner)
    if upload is None:
        raise UploadNotFound(id_)
    return upload


Found = Annotated[Upload, Depends(find_upload)]


@router.post(
    "",
    status_code=201,
    name="upload",
    openapi_extra=_BODY,
    responses=errors(400, 401, 408, 413, 422, 429, 503),
)
async def submit(
    request: Request, response: Response, service: ServiceDep, owner: Owner
) -> UploadView:
    """Keep a picture (PNG, JPEG or WebP, the body as it is) as long as results are kept."""
    data = await request.body()
    try:
        facts = await service.decoders.check(data)
    except BadPicture as error:
        raise InvalidField("body", str(error)) from error
    upload = await service.uploads.keep(owner, data, facts)
    response.headers["Location"] = upload.url
    return UploadView(url=upload.url, sha256=upload.sha256, width=facts.width, height=facts.height)


@router.get(
    "/{id}",
    name="uploaded",
    response_class=Response,
    responses={
        200: {"content": _PICTURES, "description": "As it was sent."},
        **errors(401, 404, 429, 503),
    },
)
async def read(service: ServiceDep, upload: Found) -> Response:
    """The picture, as it was sent."""
    data = await service.uploads.read(upload)
    if data is None:
        raise UploadNotFound(upload.id)
    return Response(data, media_type=upload.facts.media_type)


@router.delete("/{id}", status_code=204, name="discard", responses=errors(401, 404, 429, 503))
async def discard(service: ServiceDep, owner: Owner, upload: Found) -> Response:
    """Keep it no more; what was drawn from it stays."""
    await service.uploads.discard(upload, owner)
    return Response(status_code=204)
