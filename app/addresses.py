"""Addresses in answers: paths, or whole ones where the client prefers `urls=absolute`.

Whole ones begin with `EMAKI_PUBLIC_URL`, else with what the request called the server, which
`app.middleware.names` has looked at. Answers that are kept, and events, hold paths.
"""

from typing import Annotated

from fastapi import Depends, Header, Request

from app.prefer import Preferences
from app.state import ServiceDep
from wire.schemas import Generation


async def preferences(
    request: Request,
    _prefer: Annotated[
        str | None,
        Header(
            alias="Prefer",
            description="`wait=N` holds the answer up to N seconds (60 at most, and without a "
            "number); `urls=absolute` answers with whole addresses.",
        ),
    ] = None,
) -> Preferences:
    """What the client prefers, in however many lines."""
    return Preferences.parse(",".join(request.headers.getlist("prefer")))


Preferred = Annotated[Preferences, Depends(preferences)]


async def base(request: Request, service: ServiceDep, preferred: Preferred) -> str:
    """What addresses begin with; "" leaves them paths."""
    return public_url(request, service) if preferred.absolute else ""


Base = Annotated[str, Depends(base)]


def public_url(request: Request, service: ServiceDep) -> str:
    """By what address the client finds this server."""
    return service.settings.public_url or str(request.base_url).rstrip("/")


def placed(generation: Generation, base: str) -> Generation:
    """The same with whole addresses, if there is anything to begin them with."""
    if not base:
        return generation
    urls = {name: path and base + path for name, path in generation.urls}
    images = [entry.model_copy(update={"url": base + entry.url}) for entry in generation.images]
    return generation.model_copy(
        update={"urls": generation.urls.model_copy(update=urls), "images": images}
    )
