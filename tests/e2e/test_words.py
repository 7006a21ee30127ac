"""A converted Stable Diffusion folder is served: prompts over HTTP, latents decoded, all shared."""

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

import emaki
from app.results import expected_bytes
from models.checkpoint import load_model
from models.manifest import Manifest
from models.sample import draw, to_uint8
from tests.e2e.service import Service
from tests.e2e.test_beginnings import file
from tests.support import eventually
from tests.training.conversion.test_stable import write_pipeline
from training.conversion.folders import convert
from wire import keys
from wire.record import Record
from wire.schemas import ModelCard
from worker.engine.precision import choose, plan

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def manifest(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    theirs = write_pipeline(tmp_path_factory.mktemp("stable"), "2.x")
    convert(theirs, service.checkpoints / "words")
    card = f"{service.url}/v1/models/words"
    eventually(lambda: httpx.get(card).status_code == 200, what="its card")
    return load_model(service.checkpoints / "words").manifest


def ask(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post(
        "/v1/generations", json={"model": "words", **fields}, headers={"Prefer": "wait=60"}
    )


def drawn(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = ask(client, **fields).json()
    assert body["status"] == "succeeded", body
    return body


def pixels(client: httpx.Client, entry: dict[str, Any]) -> Any:
    return np.asarray(Image.open(io.BytesIO(client.get(entry["url"]).content))).astype(int)


@pytest.mark.usefixtures("manifest")
def test_the_card_says_that_it_draws_from_words(client: httpx.Client) -> None:
    card = client.get("/v1/models/words").json()
    assert (card["conditioning"], card["classes"], card["null_class"]) == ("text", [], True)
    assert card["prompt_tokens"] > 0
    assert (card["height"], card["width"], card["channels"]) == (16, 16, 3)
    assert client.get("/v1/models/tiny").json()["conditioning"] == "class"
    assert client.get("/v1/models/plain").json()["conditioning"] == "none"


@pytest.mark.parametrize("negative", [None, "b a"])
def test_a_prompt_is_drawn_as_the_plain_loop_draws_it(
    client: httpx.Client, service: Service, manifest: Manifest, negative: str | None
) -> None:
    body = drawn(
        client, prompt="a b", negative_prompt=negative, seed=3, steps=4, guidance_scale=2.5
    )
    model = load_model(
        service.checkpoints / "words", dtype=plan(choose(device=CPU), device=CPU, cores=1).dtype
    )
    assert model.encoder is not None
    assert model.autoencoder is not None
    states = [model.encoder.encode(text).states for text in ("a b", negative or "")]
    latents = draw(
        model.network,
        manifest.build_table(manifest.defaults.sampler, 4, guidance_scale=2.5),
        seeds=torch.tensor([3]),
        labels=states[0][None].to(next(model.network.parameters()).dtype),
        null=states[1],
        guidance_scale=2.5,
        clip=False,
    )
    expected = to_uint8(model.autoencoder.decode(latents))[0].permute(1, 2, 0).numpy().astype(int)
    difference = np.abs(pixels(client, body["images"][0]) - expected)
    assert difference.max() <= 1


@pytest.mark.usefixtures("manifest")
def test_what_was_asked_for_is_reported_and_draws_the_same_again(client: httpx.Client) -> None:
    first = drawn(
        client, prompt=["a", None, "b"], batch=3, seed=1, steps=3, strip=3, preview_every=1
    )
    assert first["request"]["prompt"] == ["a", None, "b"]
    again = client.post(
        "/v1/generations", json=first["request"], headers={"Prefer": "wait=60"}
    ).json()
    assert [i["sha256"] for i in again["images"]] == [i["sha256"] for i in first["images"]]
    png = Image.open(io.BytesIO(client.get(first["images"][2]["url"]).content))
    assert png.info["prompt"] == "b"
    alone = drawn(client, prompt="b", seed=3, steps=3)
    assert alone["images"][0]["sha256"] == first["images"][2]["sha256"]
    strip = Image.open(io.BytesIO(client.get(first["urls"]["strip"]).content))
    assert strip.size[1] >= 3 * 16


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"class": "Circle"}, "class", "send prompt"),
        ({"class": "Circle", "prompt": "a"}, "class", "has no classes; leave it out"),
        ({"negative_class": 0, "negative_prompt": "a"}, "negative_class", "leave it out"),
        ({"model": "tiny", "class": 0, "prompt": "a"}, "prompt", "not draw from words; leave it"),
        ({"prompt": ["a"], "batch": 2}, "prompt", "1 entries for a batch of 2"),
        ({"prompt": []}, "prompt", "0 entries for a batch of 1"),
        ({"prompt": "a" * 1001}, "prompt", "1000 characters"),
        ({"model": "tiny", "prompt": "a"}, "prompt", "does not draw from words; send class"),
        ({"model": "plain", "negative_prompt": "a"}, "negative_prompt", "leave it out"),
    ],
)
def test_what_cannot_be_is_a_422(
    client: httpx.Client, fields: dict[str, Any], field: str, says: str
) -> None:
    answer = ask(client, **fields)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"].startswith(field)
    assert says in error["detail"]


@pytest.mark.usefixtures("manifest")
def test_a_prompt_that_does_not_fit_is_drawn_and_said(client: httpx.Client) -> None:
    assert drawn(client, prompt="a b", steps=2)["warnings"] == []
    asked: dict[str, Any] = {"model": "words", "prompt": "a " * 400, "steps": 2}
    (warning,) = drawn(client, **asked)["warnings"]
    assert "the prompt of image 0 is longer than" in warning
    headers = {"Prefer": "wait=60", "Accept": "image/png"}
    picture = client.post("/v1/generations", json=asked, headers=headers)
    images = client.post("/v1/images/generations", json=asked)
    many = client.post("/v1/images/generations", json={**asked, "n": 6})
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["emaki-warning"] == images.headers["emaki-warning"] == warning
    assert many.headers["emaki-warning"].endswith("; and 2 more")
    short = client.post("/v1/images/generations", json={**asked, "prompt": "a b"})
    assert "emaki-warning" not in short.headers


@pytest.mark.usefixtures("manifest")
def test_long_prompts_are_counted_among_what_results_take(
    client: httpx.Client, service: Service
) -> None:
    prompts = ["\N{ARTIST PALETTE}" * 1000] * 3 + ["\N{ARTIST PALETTE}" * 999]
    body = drawn(client, prompt=prompts, negative_prompt=prompts[0], batch=4, steps=1, strip=2)
    card = ModelCard.model_validate_json(client.get("/v1/models/words").content)
    with service.connection() as redis:
        record = redis.hgetall(keys.generation(body["id"]))
        stored = [*record.values(), *redis.hvals(keys.images(body["id"]))]
        for _, event in redis.xrange(keys.events(body["id"])):
            stored += event.values()
    taken, expected = sum(map(len, stored)), expected_bytes(Record.from_hash(record).request, card)
    assert 20 * 4000 < taken <= expected < 3 * taken


@pytest.mark.usefixtures("manifest")
def test_half_a_character_and_a_flood_of_words_are_refused(client: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    half = client.post(
        "/v1/generations", content=b'{"model": "words", "prompt": "\\ud800"}', headers=headers
    )
    assert half.status_code in (400, 422)
    assert ask(client, prompt="a " * 5_000_000).status_code == 413


@pytest.mark.usefixtures("manifest")
def test_openais_prompt_goes_to_the_words(client: httpx.Client) -> None:
    asked = {"model": "words", "prompt": "a b", "n": 1, "seed": 3, "steps": 3}
    answer = client.post("/v1/images/generations", json=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    plain = drawn(client, prompt="a b", seed=3, steps=3)
    png = base64.b64decode(answer.json()["data"][0]["b64_json"])
    assert png == client.get(plain["images"][0]["url"]).content


@pytest.mark.usefixtures("manifest")
def test_what_openais_prompt_may_be_and_ours_may_not_is_a_400(client: httpx.Client) -> None:
    asked = {"model": "words", "prompt": "a" * 1001}
    image = {"image": file(np.zeros((16, 16, 3), np.uint8))}
    for answer in (
        client.post("/v1/images/generations", json=asked),
        client.post("/v1/images/edits", data=asked, files=image),
        client.post("/v1/images/variations", data=asked, files=image),
    ):
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert error["param"] == "prompt"
        assert "at most 1000 characters" in error["message"]


@pytest.mark.usefixtures("manifest")
def test_what_is_loaded_draws_words_as_the_service_does(
    client: httpx.Client, service: Service
) -> None:
    model = emaki.load(service.checkpoints / "words", threads=1)
    (own,) = model.draw("a b", negative_prompt="b", seed=3, steps=3)
    its = drawn(client, prompt="a b", negative_prompt="b", seed=3, steps=3)["images"][0]
    assert np.abs(np.asarray(own).astype(int) - pixels(client, its)).max() <= 1
    assert own.parameters["prompt"] == "a b"
    with emaki.Client(service.url) as asking:
        (there,) = asking.draw("a b", model="words", negative_prompt="b", seed=3, steps=3)
    assert there.parameters == own.parameters
