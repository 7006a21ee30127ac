"""A resolved request and a model in memory become a work of the engine. Knows no queue."""

from collections.abc import Sequence

from torch import Tensor

from wire.schemas import ResolvedRequest
from worker.catalog import Loaded
from worker.engine.work import Work

_MOST_PREVIEWS = 256  # of one generation


def work_for(
    request: ResolvedRequest,
    loaded: Loaded,
    told: Sequence[Tensor | None],
    *,
    id_: str,
    owner: str = "",
    isolated: bool = False,
) -> Work:
    """What the engine is to do.

    Args:
        told: the result of `Loaded.conditions`.

    Raises:
        ValueError: the model cannot draw this.
    """
    *conditions, negative = told
    manifest, pictures = loaded.manifest, request.pictures
    table = manifest.build_table(
        request.sampler, request.steps, guidance_scale=request.guidance_scale, eta=request.eta
    )
    every = request.preview_every
    if every:
        every = max(every, -(-request.batch * request.steps // _MOST_PREVIEWS))
    return Work(
        id=id_,
        owner=owner,
        weights=loaded.weights,
        table=table,
        seeds=tuple(picture.seed for picture in pictures),
        conditions=tuple(conditions),
        negative=negative,
        guidance_scale=request.guidance_scale,
        guidance_interval=pictures[0].guidance_interval,
        clip=manifest.diffusion.clip,
        strip=request.strip,
        preview_every=every,
        isolated=isolated,
    )
