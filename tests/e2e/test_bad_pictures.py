"""What cannot be begun from: each a clear answer, and the service goes on."""

import base64
import signal
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.app.test_decoding import animated, bomb
from tests.chaos.test_failures import end
from tests.e2e.service import Service
from tests.e2e.test_beginnings import SIDE, ask, digests, drawn, file, levels, uri
from wire import keys

INIT = uri(file(levels()))
BLACK = uri(file(np.zeros((SIDE, SIDE), np.uint8)))
JPEG = "data:image/jpeg;base64,"


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"init_image": ""}, "init_image", "not accepted"),
        ({"init_image": 7}, "init_image", "not accepted"),
        ({"init_image": "data:"}, "init_image", "no data: URI of a picture"),
        ({"init_image": "data:image/png,abc"}, "init_image", "no data: URI of a picture"),
        ({"init_image": "data:text/html;base64,YQ=="}, "init_image", "image/png, image/jpeg"),
        ({"init_image": "data:image/gif;base64,YQ=="}, "init_image", "image/png, image/jpeg"),
        ({"init_image": "data:image/png;base64,a"}, "init_image", "no base64"),
        ({"init_image": "data:image/png;base64,"}, "init_image", "no PNG, JPEG or WebP"),
        (
            {"init_image": uri(file(levels(50, 50), compress_level=0)[:900])},
            "init_image",
            "cannot be decoded",
        ),
        ({"init_image": uri(bomb(60_000, 60_000))}, "init_image", "pixels; send a smaller"),
        ({"init_image": uri(animated("WEBP"))}, "init_image", "animated"),
        ({"init_image": "https://example.org/a.png"}, "init_image", "not on this server"),
        ({"init_image": "//example.org/v1/uploads/" + "0" * 32}, "init_image", "not on this"),
        ({"init_image": "http://[::1/a"}, "init_image", "not on this server"),
        ({"init_image": "file:///etc/passwd"}, "init_image", "not on this server"),
        ({"init_image": "/etc/passwd"}, "init_image", "no picture's address"),
        ({"init_image": "/v1/models"}, "init_image", "no picture's address"),
        ({"init_image": "\ud800"}, None, ""),
        ({"strength": 0.5}, "strength", "send init_image, too"),
        ({"mask": BLACK}, "mask", "send init_image, too"),
        ({"init_image": INIT, "strength": 1.01}, "strength", "above the most, 1"),
        ({"init_image": INIT, "strength": -0.1}, "strength", "below the least, 0"),
        ({"init_image": INIT, "mask": BLACK}, "mask", "nothing is left to draw"),
        ({"init_image": INIT, "mask": uri(file(levels(9, 9)))}, "mask", "9x9, and the init"),
        ({"init_image": INIT, "mask": uri(b"no")}, "mask", "no PNG, JPEG or WebP"),
        ({"variation_seed": 5}, "variation_seed", "send variation_strength"),
        ({"variation_strength": 2}, "variation_strength", "above the most, 1"),
        ({"variation_seed": 2**63, "variation_strength": 1}, "variation_seed", "above the most"),
        (
            {"variation_seed": 2**63 - 1, "variation_strength": 1, "batch": 2},
            "variation_seed",
            "send a smaller one",
        ),
        ({"negative_class": "Squar"}, "negative_class", "did you mean Square?"),
        ({"negative_class": 3}, "negative_class", "0 ... 2"),
        ({"model": "plain", "negative_class": 0}, "negative_class", "has no classes"),
    ],
)
def test_what_cannot_be_is_a_422(
    client: httpx.Client, fields: dict[str, Any], field: str | None, says: str
) -> None:
    if field is None:
        text = '{"init_image": "\\ud800"}'
        headers = {"content-type": "application/json"}
        answer = client.post("/v1/generations", content=text, headers=headers)
        assert answer.status_code in (400, 422)
        return
    answer = ask(client, **fields)
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert says in error["detail"]


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"", 422, "no PNG, JPEG or WebP"),
        (b"GIF89a", 422, "no PNG, JPEG or WebP"),
        (file(levels(50, 50), compress_level=0)[:900], 422, "cannot be decoded"),
        (bomb(4001, 4000), 422, "4001x4000"),
        (bytes(8 * 2**20 + 1), 413, "larger than 8388608 bytes"),
    ],
)
def test_an_upload_that_is_no_picture_is_refused(
    client: httpx.Client, data: bytes, status: int, says: str
) -> None:
    answer = client.post("/v1/uploads", content=data)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]


def test_a_body_has_its_limit_and_uploads_are_for_what_is_larger(client: httpx.Client) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1100, 1100), dtype=np.uint8)
    data = file(noise)
    assert len(data) > 2**20
    assert ask(client, init_image=uri(data)).status_code == 413
    upload = client.post("/v1/uploads", content=data).json()["url"]
    small = file(Image.fromarray(noise).crop((0, 0, 1100, 1100)), "JPEG", quality=60)
    assert drawn(client, init_image=upload)["status"] == "succeeded"
    assert drawn(client, init_image=JPEG + base64.b64encode(small).decode())


def test_a_deleted_source_is_gone_and_what_was_drawn_from_it_stays(client: httpx.Client) -> None:
    source = drawn(client)
    url = source["images"][0]["url"]
    first = drawn(client, init_image=url)
    client.delete(source["urls"]["self"])
    answer = ask(client, init_image=url)
    assert (answer.status_code, answer.json()["code"]) == (404, "generation_not_found")
    assert digests(ask(client, **first["request"]).json()) == digests(first)
    missing = ask(client, init_image=f"{first['urls']['self']}/images/7.png")
    assert (missing.status_code, missing.json()["code"]) == (404, "image_not_found")
    assert ask(client, init_image="/v1/uploads/" + "0" * 32).status_code == 404


def test_an_input_that_is_lost_fails_its_own_request(
    service: Service, client: httpx.Client
) -> None:
    """Whoever can write to Redis may take it away, or put nonsense in its place."""
    (worker,) = (p for p in service.processes if "worker" in p.args)
    waiting = []
    worker.send_signal(signal.SIGSTOP)
    try:
        with service.connection() as redis:
            for value in (None, b"no picture", file(levels(9, 9))):
                waits = client.post("/v1/generations", json={"init_image": INIT}).json()
                key = keys.images(waits["id"])
                redis.hdel(key, keys.INIT) if value is None else redis.hset(key, keys.INIT, value)
                waiting.append(waits["id"])
    finally:
        worker.send_signal(signal.SIGCONT)
    for id_ in waiting:
        failed = end(client, id_)
        assert failed["status"] == "failed"
        assert "init_image" in failed["error"]["detail"]
    assert drawn(client, init_image=INIT)["status"] == "succeeded"
