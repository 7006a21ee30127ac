"""Every error leaves as RFC 9457 problem details; where OpenAI's clients ask, as OpenAI's error.

What FastAPI itself raises (bad JSON, bad fields, no such route) gets the same form.
"""

import json
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from app import exceptions
from app.exceptions import RedisAway, ServiceError
from app.validation import explain
from wire.connect import takes_no_writes
from wire.images import ImagesAway
from wire.schemas import FieldError, Problem

log = logging.getLogger("emaki.app")
MEDIA_TYPE = "application/problem+json"
OPENAI_PREFIX = "/v1/images/"
_CODES = {413: "content_too_large", 422: "invalid_request"}  # others: their phrase
_OPENAI_CODES = {"unauthorized": "invalid_api_key", "rate_limited": "rate_limit_exceeded"}


BINARY = {"type": "string", "format": "binary"}  # of a file, in the description


def _described(status: int) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


ERRORS: dict[int | str, dict[str, Any]] = {
    status: _described(status)
    for status in (400, 401, 404, 408, 409, 410, 413, 415, 421, 422, 429, 500, 503)
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for a route that may answer with these errors."""
    return {status: ERRORS[status] for status in statuses}


def install(app: FastAPI) -> None:
    """Make every error leave as a problem."""

    @app.exception_handler(ServiceError)
    async def service_error(request: Request, error: ServiceError) -> Response:
        return refuse(request.url.path, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        status, code, detail, fields = explain(error, request.headers.get("content-type", ""))
        return respond(request.url.path, status, code, detail, fields)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        where = f"{request.method} {request.url.path[:200]}"
        detail = {
            404: f"no route {where}; see /docs",
            405: f"{where} is not supported; see /docs for the methods of this route",
            400: f"the body cannot be read: {error.detail}; send one JSON object",
        }.get(error.status_code, str(error.detail))
        phrase = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        code = _CODES.get(error.status_code, phrase)
        headers = dict(error.headers or {})
        return respond(request.url.path, error.status_code, code, detail, headers=headers)

    @app.exception_handler(ImagesAway)
    async def images_away(request: Request, error: ImagesAway) -> Response:
        log.warning("%s", error)
        return refuse(request.url.path, exceptions.ImagesAway(str(error)))

    @app.exception_handler(RedisError)
    async def redis_error(request: Request, error: RedisError) -> Response:
        if takes_no_writes(error):
            log.error("Redis takes no writes: %s", error)
            away = RedisAway(
                "Redis takes no writes right now (its memory or disk is full, or it is a replica); "
                "nothing was accepted; try again later, or tell whoever runs the server"
            )
        else:
            log.warning("Redis does not answer: %s", error)
            away = RedisAway("Redis does not answer right now; try again in a moment")
        return refuse(request.url.path, away)


def refuse(path: str, error: ServiceError) -> Response:
    """A service's error as the answer to a request for ``path``."""
    return respond(path, error.status, error.code, str(error), error.errors, error.headers)


def respond(
    path: str,
    status: int,
    code: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """An error as the answer to a request for ``path``, in the form that its clients read."""
    if path.startswith(OPENAI_PREFIX):
        return _openai(status, code, detail, errors, headers)
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


def openai_error(status: int, code: str, detail: str, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error envelope."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": detail, "type": kind, "param": param, "code": _OPENAI_CODES.get(code, code)}
    return {"error": error}


def _openai(
    status: int,
    code: str,
    detail: str,
    errors: Sequence[FieldError],
    headers: dict[str, str] | None,
) -> Response:
    status = 400 if status == 422 else status  # as OpenAI answers bad fields
    envelope = openai_error(status, code, detail, errors[0].field if errors else None)
    # ensure_ascii: surrogates from a client's JSON leave escaped, as they came.
    return Response(json.dumps(envelope), status, headers, media_type="application/json")
