"""What the first request would pay for alone, paid before there is one.

Libraries import parts of themselves when they are first needed (torch's shape rules, numpy's sets,
Pillow's formats): half a second in all. So one picture is drawn and thrown away while nobody waits.
Knows the engine; knows no Redis and no queue.
"""

import logging

import torch

from models.sampler import SAMPLERS
from wire.picture import WHOLE, Picture
from worker.catalog import Loaded
from worker.engine.engine import Engine
from worker.engine.work import ImageDone, Work, WorkFailed
from worker.render import png

log = logging.getLogger("emaki.worker")
_STEPS = 2


def draw_one(engine: Engine, loaded: Loaded) -> None:
    """Draw a small picture with an engine that has nothing else to do yet.

    Where that fails, a line says so: what was asked for may be drawn all the same.
    """
    weights, diffusion = loaded.weights, loaded.manifest.diffusion
    tables = [diffusion.build_table(sampler, _STEPS) for sampler in SAMPLERS]
    needed = weights.condition is not None and weights.condition.null is None
    condition = torch.tensor(0) if needed else None
    work = Work(
        id="warm-up",
        owner="",
        weights=weights,
        table=tables[0],
        seeds=(0,),
        conditions=(condition,),
    )
    engine.add(work)
    while not engine.idle:
        for event in engine.step():
            if isinstance(event, ImageDone):
                png(event.pixels, _picture(loaded))
            elif isinstance(event, WorkFailed):
                log.error("%s draws nothing to warm up", weights.version, exc_info=event.error)


def _picture(loaded: Loaded) -> Picture:
    return Picture(
        model=loaded.manifest.version,
        seed=0,
        class_name=None,
        steps=_STEPS,
        sampler=loaded.manifest.defaults.sampler,
        guidance_scale=1.0,
        guidance_interval=WHOLE,
        eta=0.0,
        scale=1,
    )
