"""Pictures in: begun from, held to, mixed and led away from, over HTTP with real processes."""

import base64
import hashlib
import io
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from models.checkpoint import load_model
from models.sample import draw, to_uint8
from models.start import Known
from tests.companions import write_text_checkpoint
from tests.e2e.service import Service
from tests.support import eventually
from worker.engine.precision import choose, plan
from worker.engine.work import Pixels

CPU = torch.device("cpu")
SIDE = 8  # of the tiny model's pictures


def levels(height: int = SIDE, width: int = SIDE) -> Pixels:
    """A picture of many grey levels."""
    rows, columns = np.mgrid[:height, :width]
    found: Pixels = ((rows * 13 + columns * 29) % 256).astype(np.uint8)
    return found


def left_half(height: int = SIDE, width: int = SIDE) -> Pixels:
    """A mask that keeps the left half."""
    mask = np.full((height, width), 255, np.uint8)
    mask[:, : width // 2] = 0
    return mask


def file(pixels: Any, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def ask(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/v1/generations", json=fields, headers={"Prefer": "wait=60"})


def drawn(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = ask(client, **{"seed": 3, "steps": 10, "class": "Circle", **fields})
    body: dict[str, Any] = answer.json()
    assert body.get("status") == "succeeded", body
    return body


def pixels(client: httpx.Client, url: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(client.get(url).content))).astype(int)


def text(client: httpx.Client, url: str) -> dict[str, str]:
    info = Image.open(io.BytesIO(client.get(url).content)).info
    return {str(key): str(value) for key, value in info.items()}


def digests(generation: dict[str, Any]) -> list[str]:
    return [image["sha256"] for image in generation["images"]]


def test_it_draws_what_the_plain_loop_draws(service: Service, client: httpx.Client) -> None:
    body = drawn(
        client,
        init_image=uri(file(levels())),
        mask=uri(file(left_half())),
        strength=0.5,
        variation_seed=9,
        variation_strength=0.25,
        negative_class="Square",
        guidance_scale=2.0,
        batch=2,
    )
    dtype = plan(choose(device=CPU), device=CPU, cores=1).dtype
    model = load_model(service.checkpoints / "tiny", dtype=dtype)
    defaults = model.manifest.defaults
    table = model.manifest.build_table(defaults.sampler, 10, guidance_scale=2.0)
    expected = draw(
        model.network,
        table.last(5),
        seeds=torch.tensor([3, 4]),
        labels=torch.tensor([0, 0]),
        null=torch.tensor(1),
        guidance_scale=2.0,
        clip=model.manifest.diffusion.clip,
        variation=(torch.tensor([9, 10]), 0.25),
        known=Known(
            torch.tensor(levels())[None].float() / 127.5 - 1, torch.tensor(left_half() == 0)[None]
        ),
        skipped=5,
    )
    for image, picture in zip(body["images"], to_uint8(expected), strict=True):
        assert np.abs(pixels(client, image["url"]) - picture[0].numpy()).max() <= 1
        assert (pixels(client, image["url"])[:, :4] == levels()[:, :4]).all()


def test_what_is_reported_draws_the_same_again(client: httpx.Client) -> None:
    first = drawn(
        client,
        init_image=uri(file(levels(16, 24))),  # cut to the middle, and made smaller
        mask=uri(file(left_half(16, 24))),
        strength=0.7,
        variation_seed=2**62,
        variation_strength=0.5,
        negative_class=1,
        guidance_scale=3.0,
        batch=2,
        scale=2,
        strip=3,
        preview_every=1,
    )
    asked = first["request"]
    assert asked["negative_class"] == "Square"
    assert asked["init_image"] == f"{first['urls']['self']}/init.png"
    assert (asked["strength"], asked["variation_seed"]) == (0.7, 2**62)
    assert first["progress"]["steps"] == 7
    again = ask(client, **asked).json()
    assert digests(again) == digests(first)
    alone = {**asked, "batch": 1, "seed": 4, "variation_seed": 2**62 + 1, "strip": 0}
    assert digests(ask(client, **alone).json()) == digests(first)[1:]

    chunks = text(client, first["images"][0]["url"])
    init = pixels(client, asked["init_image"]).astype(np.uint8)
    assert chunks["init_image"] == f"sha256:{hashlib.sha256(init.tobytes()).hexdigest()}"
    assert (chunks["strength"], chunks["variation_strength"]) == ("0.7", "0.5")
    assert chunks["negative_class"] == "Square"
    assert chunks["mask"].startswith("sha256:")


def test_strength_is_how_much_of_the_run_is_drawn(client: httpx.Client) -> None:
    init = uri(file(levels()))
    plain, near, far = (drawn(client, **({"init_image": init, "strength": s} if s else {}))
                        for s in (None, 0.1, 0.9))  # fmt: skip
    assert [body["progress"]["steps"] for body in (plain, near, far)] == [10, 1, 9]
    distances = [
        np.abs(pixels(client, body["images"][0]["url"]) - levels()).mean() for body in (near, far)
    ]
    assert distances[0] < distances[1]
    assert drawn(client, init_image=init)["request"]["strength"] == 0.6


def test_strength_0_is_the_picture_and_1_is_as_without(client: httpx.Client) -> None:
    init = uri(file(levels()))
    nothing = drawn(client, init_image=init, strength=0)
    assert (pixels(client, nothing["images"][0]["url"]) == levels()).all()
    assert nothing["progress"]["steps"] == 1
    assert digests(drawn(client, init_image=init, strength=1)) == digests(drawn(client))


def test_a_mask_that_keeps_nothing_is_none(client: httpx.Client) -> None:
    white = uri(file(np.full((SIDE, SIDE), 255, np.uint8)))
    init = uri(file(levels()))
    free = drawn(client, init_image=init, mask=white, strength=0.5)
    assert digests(free) == digests(drawn(client, init_image=init, strength=0.5))
    whole = drawn(client, init_image=init, mask=white)
    assert whole["request"]["strength"] == 1
    assert digests(whole) == digests(drawn(client))


def test_a_variation_goes_from_one_seed_to_the_other(client: httpx.Client) -> None:
    plain = drawn(client)
    assert digests(drawn(client, variation_seed=9, variation_strength=0)) == digests(plain)
    other = pixels(client, drawn(client, seed=9)["images"][0]["url"])
    end = drawn(client, variation_seed=9, variation_strength=1.0)
    assert (pixels(client, end["images"][0]["url"]) == other).all()  # its sampler adds no noise
    chosen = drawn(client, variation_strength=0.4)["request"]
    assert 0 <= chosen["variation_seed"] < 2**53
    assert digests(ask(client, **chosen).json()) == digests(drawn(client, **chosen))


def test_one_s_own_pictures_are_begun_from_by_their_address(client: httpx.Client) -> None:
    source = drawn(client, scale=8)["images"][0]["url"]
    small = pixels(client, source)[::8, ::8]
    nothing = drawn(client, init_image=source, strength=0)
    assert (pixels(client, nothing["images"][0]["url"]) == small).all()
    for address in (source, f"{client.base_url}{source}", nothing["request"]["init_image"]):
        body = drawn(client, init_image=address)
        assert digests(body) == digests(drawn(client, init_image=uri(client.get(source).content)))


def test_uploads_are_kept_once_and_gone_when_deleted(client: httpx.Client) -> None:
    data = file(levels(600, 400), compress_level=0)
    answer = client.post("/v1/uploads", content=data, headers={"content-type": "image/png"})
    assert answer.status_code == 201, answer.text
    upload = answer.json()
    assert upload["sha256"] == hashlib.sha256(data).hexdigest()
    assert (upload["width"], upload["height"]) == (400, 600)
    assert client.post("/v1/uploads", content=data).json() == upload
    assert client.get(upload["url"]).content == data
    assert client.get(upload["url"]).headers["content-type"] == "image/png"
    first = drawn(client, init_image=upload["url"])
    assert digests(first) == digests(drawn(client, init_image=uri(data)))
    assert client.delete(upload["url"]).status_code == 204
    for gone in (client.get(upload["url"]), ask(client, init_image=upload["url"])):
        assert (gone.status_code, gone.json()["code"]) == (404, "upload_not_found")
    assert digests(ask(client, **first["request"]).json()) == digests(first)


def test_another_key_s_pictures_are_not_there(service: Service) -> None:
    with (
        service.another_api(EMAKI_API_KEYS="mine,theirs", EMAKI_MAX_STORED="20000") as url,
        httpx.Client(base_url=url, headers={"Authorization": "Bearer mine"}) as mine,
        httpx.Client(base_url=url, headers={"Authorization": "Bearer theirs"}) as theirs,
    ):
        upload = mine.post("/v1/uploads", content=file(levels())).json()["url"]
        body = drawn(mine, init_image=upload)
        for source in (upload, body["images"][0]["url"], body["request"]["init_image"]):
            assert mine.get(source).status_code == 200
            assert theirs.get(source).status_code == 404
            answer = ask(theirs, init_image=source)
            assert (answer.status_code, answer.json()["code"]) in (
                (404, "upload_not_found"),
                (404, "generation_not_found"),
            )
        # What is kept is counted, and what is deleted is not.
        large = file(levels(100, 100), compress_level=0)
        kept = theirs.post("/v1/uploads", content=large).json()["url"]
        full = theirs.post("/v1/uploads", content=file(levels(101, 101), compress_level=0))
        assert (full.status_code, full.json()["code"]) == (429, "storage_full")
        assert theirs.delete(kept).status_code == 204
        assert theirs.post("/v1/uploads", content=large).status_code == 201


def test_inputs_go_with_their_generation(service: Service, client: httpx.Client) -> None:
    body = drawn(client, init_image=uri(file(levels())), mask=uri(file(left_half())))
    url = body["request"]["init_image"]
    with service.connection() as redis:
        stored = int(redis.hget("emaki:stored:", body["id"]))
        assert stored > sum(
            len(client.get(body["request"][f]).content) for f in ("init_image", "mask")
        )
    assert client.delete(body["urls"]["self"]).status_code == 204
    assert client.get(url).status_code == 404
    answer = ask(client, init_image=url)
    assert (answer.status_code, answer.json()["code"]) == (404, "generation_not_found")
    assert client.get(drawn(client)["urls"]["self"] + "/init.png").status_code == 404


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_other_formats_and_modes_are_seen_as_training_sees_them(
    client: httpx.Client, kind: str
) -> None:
    media_type = f"image/{kind.lower()}"
    data = file(levels(), kind, quality=95)
    body = drawn(client, init_image=uri(data, media_type), strength=0)
    seen = np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)
    assert (pixels(client, body["images"][0]["url"]) == seen).all()


@pytest.fixture(scope="session")
def latent(service: Service) -> str:
    write_text_checkpoint(service.checkpoints, "begun", latent=True)
    card = f"{service.url}/v1/models/begun"
    eventually(lambda: httpx.get(card).status_code == 200, what="its card")
    return "begun"


def test_latents_begin_from_encoded_pictures_and_keep_what_is_far_from_the_seam(
    service: Service, client: httpx.Client, latent: str
) -> None:
    rgb = np.stack([levels(16, 16), levels(16, 16).T, 255 - levels(16, 16)], axis=2)
    fields = {"model": latent, "class": None, "prompt": "a red square", "steps": 8}
    model = load_model(
        service.checkpoints / latent, dtype=plan(choose(device=CPU), device=CPU, cores=1).dtype
    )
    assert model.autoencoder is not None
    assert model.encoder is not None
    x_0 = torch.tensor(rgb).permute(2, 0, 1).float() / 127.5 - 1
    expected = draw(
        model.network,
        model.manifest.build_table(model.manifest.defaults.sampler, 8, guidance_scale=1.0).last(4),
        seeds=torch.tensor([3]),
        labels=model.encoder.encode("a red square")
        .states[None]
        .to(next(model.network.parameters())),
        clip=False,
        known=Known(model.autoencoder.encode(x_0[None])[0]),
        skipped=4,
    )
    picture = to_uint8(model.autoencoder.decode(expected))[0].permute(1, 2, 0).numpy()
    begun = drawn(client, init_image=uri(file(rgb)), strength=0.5, guidance_scale=1, **fields)
    assert np.abs(pixels(client, begun["images"][0]["url"]) - picture).max() <= 1

    mask = np.zeros((16, 16), np.uint8)
    mask[:, 12:] = 255
    held = drawn(client, init_image=uri(file(rgb)), mask=uri(file(mask)), **fields)
    seen = pixels(client, held["images"][0]["url"])
    assert (seen[:, :5] == rgb[:, :5]).all()
    assert np.abs(seen[:, 12:] - rgb[:, 12:]).max() > 1
    nothing = drawn(client, init_image=uri(file(rgb)), strength=0, **fields)
    assert (pixels(client, nothing["images"][0]["url"]) == rgb).all()
    assert digests(ask(client, **held["request"]).json()) == digests(held)
