"""`/v1/models`: what can be drawn, as the workers say."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.auth import Owner
from app.exceptions import ModelNotFound
from app.problems import errors
from app.resolve import split_version
from app.state import ServiceDep
from wire.schemas import ModelCard, ModelList

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", operation_id="list_models", responses=errors(401, 503))
async def list_models(service: ServiceDep, _owner: Owner) -> ModelList:
    """Every model that can be drawn; the server's default first."""
    default, _ = split_version(service.settings.default_model)
    cards = (await service.offers.read()).cards.values()
    return ModelList(data=sorted(cards, key=lambda card: (card.id != default, card.id)))


@router.get("/{name}", operation_id="get_model", responses=errors(401, 404, 503))
async def get_model(
    service: ServiceDep, _owner: Owner, name: Annotated[str, Path(max_length=64)]
) -> ModelCard:
    """One model's card."""
    cards = (await service.offers.read()).cards
    if name not in cards:
        raise ModelNotFound(name, sorted(cards))
    return cards[name]
