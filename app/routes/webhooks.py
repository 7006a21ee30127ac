"""`/v1/webhooks`: messages that were given up, and another try for them."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from app import cursor as cursors
from app.auth import Owner
from app.exceptions import MessageNotFound
from app.problems import errors
from app.state import ServiceDep
from wire.life import Delivery

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
_MOST_LISTED = 100


class DeadMessage(BaseModel):
    """A message that a webhook has not taken."""

    id: str = Field(description="`webhook-id`, the same at every try.")
    generation: str
    event: str
    url: str
    tries: int
    error: str = Field(description="Of the last try.")
    created_at: datetime
    given_up_at: datetime

    @classmethod
    def of(cls, letter: Delivery) -> "DeadMessage":
        """What its owner sees: no secret."""
        return cls(
            id=letter.id,
            generation=letter.generation,
            event=letter.event,
            url=letter.url,
            tries=letter.tries,
            error=letter.why,
            created_at=datetime.fromtimestamp(letter.at, UTC),
            given_up_at=datetime.fromtimestamp(letter.died, UTC),
        )


class DeadMessages(BaseModel):
    """A page of them, newest first."""

    data: list[DeadMessage]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page.")


@router.get("/dead", responses=errors(401, 422, 429, 503))
async def list_dead_messages(
    service: ServiceDep,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = 20,
    cursor: cursors.Asked = None,
) -> DeadMessages:
    """Your messages that were tried for a day in vain, newest first; kept for a week."""
    after = None if cursor is None else cursors.decode(cursor, owner, cursors.DEAD)
    letters, more = await service.store.dead_messages(owner, after=after, limit=limit)
    next_cursor = None if more is None else cursors.encode(more, owner)
    return DeadMessages(data=[DeadMessage.of(each) for each in letters], next_cursor=next_cursor)


@router.post("/dead/{id}/resend", status_code=204, responses=errors(401, 404, 429, 503))
async def resend_message(
    service: ServiceDep, owner: Owner, id_: Annotated[str, Path(alias="id")]
) -> Response:
    """Try it again, at once and for another day."""
    if not await service.store.resend(owner, id_):
        raise MessageNotFound(id_)
    return Response(status_code=204)
