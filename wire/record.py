"""A generation's record: the Redis hash behind `Generation`, and how it becomes one.

App writes the record when it accepts a request; the one worker that holds the request updates it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from wire.schemas import (
    ErrorInfo,
    Generation,
    ImageEntry,
    Priority,
    Progress,
    RequestView,
    ResolvedRequest,
    Status,
    Timings,
    Urls,
)
from wire.webhook import queue

_IMAGE = "image:"
# By how many seconds a request counts as older or younger than it is, among its owner's.
_AHEAD: dict[Priority, float] = {"high": 600.0, "normal": 0.0, "low": -600.0}


@dataclass(kw_only=True)
class Record:
    """One generation, as stored. Times are Unix seconds.

    Attributes:
        owner: whose API key submitted it; "" where the server has no keys.
        result_ttl: seconds that results are kept after the end.
        row_steps: image-steps done, of batch * steps.
        eta: the worker's estimate of the Unix time of the end, while running.
        warnings: what its client should know, though it is drawn.
        images: finished images by index.
        suspected: whether a worker died while this was in its last step: it is drawn isolated.
        strikes: workers that died while it was drawn isolated.
        request_id: the HTTP request that submitted it, for the logs.
        webhook_secret: the client's own; "": the server's. Written, never read back: views have
            nothing to hide.
        traceparent: of W3C, the trace that it belongs to; "": none.
    """

    id: str
    owner: str
    request: ResolvedRequest
    created: float
    result_ttl: int
    status: Status = Status.QUEUED
    started: float | None = None
    finished: float | None = None
    row_steps: int = 0
    eta: float | None = None
    error: ErrorInfo | None = None
    warnings: list[str] = field(default_factory=list)
    images: dict[int, dict[str, Any]] = field(default_factory=dict)
    suspected: bool = False
    strikes: int = 0
    request_id: str = ""
    webhook_secret: str = ""
    traceparent: str = ""

    @property
    def model(self) -> str:
        """The model's name, without the step."""
        return self.request.model.partition("@")[0]

    @property
    def work(self) -> int:
        """Image-steps in all."""
        return self.request.batch * self.request.drawn_steps

    @property
    def evaluated(self) -> int:
        """Network evaluations made, as image-steps tell."""
        return self.request.evaluations * min(self.row_steps, self.work) // self.work

    @property
    def turn(self) -> float:
        """Where it stands among its owner's requests: the least is next. So a low one ages, too."""
        return self.created - _AHEAD[self.request.priority]

    @property
    def history_member(self) -> str:
        """This generation in its owner's history: sorts by creation, in microseconds."""
        return f"{round(self.created * 1e6):016x}{self.id}"

    def to_hash(self) -> dict[Any, Any]:
        """Fields of a fresh record, for HSET."""
        fields = {
            "id": self.id,
            "owner": self.owner,
            "version": self.request.model,
            "turn": repr(self.turn),
            "priority": self.request.priority,
            "batch": str(self.request.batch),
            "evaluations": str(self.request.evaluations),
            "request_id": self.request_id,
            "request": self.request.model_dump_json(),
            "created": repr(self.created),
            "result_ttl": str(self.result_ttl),
            "status": self.status.value,
            "traceparent": self.traceparent,
        }
        hook = self.request.webhook
        if hook is not None:
            fields["webhook"] = json.dumps(
                {
                    "url": hook.url,
                    "to": queue(hook.url, self.owner),
                    "events": dict.fromkeys(hook.events, True),
                    "secret": self.webhook_secret,
                }
            )
        return fields

    @classmethod
    def from_hash(cls, data: Mapping[Any, Any]) -> "Record":
        """Parse HGETALL's answer, which must not be empty."""
        text = {key.decode(): value.decode() for key, value in data.items()}

        def number(name: str) -> float | None:
            return float(text[name]) if text.get(name) else None

        return cls(
            id=text["id"],
            owner=text["owner"],
            request=ResolvedRequest.model_validate_json(text["request"]),
            created=float(text["created"]),
            result_ttl=int(text["result_ttl"]),
            status=Status(text["status"]),
            started=number("started"),
            finished=number("finished"),
            row_steps=int(text.get("row_steps", 0)),
            eta=number("eta"),
            error=ErrorInfo.model_validate_json(text["error"]) if text.get("error") else None,
            warnings=json.loads(text.get("warnings", "[]")),
            suspected="suspected" in text,
            strikes=int(text.get("strikes", 0)),
            request_id=text.get("request_id", ""),
            traceparent=text.get("traceparent", ""),
            images={
                int(key.removeprefix(_IMAGE)): json.loads(value)
                for key, value in text.items()
                if key.startswith(_IMAGE)
            },
        )

    def progress(
        self, *, now: float, queue_position: int | None = None, queue_eta: float | None = None
    ) -> Progress:
        """How far it is, as clients see it; the last two matter while it is queued."""
        total = self.work
        done = total if self.status is Status.SUCCEEDED else min(self.row_steps, total)
        eta = queue_eta if self.status is Status.QUEUED else None
        if self.status is Status.RUNNING and self.eta:
            eta = max(0.0, self.eta - now)
        return Progress(
            step=done // self.request.batch,
            steps=self.request.drawn_steps,
            fraction=round(done / total, 4),
            images_done=len(self.images),
            queue_position=queue_position if self.status is Status.QUEUED else None,
            eta_seconds=None if eta is None else round(eta, 3),
        )

    def generation(
        self, *, now: float, queue_position: int | None = None, queue_eta: float | None = None
    ) -> Generation:
        """The whole object, as clients see it."""
        progress = self.progress(now=now, queue_position=queue_position, queue_eta=queue_eta)
        base = f"/v1/generations/{self.id}"
        run_from = self.started if self.started is not None else self.finished
        return Generation(
            id=self.id,
            status=self.status,
            model=self.request.model,
            request=RequestView.of(self.request, id_=self.id),
            progress=progress,
            images=[image_entry(self.id, self.images[index]) for index in sorted(self.images)],
            urls=Urls(
                self=base,
                events=f"{base}/events",
                cancel=f"{base}/cancel",
                grid=f"{base}/grid.png",
                images_zip=f"{base}/images.zip",
                strip=f"{base}/strip.png" if self.request.strip else None,
            ),
            created_at=datetime.fromtimestamp(self.created, UTC),
            started_at=_moment(self.started),
            finished_at=_moment(self.finished),
            timings=Timings(
                queued_ms=_milliseconds(self.created, run_from),
                run_ms=_milliseconds(self.started, self.finished),
            ),
            error=self.error,
            warnings=self.warnings,
        )


def image_field(index: int) -> str:
    """The hash field of image ``index``."""
    return f"{_IMAGE}{index}"


def image_entry(id_: str, data: Mapping[str, Any]) -> ImageEntry:
    """A stored image's facts with its address."""
    url = f"/v1/generations/{id_}/images/{data['index']}.png"
    return ImageEntry.model_validate({**data, "url": url})


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _milliseconds(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round((end - start) * 1000, 1)
