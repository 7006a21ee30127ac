"""`/livez` and `/readyz`: no key needed."""

from fastapi import APIRouter

from app.exceptions import NotReady
from app.problems import errors
from app.state import ServiceDep

router = APIRouter()


@router.get("/livez", operation_id="check_liveness", tags=["health"])
async def livez() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="check_readiness", tags=["health"], responses=errors(503))
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
