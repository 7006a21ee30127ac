"""Every error of the API, as RFC 9457 problem details.

    ServiceError
    ├── Unauthorized          401 unauthorized
    ├── GenerationNotFound    404 generation_not_found
    ├── ModelNotFound         404 model_not_found
    ├── ImageNotFound         404 image_not_found
    ├── AlreadyFinished       409 already_finished
    ├── GenerationCanceled    409 generation_canceled
    ├── GenerationExpired     410 generation_expired
    ├── InvalidField          422 invalid_request
    ├── GenerationFailed      500 generation_failed
    ├── RedisAway             503 redis_unavailable
    └── NotReady              503 not_ready

What FastAPI itself raises (bad JSON, bad fields, no such route) gets the same form.
"""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from wire.schemas import FieldError, GenerationRequest, Problem

log = logging.getLogger("emaki.app")
MEDIA_TYPE = "application/problem+json"


class ServiceError(Exception):
    """An answer that is an error; the message is for a person."""

    status: ClassVar[int]
    code: ClassVar[str]

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.errors = list(errors)

    @property
    def headers(self) -> dict[str, str]:
        """Header fields that belong to the error."""
        return {}


class Unauthorized(ServiceError):
    """No API key, or a wrong one."""

    status, code = 401, "unauthorized"

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class GenerationNotFound(ServiceError):
    """There is no such generation, or it is another key's."""

    status, code = 404, "generation_not_found"

    def __init__(self, id_: str) -> None:
        super().__init__(
            f"no generation {id_[:64]!r}; submit one with POST /v1/generations and use its id"
        )


class GenerationExpired(ServiceError):
    """There was such a generation, and its results are gone."""

    status, code = 410, "generation_expired"

    def __init__(self, id_: str) -> None:
        super().__init__(
            f"the results of generation {id_} have expired; submit the same request with the same "
            "seed to draw the same pictures again"
        )


class ModelNotFound(ServiceError):
    """No worker has published such a model or version."""

    status, code = 404, "model_not_found"

    def __init__(self, wanted: str, known: Sequence[str]) -> None:
        choice = f"there is: {', '.join(known[-10:])}" if known else "no worker has published any"
        super().__init__(
            f"no model {wanted!r}; {choice}; see GET /v1/models",
            errors=[FieldError(field="model", detail=f"{wanted!r} is not known")],
        )


class ImageNotFound(ServiceError):
    """The generation has no such image (yet)."""

    status, code = 404, "image_not_found"


class AlreadyFinished(ServiceError):
    """Too late to cancel."""

    status, code = 409, "already_finished"


class GenerationCanceled(ServiceError):
    """The picture that was waited for will not come."""

    status, code = 409, "generation_canceled"


class InvalidField(ServiceError):
    """A field is well-formed, but cannot be had from this model or server."""

    status, code = 422, "invalid_request"

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}", errors=[FieldError(field=field, detail=detail)])


class GenerationFailed(ServiceError):
    """The picture that was waited for could not be drawn."""

    status, code = 500, "generation_failed"


class _Temporary(ServiceError):
    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "2"}


class RedisAway(_Temporary):
    """Redis does not answer."""

    status, code = 503, "redis_unavailable"


class NotReady(_Temporary):
    """No worker is there to draw."""

    status, code = 503, "not_ready"


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status in (400, 401, 404, 409, 410, 415, 422, 500, 503)
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for a route that may answer with these errors."""
    return {status: ERRORS[status] for status in statuses}


def install(app: FastAPI) -> None:
    """Make every error leave as a problem."""

    @app.exception_handler(ServiceError)
    async def service_error(_request: Request, error: ServiceError) -> Response:
        return respond(error.status, error.code, str(error), error.errors, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _invalid(request, error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        where = f"{request.method} {request.url.path[:200]}"
        detail = {
            404: f"no route {where}; see /docs",
            405: f"{where} is not supported; see /docs for the methods of this route",
            400: f"the body cannot be read: {error.detail}; send one JSON object",
        }.get(error.status_code, str(error.detail))
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return respond(error.status_code, code, detail, headers=dict(error.headers or {}))

    @app.exception_handler(RedisError)
    async def redis_error(_request: Request, error: RedisError) -> Response:
        log.warning("Redis does not answer: %s", error)
        away = RedisAway("Redis does not answer right now; try again in a moment")
        return respond(away.status, away.code, str(away), headers=away.headers)

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, error: Exception) -> Response:
        log.error("unexpected error", exc_info=error)
        return respond(500, "internal_error", "the server failed; its log says why; try again")


def respond(
    status: int,
    code: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem as a response."""
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        errors=list(errors),
    )
    # Surrogates from a client's JSON cannot be encoded: show them escaped.
    body = problem.model_dump_json().encode("utf-8", "backslashreplace")
    return Response(body, status, headers, media_type=MEDIA_TYPE)


def _invalid(request: Request, error: RequestValidationError) -> Response:
    """What FastAPI could not validate: the body as a whole, or some of its fields."""
    found: dict[str, str] = {}
    for item in error.errors():
        location = [str(part) for part in item["loc"] if part not in ("body", "query", "path")]
        if item["type"] == "json_invalid" or not location:
            return _invalid_body(request, item)
        found.setdefault(location[0], _explain(location[0], item))
    fields = [FieldError(field=name, detail=detail) for name, detail in found.items()]
    summary = "; ".join(f"{f.field}: {f.detail}" for f in fields[:5])
    return respond(422, "invalid_request", summary, fields)


def _invalid_body(request: Request, item: Any) -> Response:
    if item["type"] == "json_invalid":
        reason = item.get("ctx", {}).get("error", "not JSON")
        detail = f"the body is not JSON ({reason}); send one JSON object"
        return respond(400, "invalid_json", detail)
    media_type = request.headers.get("content-type", "")
    if "json" not in media_type:
        detail = f"content-type is {media_type!r}; send JSON as application/json"
        return respond(415, "unsupported_media_type", detail)
    return respond(422, "invalid_request", "the body is not a JSON object; send {...}")


_REASONS = {
    "greater_than_equal": "{value} is below the least, {ge}; send {ge} or more",
    "less_than_equal": "{value} is above the most, {le}; send {le} or less",
    "literal_error": "{value} is not known; send one of {expected}",
    "string_pattern_mismatch": "{value} is not of the form `name` or `name@step`; see /v1/models",
    "extra_forbidden": "unknown field; remove it or use one of {fields}",
}


def _explain(field: str, item: Any) -> str:
    """Value, limit and next action of one field's error."""
    value = ascii(item.get("input"))
    value = value if len(value) <= 80 else f"{value[:77]}..."
    if field == "class":
        return f"{value} is not a class's name or index, null, or a list of `batch` of these"
    known = [info.alias or name for name, info in GenerationRequest.model_fields.items()]
    reason = _REASONS.get(item["type"])
    if reason is None:
        return f"{value} is not accepted: {item['msg'][:1].lower()}{item['msg'][1:]}"
    return reason.format(value=value, fields=", ".join(known), **item.get("ctx", {}))
