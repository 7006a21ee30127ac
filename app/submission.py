"""From a validated request to a generation: limits, one generation per Idempotency-Key, waiting."""

import hashlib
import time
import uuid

from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from app.exceptions import (
    GenerationCanceled,
    GenerationFailed,
    IdempotencyKeyReused,
    ImageNotFound,
    InvalidField,
    ModelNotFound,
    WebhookBacklog,
)
from app.inputs import Sent
from app.queue import Idempotency
from app.resolve import resolve, split_version
from app.results import expected_bytes
from app.sheets import grid_png
from app.sources import fit_sent, given, kept, read_inputs
from app.state import Service
from app.wakes import Wakes
from app.webhooks.fields import MOST_WAITING, check_webhook
from wire import keys
from wire.life import Outcome
from wire.record import Record
from wire.schemas import GenerationRequest, Status
from wire.webhook import receiver

_MOST_KEY_CHARACTERS = 255


def idempotency(owner: str, key: str, wanted: GenerationRequest) -> Idempotency:
    """What the header `Idempotency-Key` of this request stands for.

    Raises:
        InvalidField: it is empty, too long, or has characters that are not printable ASCII.
    """
    if not (0 < len(key) <= _MOST_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        raise InvalidField(
            "Idempotency-Key",
            f"{key[:60]!r} is not 1 to {_MOST_KEY_CHARACTERS} printable ASCII characters; send a "
            "UUID, for example",
        )
    payload = wanted.model_dump_json(exclude_unset=True, by_alias=True)
    digest = hashlib.sha256(key.encode()).hexdigest()
    fingerprint = hashlib.sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()
    return Idempotency(keys.idempotency(owner, digest), fingerprint)


async def accept(
    service: Service,
    owner: str,
    wanted: GenerationRequest,
    *,
    request_id: str,
    traceparent: str = "",
    host: str = "",
    once: Idempotency | None = None,
    sent: Sent | None = None,
) -> tuple[Record, bool]:
    """Put what is wanted into the queue.

    Args:
        host: what the caller calls this server.
        sent: pictures that came as files, in place of those that ``wanted`` names.

    Returns:
        The record, and whether it is new; an Idempotency-Key may stand for an earlier one.

    Raises:
        ServiceError: it cannot be drawn, or there is no room, or the Idempotency-Key was used
            for something else.
    """
    if wanted.model is None:
        wanted = wanted.model_copy(update={"model": service.settings.default_model})
    name, _ = split_version(wanted.model or "")
    card = await service.offers.card(name)
    if card is None:
        raise ModelNotFound(name, sorted((await service.offers.now()).cards))
    secret = await _webhook_secret(service, wanted, owner)
    if sent is None:
        inputs = await read_inputs(service, owner, wanted, card, host=host)
    else:
        inputs = await fit_sent(service, sent, card)
    record = Record(
        id=uuid.uuid4().hex,
        owner=owner,
        request=resolve(wanted, card, max_work=service.settings.max_work, given=given(inputs)),
        created=time.time(),
        result_ttl=service.settings.result_ttl,
        request_id=request_id,
        webhook_secret=secret,
        traceparent=traceparent,
    )
    files = kept(inputs)
    reserved = expected_bytes(record.request, card) + sum(map(len, files.values()))
    admission = await run_in_threadpool(
        service.queue.submit, record, once, reserved=reserved, inputs=files
    )
    if admission.outcome is Outcome.CONFLICT:
        raise IdempotencyKeyReused
    if admission.outcome is Outcome.REPLAY:
        return await service.store.record(admission.detail, owner), False
    return record, True


async def _webhook_secret(service: Service, wanted: GenerationRequest, owner: str) -> str:
    """The client's own secret, if it has one; its webhook can be told."""
    if wanted.webhook is None:
        return ""
    check_webhook(wanted.webhook, service.settings)
    url = wanted.webhook.url
    if await service.store.waiting_to_be_told(url, owner) >= MOST_WAITING:
        raise WebhookBacklog(receiver(url), MOST_WAITING)
    return wanted.webhook.secret or ""


async def until_finished(service: Service, record: Record, *, seconds: float) -> Record:
    """The record when it is finished, after so many seconds, or as this process stops."""
    deadline = time.monotonic() + seconds
    with service.wakes.watch(record.id, end=True) as news:
        while True:
            news.clear()
            try:
                record = await service.store.record(record.id, record.owner)
            except RedisError:
                return record  # it is accepted all the same; the client polls
            left = deadline - time.monotonic()
            if record.status.finished or left <= 0 or service.wakes.stopped:
                return record
            await Wakes.wait(news, seconds=left)


async def picture(service: Service, record: Record) -> bytes:
    """The one PNG of a finished generation: its image, or the grid of its images.

    Raises:
        ServiceError: it failed or was canceled, or its images are gone.
    """
    if record.status is Status.FAILED:
        why = record.error.detail if record.error else "unknown"
        raise GenerationFailed(f"generation {record.id} failed: {why}")
    if record.status is Status.CANCELED:
        raise GenerationCanceled(f"generation {record.id} was canceled; submit it again")
    async with service.sheets:
        return await run_in_threadpool(grid_png, await all_images(service, record))


async def all_images(service: Service, record: Record) -> list[bytes]:
    """Every PNG of a finished generation.

    Raises:
        ImageNotFound: it is not finished.
    """
    pngs = await service.store.all_pngs(record)
    if record.status is not Status.SUCCEEDED or len(pngs) < record.request.batch:
        raise ImageNotFound(no_image(record))
    return pngs


def no_image(record: Record, index: int | None = None) -> str:
    """Why a generation has no such picture, or not all of them."""
    what = "pictures" if index is None else f"picture {index}"
    progress = f"{len(record.images)} of {record.request.batch} are finished"
    return f"generation {record.id} is {record.status.value} and has no {what}: {progress}"
