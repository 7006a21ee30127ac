"""`/livez`, `/readyz` and the web page: no key needed."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from app.problems import NotReady, errors
from app.state import ServiceDep

router = APIRouter()
_STATIC = Path(__file__).parent.parent / "static"


@router.get("/livez", tags=["health"])
async def livez() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.get("/readyz", tags=["health"], responses=errors(503))
async def readyz(service: ServiceDep) -> dict[str, str | int | list[str]]:
    """Redis answers, and a live worker holds a model."""
    workers, models = await service.store.live_models()
    if not models:
        raise NotReady(
            "no live worker holds a model; requests for known models are accepted and wait; "
            "start one with `python -m worker` or read its log"
        )
    return {"status": "ready", "workers": workers, "models": models}


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The web page."""
    return FileResponse(_STATIC / "index.html")
