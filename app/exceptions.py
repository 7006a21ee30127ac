"""What a handler may raise instead of answering; `app.problems` turns it into an answer.

ServiceError
├── Unauthorized            401 unauthorized
├── GenerationNotFound      404 generation_not_found
├── ModelNotFound           404 model_not_found
├── ImageNotFound           404 image_not_found
├── MessageNotFound         404 message_not_found
├── UploadNotFound          404 upload_not_found
├── AlreadyFinished         409 already_finished
├── GenerationCanceled      409 generation_canceled (final)
├── GenerationExpired       410 generation_expired
├── ForeignHost             421 foreign_host
├── ForeignOrigin           421 foreign_origin
├── InvalidField            422 invalid_request
├── IdempotencyKeyReused    422 idempotency_key_reused
├── QueueFull               429 queue_full
├── StorageFull             429 storage_full
├── RateLimited             429 rate_limited
├── TooManyStreams          429 too_many_streams
├── WebhookBacklog          429 webhook_backlog
├── GenerationFailed        500 generation_failed (final)
├── Stopping                503 stopping
├── RedisAway               503 redis_unavailable
├── ImagesAway              503 images_unavailable
└── NotReady                503 not_ready
"""

import math
from collections.abc import Sequence
from typing import ClassVar

from wire.schemas import FieldError


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


class ForeignHost(ServiceError):
    """The server does not go by the name that it was called."""

    status, code = 421, "foreign_host"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host[:100]!a} in the header `Host` is no name of this server; use its own, or add "
            "that one to EMAKI_ALLOWED_HOSTS"
        )


class ForeignOrigin(ServiceError):
    """A page of another site asked a server that asks for no key."""

    status, code = 421, "foreign_origin"

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"pages of {origin[:100]!a} may not use this server; add it to EMAKI_CORS_ORIGINS to "
            "let them"
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


class MessageNotFound(ServiceError):
    """No webhook's message of this name was given up."""

    status, code = 404, "message_not_found"

    def __init__(self, id_: str) -> None:
        super().__init__(
            f"no message {id_[:64]!r} was given up; GET /v1/webhooks/dead lists those that were"
        )


class UploadNotFound(ServiceError):
    """There is no such upload, or it is another key's, or it has expired."""

    status, code = 404, "upload_not_found"

    def __init__(self, id_: str) -> None:
        super().__init__(
            f"no upload {id_[:64]!r}, or no more; send the picture again with POST /v1/uploads"
        )


class AlreadyFinished(ServiceError):
    """Too late to cancel."""

    status, code = 409, "already_finished"


class _Final(ServiceError):
    """A generation was made and has ended; asking again would make another, to the same end."""

    @property
    def headers(self) -> dict[str, str]:
        return {"x-should-retry": "false"}  # else the `openai` package asks twice more


class GenerationCanceled(_Final):
    """The picture that was waited for will not come."""

    status, code = 409, "generation_canceled"


class InvalidField(ServiceError):
    """A field is well-formed, but cannot be had from this model or server."""

    status, code = 422, "invalid_request"

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}", errors=[FieldError(field=field, detail=detail)])


class IdempotencyKeyReused(ServiceError):
    """The key stands for another request already."""

    status, code = 422, "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "this Idempotency-Key was used with another payload within the last 24 hours; send "
            "the same payload again, or a new key"
        )


class _Later(ServiceError):
    status = 429

    def __init__(self, detail: str, *, retry_after: float) -> None:
        super().__init__(detail)
        self._retry_after = max(1, math.ceil(retry_after))

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self._retry_after)}


class QueueFull(_Later):
    """The queue holds as many pictures as it may."""

    code = "queue_full"

    def __init__(self, queued: int, limit: int, wanted: int) -> None:
        super().__init__(
            f"{queued} pictures are queued and the limit is {limit}: no room for {wanted} more; "
            "retry in 5 s, or ask for fewer",
            retry_after=5,
        )


class StorageFull(_Later):
    """This key's results take as many bytes as they may."""

    code = "storage_full"

    def __init__(self, stored: int, limit: int, wanted: int) -> None:
        super().__init__(
            f"this key's results take {stored} bytes, these may take {wanted} more, and "
            f"EMAKI_MAX_STORED is {limit}; DELETE generations that you have fetched, ask for "
            "fewer pictures or a smaller scale, or wait until results expire",
            retry_after=60,
        )


class RateLimited(_Later):
    """This key has made its requests of the minute."""

    code = "rate_limited"

    def __init__(self, limit: int, retry_after: float) -> None:
        seconds = max(1, math.ceil(retry_after))
        super().__init__(
            f"more than {limit} requests in a minute; retry in {seconds} s",
            retry_after=retry_after,
        )


class TooManyStreams(_Later):
    """This key has as many event streams open as it may."""

    code = "too_many_streams"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} event streams are open, the most one key may have; close one, or poll",
            retry_after=5,
        )


class WebhookBacklog(_Later):
    """A receiver takes nothing, and as many as may wait for it do."""

    code = "webhook_backlog"

    def __init__(self, receiver: str, limit: int) -> None:
        super().__init__(
            f"{limit} generations wait to be told to {receiver}, which takes nothing; see to it, "
            "or leave `webhook` out",
            retry_after=60,
        )


class GenerationFailed(_Final):
    """The picture that was waited for could not be drawn."""

    status, code = 500, "generation_failed"


class _Temporary(ServiceError):
    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "2"}


class Stopping(_Temporary):
    """This process ends before the picture that is waited for is there; another may be there."""

    status, code = 503, "stopping"


class RedisAway(_Temporary):
    """Redis does not answer."""

    status, code = 503, "redis_unavailable"


class ImagesAway(_Temporary):
    """The file system that holds the pictures does not answer."""

    status, code = 503, "images_unavailable"


class NotReady(_Temporary):
    """No worker is there to draw."""

    status, code = 503, "not_ready"
