"""The ends: finish (by its worker), cancel and delete (by a client), lapse (by time)."""

import dataclasses
import json
import time
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from wire.life.script import Call, script
from wire.record import Record
from wire.schemas import ErrorInfo, Status

_TTL_UNKNOWN = 3600
REMEMBER_SECONDS = 7 * 24 * 3600  # after the results have gone, the id answers 410


class Canceled(IntEnum):
    """What came of a wish to cancel."""

    TOO_LATE = -1
    ASKED = 0  # its worker has it in hand, and will
    NOW = 1


def finish(
    record: Record, worker: str, status: Status, error: ErrorInfo | None = None
) -> Call[bool]:
    """Its worker ends it; ``record`` says so from now on. Whether it had not ended before."""
    _end(record, status, error)
    done = record.generation(now=record.finished or 0).model_dump_json()
    return script("finish").call(
        bool,
        id=record.id,
        worker=worker,
        status=status.value,
        now=repr(record.finished),
        failure=error.model_dump_json() if error else "",
        done=done,
        **_times(record.result_ttl),
    )


def abort(id_: str, worker: str, error: ErrorInfo, data: Mapping[bytes, bytes]) -> Call[bool]:
    """The same for a record that cannot be read: it failed, and `done` says no more than that."""
    failed = _unread(id_, error, data)
    return script("finish").call(bool, worker=worker, status=Status.FAILED.value, **failed)


def cancel(record: Record) -> Call[Canceled]:
    """A client wants it stopped."""
    record = dataclasses.replace(record)
    _end(record, Status.CANCELED, None)
    done = record.generation(now=record.finished or 0).model_dump_json()
    return script("cancel").call(
        Canceled, id=record.id, now=repr(record.finished), done=done, **_times(record.result_ttl)
    )


def lapse(record: Record, error: ErrorInfo) -> Call[bool]:
    """It has waited in vain; whether it was still waiting."""
    record = dataclasses.replace(record)
    _end(record, Status.FAILED, error)
    return script("lapse").call(
        bool,
        id=record.id,
        now=repr(record.finished),
        failure=error.model_dump_json(),
        done=record.generation(now=record.finished or 0).model_dump_json(),
        **_times(record.result_ttl),
    )


def lapse_unread(id_: str, error: ErrorInfo, data: Mapping[bytes, bytes]) -> Call[bool]:
    """The same for a record that cannot be read."""
    return script("lapse").call(bool, **_unread(id_, error, data))


def delete(record: Record) -> Call[bool]:
    """A client wants nothing of it kept; whether there was anything."""
    return script("delete").call(bool, id=record.id, member=record.history_member)


def _end(record: Record, status: Status, error: ErrorInfo | None) -> None:
    record.status, record.finished = status, time.time()
    record.error, record.eta = error, None
    if status is Status.SUCCEEDED:
        record.row_steps = record.work


def _unread(id_: str, error: ErrorInfo, data: Mapping[bytes, bytes]) -> dict[str, Any]:
    """What both ends of a record that makes no sense here are told; another release accepted it."""
    done = {"id": id_, "status": Status.FAILED.value, "error": error.model_dump()}
    kept = data.get(b"result_ttl", b"")
    return {
        "id": id_,
        "now": repr(time.time()),
        "failure": error.model_dump_json(),
        "done": json.dumps(done),
        **_times(int(kept) if kept.isdigit() else _TTL_UNKNOWN),
    }


def _times(result_ttl: int) -> dict[str, Any]:
    return {"keep": result_ttl, "remember": result_ttl + REMEMBER_SECONDS}
