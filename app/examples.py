"""An example of every field, for people who read the description and tools that try it."""

from typing import Any

_ID = "4f1c2a9e0b7d4c6f8a3e5d1b2c4a6e8f"
_BASE = f"/v1/generations/{_ID}"
_VERSION = "fashion-mnist@0008600"
_SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_REQUEST = {
    "seed": 1,
    "steps": 20,
    "batch": 1,
    "class": "Sneaker",
    "prompt": None,
    "negative_prompt": None,
    "negative_class": None,
    "init_image": None,
    "strength": None,
    "mask": None,
    "variation_seed": None,
    "variation_strength": None,
    "guidance_scale": 1.5,
    "guidance_interval": [0.0, 1.0],
    "sampler": "dpmpp_2m",
    "eta": 0.0,
    "scale": 1,
    "preview_every": 0,
    "strip": 0,
    "priority": "normal",
    "webhook": None,
}
_PROGRESS = {
    "step": 12,
    "steps": 20,
    "fraction": 0.6,
    "images_done": 0,
    "queue_position": None,
    "eta_seconds": 0.8,
}
_IMAGE = {
    "index": 0,
    "seed": 1,
    "class": "Sneaker",
    "url": f"{_BASE}/images/0.png",
    "sha256": _SHA,
    "width": 28,
    "height": 28,
}
_URLS = {
    "self": _BASE,
    "events": f"{_BASE}/events",
    "cancel": f"{_BASE}/cancel",
    "grid": f"{_BASE}/grid.png",
    "images_zip": f"{_BASE}/images.zip",
    "strip": None,
}
_TIMINGS = {"queued_ms": 3.1, "run_ms": 412.5}
_ERROR = {"code": "drawing_failed", "detail": "drawing failed; other parameters may work"}
_DEFAULTS = {
    "sampler": "dpmpp_2m",
    "steps": 20,
    "guidance_scale": 1.5,
    "guidance_interval": [0.0, 1.0],
}
_LEARNED = {"steps": 5, "guidance_scale": 1.5, "guidance_interval": [0.4, 0.85]}
_CARD = {
    "id": "fashion-mnist",
    "object": "model",
    "created": 1789000000,
    "owned_by": "emaki",
    "version": _VERSION,
    "versions": [_VERSION],
    "conditioning": "class",
    "prompt_tokens": None,
    "prompt_examples": [],
    "classes": ["T-shirt/top", "Trouser", "Sneaker"],
    "null_class": True,
    "height": 28,
    "width": 28,
    "channels": 1,
    "timesteps": 1000,
    "defaults": _DEFAULTS,
    "samplers": ["ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde"],
    "learned": [_LEARNED],
    "consistency_steps": 0,
    "baked_guidance": None,
    "quality": {},
}
_GENERATION = {
    "id": _ID,
    "status": "running",
    "model": _VERSION,
    "request": {"model": _VERSION, **_REQUEST},
    "progress": _PROGRESS,
    "images": [_IMAGE],
    "urls": _URLS,
    "created_at": "2026-11-21T12:00:00.000000Z",
    "started_at": "2026-11-21T12:00:00.003100Z",
    "finished_at": None,
    "timings": _TIMINGS,
    "warnings": [],
    "error": None,
}
_FIELD_ERROR = {"field": "steps", "detail": "0 is below the least, 1; send 1 or more"}
_OPENAI_ERROR = {
    "message": "steps: 0 is below the least, 1; send 1 or more",
    "type": "invalid_request_error",
    "param": "steps",
    "code": "invalid_request",
}
_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)

_HOOK = {"url": "https://hooks.example.org/emaki", "events": ["done"]}
_DEAD = {
    "id": f"msg_{_ID}_done",
    "generation": _ID,
    "event": "done",
    "url": _HOOK["url"],
    "tries": 18,
    "error": "it answered 503",
    "created_at": "2026-11-21T12:00:00.000000Z",
    "given_up_at": "2026-11-22T12:00:00.000000Z",
}
_FORM = {
    "image": "(a file)",
    "prompt": "a sneaker",
    "model": "fashion-mnist",
    "n": 1,
    "response_format": "b64_json",
    "seed": 1,
    "steps": 20,
    "guidance_scale": 1.5,
    "sampler": "dpmpp_2m",
    "scale": 1,
    "strength": 0.6,
}

EXAMPLES: dict[str, dict[str, Any]] = {
    "GenerationRequest": {"model": "fashion-mnist", **_REQUEST},
    "RequestView": {"model": _VERSION, **_REQUEST},
    "Progress": _PROGRESS,
    "ImageEntry": _IMAGE,
    "Preview": {"index": 0, "step": 5, "png_base64": _PIXEL},
    "Urls": _URLS,
    "Timings": _TIMINGS,
    "ErrorInfo": _ERROR,
    "Generation": _GENERATION,
    "GenerationList": {"data": [_GENERATION], "next_cursor": None},
    "CardDefaults": _DEFAULTS,
    "LearnedOffer": _LEARNED,
    "ModelCard": _CARD,
    "ModelList": {"object": "list", "data": [_CARD]},
    "FieldError": _FIELD_ERROR,
    "Problem": {
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "code": "invalid_request",
        "detail": "steps: 0 is below the least, 1; send 1 or more",
        "errors": [_FIELD_ERROR],
    },
    "ImagesRequest": {
        "prompt": "a sneaker",
        "model": "fashion-mnist",
        "n": 1,
        "response_format": "b64_json",
        "stream": False,
        "partial_images": 0,
        "seed": 1,
        "steps": 20,
        "guidance_scale": 1.5,
        "sampler": "dpmpp_2m",
        "scale": 1,
    },
    "ImageData": {"b64_json": _PIXEL, "url": _IMAGE["url"]},
    "ImagesAnswer": {
        "created": 1789000000,
        "data": [{"b64_json": _PIXEL, "url": None}],
        "output_format": "png",
        "size": "28x28",
    },
    "Body_edit_v1_images_edits_post": {
        **_FORM,
        "mask": "(a file)",
        "stream": False,
        "partial_images": 0,
    },
    "Body_vary_v1_images_variations_post": _FORM,
    "UploadView": {"url": f"/v1/uploads/{_ID}", "sha256": _SHA, "width": 640, "height": 480},
    "WebhookView": _HOOK,
    "Webhook": {**_HOOK, "secret": None},
    "DeadMessage": _DEAD,
    "DeadMessages": {"data": [_DEAD], "next_cursor": None},
    "OpenAIErrorBody": _OPENAI_ERROR,
    "OpenAIError": {"error": _OPENAI_ERROR},
}
