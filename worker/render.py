"""Pixels to PNG bytes that depend on nothing but what the picture is.

The text chunks name the model, seed and parameters, so a file found on a disk can be drawn again.
"""

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wire.schemas import ResolvedRequest
from worker.engine import Pixels


def png(pixels: Pixels, request: ResolvedRequest, index: int) -> bytes:
    """Encode image ``index`` of a request; ``pixels`` is (H, W, C) uint8."""
    enlarged = pixels.repeat(request.scale, axis=0).repeat(request.scale, axis=1)
    image = Image.fromarray(enlarged.squeeze(-1) if pixels.shape[-1] == 1 else enlarged)
    name = request.class_names[index]
    parameters = {
        "Software": "Emaki",
        "model": request.model,
        "seed": str(request.seed + index),
        "class": "" if name is None else name,
        "steps": str(request.steps),
        "sampler": request.sampler,
        "guidance_scale": repr(float(request.guidance_scale)),
        "eta": repr(float(request.eta)),
        "scale": str(request.scale),
    }
    chunks = PngInfo()
    for key, value in parameters.items():
        chunks.add_itxt(key, value) if not value.isascii() else chunks.add_text(key, value)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=chunks, compress_level=6)
    return buffer.getvalue()
