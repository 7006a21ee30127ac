"""The API's requests as data, and how their answers are read. No I/O: both clients send these."""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypedDict, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from emaki.asked import Fields
from emaki.errors import Refused
from wire.schemas import FieldError, Generation, GenerationList, ModelList, Status

DEFAULT_URL = "http://127.0.0.1:8000"
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Narrowed(TypedDict, total=False):
    """What a list of generations is narrowed to; None is not asked about."""

    status: Status | str | None
    model: str | None
    class_: str | None
    seed: int | None
    created_after: datetime | None
    created_before: datetime | None


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request. Each is safe to repeat: what would draw twice carries an Idempotency-Key."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)


def connection(url: str | None, key: str | None, *, timeout: float) -> dict[str, Any]:
    """What httpx's clients need to know: address, key, patience.

    Args:
        url: default: EMAKI_URL, else where `emaki serve` listens.
        key: an API key; default: EMAKI_API_KEY, else none.
    """
    key = os.environ.get("EMAKI_API_KEY") if key is None else key
    return {
        "base_url": (url or os.environ.get("EMAKI_URL") or DEFAULT_URL).rstrip("/"),
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "timeout": timeout,
    }


def submit(fields: Fields, idempotency_key: str | None = None) -> Call[Generation]:
    """Ask for pictures."""
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    return Call("POST", "/v1/generations", _as(Generation), json=fields, headers=headers)


def look(id_: str) -> Call[Generation]:
    """How a generation is."""
    return Call("GET", f"/v1/generations/{id_}", _as(Generation))


def cancel(id_: str) -> Call[Generation]:
    """Stop a generation."""
    return Call("POST", f"/v1/generations/{id_}/cancel", _as(Generation))


def delete(id_: str) -> Call[None]:
    """Remove a generation and its pictures."""
    return Call("DELETE", f"/v1/generations/{id_}", _nothing)


@contextmanager
def gone_is_fine() -> Iterator[None]:
    """What is not there any more need not be removed."""
    try:
        yield
    except Refused as error:
        if error.status not in (404, 410):
            raise


def page(wanted: Narrowed, cursor: str | None, *, limit: int) -> Call[GenerationList]:
    """Some of the caller's generations, newest first."""
    asked = {name.rstrip("_"): value for name, value in {**wanted, "cursor": cursor}.items()}
    params = {
        name: value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in {**asked, "limit": limit}.items()
        if value is not None
    }
    return Call("GET", "/v1/generations", _as(GenerationList), params=params)


def models() -> Call[ModelList]:
    """All models' cards, the default one's first."""
    return Call("GET", "/v1/models", _as(ModelList))


def download(url: str) -> Call[bytes]:
    """A picture, strip or archive."""
    return Call("GET", url, lambda answer: answer.content)


def check(answer: httpx.Response) -> httpx.Response:
    """The answer itself, if it is none of an error.

    Raises:
        Refused: it is one.
    """
    if answer.is_success:
        return answer
    where = f"{answer.request.method} {answer.request.url}"
    problem = _problem(answer)
    detail = (
        problem.get("detail") or f"{where} answered {answer.status_code}, and not as Emaki does"
    )
    raise Refused(
        str(detail),
        status=answer.status_code,
        code=str(problem.get("code", "unknown")),
        errors=_errors(problem),
        retry_after=_seconds(answer.headers.get("retry-after", "")),
    )


def _errors(problem: Mapping[str, Any]) -> list[FieldError]:
    """What is wrong with which fields; nothing of an answer that is not Emaki's."""
    try:
        return TypeAdapter(list[FieldError]).validate_python(problem.get("errors", []))
    except ValidationError:
        return []


def _problem(answer: httpx.Response) -> dict[str, Any]:
    if "json" not in answer.headers.get("content-type", ""):
        return {}
    try:
        problem = answer.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None


def _as(kind: type[M]) -> Callable[[httpx.Response], M]:
    def read(answer: httpx.Response) -> M:
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            where = f"{answer.request.method} {answer.request.url}"
            raise Refused(
                f"{where} answered what this version of emaki cannot read as a {kind.__name__} "
                f"({error.error_count()} errors); is it Emaki, and of the same version?",
                status=answer.status_code,
                code="unreadable",
            ) from error

    return read


def _nothing(_answer: httpx.Response) -> None:
    return None
