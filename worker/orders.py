"""What a request asks for, as work for the engine: its table, its conditions, its noise.

What the version that is loaded cannot draw is `Undrawable`, and ends that request alone.
"""

from concurrent.futures import Future
from dataclasses import dataclass, field

from models.manifest import Manifest
from wire.record import Record
from wire.schemas import ErrorInfo, Priority, ResolvedRequest
from worker.catalog import Loaded
from worker.engine.work import Work
from worker.inputs import Begun, from_noise
from worker.words import Conditions

_MOST_PREVIEWS = 256  # of one generation
_WEIGHTS: dict[Priority, float] = {"high": 4.0, "normal": 1.0, "low": 0.25}


class Undrawable(Exception):
    """Why a generation fails before it begins."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.info = ErrorInfo(code=code, detail=detail)


def require_classes(request: ResolvedRequest, manifest: Manifest) -> None:
    """Raise `Undrawable` for a class that another version had and this one has not."""
    lacking = {*request.class_names, request.negative_class} - {None, *manifest.classes}
    if lacking:
        raise Undrawable(
            "invalid_request",
            f"{manifest.version} has no class {min(map(str, lacking))!r}; it has "
            f"{', '.join(manifest.classes[:20])}",
        )


@dataclass(frozen=True)
class Order:
    """What a work needs that takes a while: its words encoded, its pictures read."""

    conditions: Future[Conditions]
    begun: Future[Begun] = field(default_factory=from_noise)

    @property
    def ready(self) -> bool:
        """Whether all of it is there."""
        return self.conditions.done() and self.begun.done()


def as_work(record: Record, loaded: Loaded, order: Order, *, id_: str) -> Work:
    """The work of a generation whose order is ready; ``record`` gets its warnings.

    Raises:
        Undrawable: the words, pictures or table that it asks for cannot be had.
    """
    request, manifest = record.request, loaded.manifest
    try:
        drawn_for = order.conditions.result()
        table = manifest.build_table(
            request.sampler,
            request.steps,
            guidance_scale=request.guidance_scale,
            eta=request.eta,
        )
    except ValueError as error:
        raise Undrawable(
            "invalid_request", f"{manifest.version} cannot draw this: {error}"
        ) from error
    except Exception as error:
        raise Undrawable(
            "drawing_failed",
            f"the text encoder of {manifest.version} failed ({error}); other words may do",
        ) from error
    try:
        begun = order.begun.result()
    except Exception as error:
        raise Undrawable(
            "drawing_failed",
            f"{manifest.version} cannot begin from this init_image ({error}); send it again",
        ) from error
    variation = None
    if request.variation_seed is not None and request.variation_strength:
        seeds = range(request.variation_seed, request.variation_seed + request.batch)
        variation = (tuple(seeds), request.variation_strength)
    record.warnings = _warnings(drawn_for, manifest)
    every = request.preview_every
    if every:
        every = max(every, -(-record.work // _MOST_PREVIEWS))
    pictures = request.pictures
    return Work(
        id=id_,
        owner=record.owner,
        weights=loaded.weights,
        table=table.last(request.drawn_steps),
        seeds=tuple(picture.seed for picture in pictures),
        conditions=drawn_for.each,
        negative=drawn_for.negative,
        guidance_scale=request.guidance_scale,
        guidance_interval=pictures[0].guidance_interval,
        clip=manifest.diffusion.clip,
        variation=variation,
        known=begun.known,
        paste=begun.paste,
        skipped=request.steps - request.drawn_steps,
        strip=request.strip,
        preview_every=every,
        isolated=record.suspected,
        weight=_WEIGHTS[request.priority],
    )


def _warnings(conditions: Conditions, manifest: Manifest) -> list[str]:
    tokens = 0 if manifest.text is None else manifest.text.tokens
    return [
        f"{'the negative prompt' if index < 0 else f'the prompt of image {index}'} is longer than "
        f"the {tokens} tokens that {manifest.version} reads; what follows them was left out"
        for index in conditions.cut
    ]
