"""`/livez`, `/readyz` and the web page: no key needed."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from app.exceptions import NotReady
from app.problems import errors
from app.state import ServiceDep

router = APIRouter()
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_STATIC = Path(__file__).parent.parent / "static"


@router.get("/livez", tags=["health"])
async def livez() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.get("/readyz", tags=["health"], responses=errors(503))
async def readyz(service: ServiceDep) -> dict[str, str | int | list[str]]:
    """Redis answers, and a live worker holds a model."""
    workers = await service.offers.workers()
    models = sorted({model for worker in workers for model in worker.models})
    if not models:
        raise NotReady(
            "no live worker holds a model; requests for known models are accepted and wait; "
            "start one with `python -m worker` or read its log"
        )
    return {"status": "ready", "workers": len(workers), "models": models}


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The web page; it needs nothing but this server, and may load nothing else."""
    return FileResponse(_STATIC / "index.html", headers=_PAGE_HEADERS)
