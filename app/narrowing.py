"""What a list of generations is narrowed to, as its query says."""

from typing import Annotated

from fastapi import Depends, Query
from pydantic import AwareDatetime

from app.exceptions import InvalidField
from app.history import Wanted
from wire.schemas import MAX_SEED, MODEL_PATTERN, Status


async def narrowed(
    status: Annotated[Status | None, Query(description="Only these.")] = None,
    model: Annotated[
        str | None, Query(pattern=MODEL_PATTERN, description="Only of this `name` or `name@step`.")
    ] = None,
    class_: Annotated[
        str | None,
        Query(alias="class", description="Only with an image of this class."),
    ] = None,
    seed: Annotated[
        int | None, Query(ge=0, le=MAX_SEED, description="Only with an image of this seed.")
    ] = None,
    created_after: Annotated[
        AwareDatetime | None, Query(description="Only from this moment (RFC 3339) on.")
    ] = None,
    created_before: Annotated[
        AwareDatetime | None, Query(description="Only from before this moment (RFC 3339).")
    ] = None,
) -> Wanted:
    """The filters, checked.

    Raises:
        InvalidField: they leave no time between them.
    """
    if created_after and created_before and created_before <= created_after:
        raise InvalidField(
            "created_before",
            f"{created_before.isoformat()} is not after created_after, "
            f"{created_after.isoformat()}; send a later moment",
        )
    return Wanted(
        status=status,
        model=model,
        class_=class_,
        seed=seed,
        since=created_after,
        until=created_before,
    )


Narrowed = Annotated[Wanted, Depends(narrowed)]
