"""Submit, poll, wait, fetch, cancel: through uvicorn, Redis, RQ and a worker."""

import hashlib
import io
import time
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from app.settings import AppSettings
from models import load_model
from models.sample import draw, to_uint8
from models.sampler import build_table
from tests.e2e.service import Service
from tests.support import eventually
from worker.engine.precision import choose, plan

LONG = {"steps": 1000, "batch": 48, "class": "Circle"}  # some seconds of work


def finished(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/generations", json=fields, headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["status"] == "succeeded", body
    return body


def pixels(client: httpx.Client, entry: dict[str, Any]) -> npt.NDArray[np.int64]:
    image = Image.open(io.BytesIO(client.get(entry["url"]).content))
    return np.asarray(image).astype(np.int64)


def test_an_empty_request_draws_one_picture_with_the_default_model(client: httpx.Client) -> None:
    for answer in (
        client.post("/v1/generations", json={}),
        client.post("/v1/generations"),
    ):
        assert answer.status_code == 202
        body = answer.json()
        assert answer.headers["location"] == body["urls"]["self"] == f"/v1/generations/{body['id']}"
        assert answer.headers["retry-after"] == "1"
        assert body["model"] == "tiny@0000002"
        assert 0 <= body["request"]["seed"] < 2**53
        end = eventually(lambda b=body: poll_end(client, b["id"]))  # type: ignore[misc]
        assert end["status"] == "succeeded"
        assert len(end["images"]) == 1


def poll_end(client: httpx.Client, id_: str) -> dict[str, Any] | None:
    body: dict[str, Any] = client.get(f"/v1/generations/{id_}").json()
    return body if body["finished_at"] else None


def test_a_finished_generation_says_everything(client: httpx.Client) -> None:
    body = finished(
        client,
        model="tiny@1",
        seed=7,
        steps=4,
        batch=3,
        guidance_scale=2,
        sampler="ddim",
        eta=0.5,
        scale=2,
        **{"class": ["ankle boot", None, 1]},
    )
    assert body["model"] == "tiny@0000001"
    assert body["request"] == {
        "model": "tiny@0000001",
        "seed": 7,
        "steps": 4,
        "batch": 3,
        "class": ["Ankle boot", None, "Square"],
        "prompt": None,
        "negative_prompt": None,
        "negative_class": None,
        "init_image": None,
        "strength": None,
        "mask": None,
        "variation_seed": None,
        "variation_strength": None,
        "guidance_scale": 2.0,
        "guidance_interval": [0.0, 1.0],
        "sampler": "ddim",
        "eta": 0.5,
        "scale": 2,
        "preview_every": 0,
        "strip": 0,
        "priority": "normal",
        "webhook": None,
    }
    assert body["progress"] == {
        "step": 4,
        "steps": 4,
        "fraction": 1.0,
        "images_done": 3,
        "queue_position": None,
        "eta_seconds": None,
    }
    assert [(i["index"], i["seed"], i["class"]) for i in body["images"]] == [
        (0, 7, "Ankle boot"),
        (1, 8, None),
        (2, 9, "Square"),
    ]
    assert {(i["width"], i["height"]) for i in body["images"]} == {(16, 16)}
    assert body["created_at"] <= body["started_at"] <= body["finished_at"]
    assert body["timings"]["queued_ms"] >= 0
    assert body["timings"]["run_ms"] >= 0
    assert body["error"] is None
    for entry in body["images"]:
        png = client.get(entry["url"])
        assert png.headers["content-type"] == "image/png"
        assert hashlib.sha256(png.content).hexdigest() == entry["sha256"]
    assert client.get(body["urls"]["self"]).json() == body


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde"])
def test_the_picture_is_the_models(client: httpx.Client, service: Service, sampler: Any) -> None:
    body = finished(client, seed=11, sampler=sampler, steps=6, guidance_scale=3, **{"class": 2})
    cpu = torch.device("cpu")
    arithmetic = plan(choose(device=cpu), device=cpu, cores=1).dtype
    model = load_model(service.checkpoints / "tiny", dtype=arithmetic)
    diffusion = model.manifest.diffusion
    table = build_table(
        diffusion.build_schedule(), prediction=diffusion.prediction, sampler=sampler, steps=6
    )
    expected = to_uint8(
        draw(
            model.network,
            table,
            seeds=torch.tensor([11]),
            labels=torch.tensor([2]),
            guidance_scale=3,
        )
    )[0, 0]
    drawn = pixels(client, body["images"][0])
    assert np.abs(drawn - expected.numpy().astype(int)).max() <= 1


def test_image_i_of_a_batch_is_the_image_of_seed_plus_i(client: httpx.Client) -> None:
    batch = finished(client, seed=100, batch=5, **{"class": "Square"})
    alone = finished(client, seed=103, **{"class": "Square"})
    first, second = batch["images"][3], alone["images"][0]
    assert first["seed"] == second["seed"]
    assert np.abs(pixels(client, first) - pixels(client, second)).max() <= 1


def test_the_same_request_gives_the_same_bytes(client: httpx.Client) -> None:
    fields = {"seed": 5, "class": "Circle", "sampler": "ddpm"}
    first, second = finished(client, **fields), finished(client, **fields)
    assert first["images"][0]["sha256"] == second["images"][0]["sha256"]


def test_an_unconditional_model_draws_and_ignores_guidance(client: httpx.Client) -> None:
    with_guidance = finished(client, model="plain", seed=1, guidance_scale=7)
    without = finished(client, model="plain", seed=1, guidance_scale=1)
    first, second = with_guidance["images"][0], without["images"][0]
    assert np.array_equal(pixels(client, first), pixels(client, second))


def test_waiting_with_accept_png_gives_the_picture(client: httpx.Client) -> None:
    headers = {"Prefer": "wait=60", "Accept": "image/png"}
    answer = client.post("/v1/generations", json={"seed": 1, "scale": 3}, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["preference-applied"] == "wait=60"
    assert Image.open(io.BytesIO(answer.content)).size == (24, 24)
    body = client.get(answer.headers["location"]).json()
    assert hashlib.sha256(answer.content).hexdigest() == body["images"][0]["sha256"]


def test_a_batch_as_png_is_the_grid(client: httpx.Client) -> None:
    headers = {"Prefer": "wait=60", "Accept": "image/png"}
    answer = client.post("/v1/generations", json={"batch": 3}, headers=headers)
    assert Image.open(io.BytesIO(answer.content)).size == (8 * 2 + 2, 8 * 2 + 2)
    grid = client.get(answer.headers["location"] + "/grid.png")
    assert grid.content == answer.content


def test_what_is_not_finished_in_time_is_accepted(client: httpx.Client) -> None:
    headers = {"Prefer": "wait=1", "Accept": "image/png"}
    answer = client.post("/v1/generations", json=LONG, headers=headers)
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["preference-applied"] == "wait=1"
    client.post(answer.json()["urls"]["cancel"])


@pytest.mark.parametrize("prefer", ["wait=soon", "respond-async", "wait=-1", ""])
def test_other_preferences_do_not_wait(client: httpx.Client, prefer: str) -> None:
    answer = client.post("/v1/generations", json={}, headers={"Prefer": prefer})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


def test_a_preference_may_come_in_a_line_of_its_own(client: httpx.Client) -> None:
    headers = [("Prefer", "respond-async"), ("Prefer", "wait=60")]
    answer = client.post("/v1/generations", json={}, headers=headers)
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=60")


def test_images_have_etags(client: httpx.Client) -> None:
    entry = finished(client)["images"][0]
    etag = client.get(entry["url"]).headers["etag"]
    assert etag == f'"{entry["sha256"]}"'
    answer = client.get(entry["url"], headers={"If-None-Match": f'"other", {etag}'})
    assert (answer.status_code, answer.content) == (304, b"")


def test_cancel_stops_a_running_generation_and_only_that(client: httpx.Client) -> None:
    running = client.post("/v1/generations", json=LONG).json()
    eventually(lambda: client.get(running["urls"]["self"]).json()["progress"]["step"] > 0)
    neighbour = client.post("/v1/generations", json={"seed": 5, "steps": 60}).json()
    answer = client.post(running["urls"]["cancel"])
    assert answer.status_code == 200
    assert answer.json()["status"] == "canceled"
    assert answer.json()["finished_at"]
    again = client.post(running["urls"]["cancel"])
    assert (again.status_code, again.json()) == (200, answer.json())
    end = eventually(lambda: poll_end(client, neighbour["id"]))
    assert end["status"] == "succeeded"
    assert client.get(running["urls"]["self"]).json()["images"] == []
    late = client.post(end["urls"]["cancel"])
    assert (late.status_code, late.json()["code"]) == (409, "already_finished")


def test_a_strip_is_a_row_per_image_noise_first(client: httpx.Client) -> None:
    body = finished(client, batch=3, steps=9, strip=4, scale=2)
    answer = client.get(body["urls"]["strip"])
    assert answer.headers["content-type"] == "image/png"
    strip = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert strip.shape == ((3 * 10 - 2) * 2, (4 * 10 - 2) * 2)
    assert np.array_equal(strip[-16:, -16:], pixels(client, body["images"][2]))
    assert strip[:16, :16].std() > 60  # noise
    again = client.get(body["urls"]["strip"], headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    plain = finished(client)
    assert plain["urls"]["strip"] is None
    missing = client.get(f"{plain['urls']['self']}/strip.png")
    assert (missing.status_code, missing.json()["code"]) == (404, "image_not_found")


def test_progress_advances_and_ends(client: httpx.Client) -> None:
    body = client.post("/v1/generations", json={"steps": 500, "batch": 2}).json()
    seen = []
    while not body["finished_at"]:
        body = client.get(body["urls"]["self"]).json()
        seen.append(body["progress"]["fraction"])
        time.sleep(0.02)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert seen[-1] == 1


def test_a_picture_that_is_not_there_is_a_404(client: httpx.Client) -> None:
    body = finished(client)
    for path in ("images/1.png", "images/-1.png"):
        answer = client.get(f"{body['urls']['self']}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "image_not_found")


def test_waiting_without_a_number_waits_a_minute(client: httpx.Client) -> None:
    answer = client.post("/v1/generations", json={"steps": 1}, headers={"Prefer": "wait"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=60")


def test_a_picture_may_be_had_at_another_scale(client: httpx.Client) -> None:
    small = finished(client, seed=6, steps=2, batch=2, **{"class": "Circle"})
    large = finished(client, seed=6, steps=2, scale=5, **{"class": "Circle"})["images"][0]
    url = small["images"][0]["url"]
    answer = client.get(url, params={"scale": 5})
    assert hashlib.sha256(answer.content).hexdigest() == large["sha256"]
    back = client.get(large["url"], params={"scale": 1})
    assert hashlib.sha256(back.content).hexdigest() == small["images"][0]["sha256"]
    etags = {a.headers["etag"] for a in (answer, back, client.get(url), client.get(large["url"]))}
    assert len(etags) == 4
    again = client.get(url, params={"scale": 5}, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for path, scale in ((url, 17), (url, "big"), (url, 0), (small["urls"]["grid"], 2)):
        refused = client.get(path, params={"scale": scale})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
        assert refused.json()["errors"][0]["field"] == "scale"
    assert client.get(small["urls"]["images_zip"], params={"scale": 2}).status_code == 422
    assert client.get(small["urls"]["images_zip"]).headers["content-type"] == "application/zip"


def test_addresses_are_whole_where_the_client_asks(client: httpx.Client, service: Service) -> None:
    headers = {"Prefer": "wait=60, urls=absolute", "Idempotency-Key": "whole"}
    answer = client.post("/v1/generations", json={"steps": 1, "strip": 2}, headers=headers)
    assert answer.headers["preference-applied"] == "wait=60, urls=absolute"
    body, base = answer.json(), service.url
    assert answer.headers["location"] == body["urls"]["self"]
    addresses = [*body["urls"].values(), body["images"][0]["url"]]
    assert all(address.startswith(f"{base}/v1/generations/{body['id']}") for address in addresses)
    assert httpx.get(body["images"][0]["url"]).status_code == 200
    paths = client.get(f"/v1/generations/{body['id']}").json()
    assert paths["urls"]["grid"] == f"/v1/generations/{body['id']}/grid.png"
    asking = {"Prefer": "urls=absolute"}
    assert client.get(paths["urls"]["self"], headers=asking).json() == body
    listed = client.get("/v1/generations", headers=asking).json()["data"]
    assert body in listed
    replay = {"Prefer": "urls=absolute", "Idempotency-Key": "whole"}
    again = client.post("/v1/generations", json={"steps": 1, "strip": 2}, headers=replay)
    assert again.json()["urls"] == body["urls"]
    with service.another_api(EMAKI_PUBLIC_URL="https://example.org/emaki/") as url:
        public = httpx.get(f"{url}{paths['urls']['self']}", headers=asking).json()
        assert public["urls"]["self"] == f"https://example.org/emaki{paths['urls']['self']}"
        assert httpx.get(f"{url}{paths['urls']['self']}").json() == paths
        # What it calls its pictures is what it takes, whatever the proxy calls this server.
        for picture in (public["images"][0]["url"], f"{url.upper()}{paths['images'][0]['url']}"):
            asked = {"init_image": picture, "steps": 1}
            assert httpx.post(f"{url}/v1/generations", json=asked).status_code == 202
        foreign = {"init_image": f"https://example.org/v1{public['images'][0]['url'][-50:]}"}
        refused = httpx.post(f"{url}/v1/generations", json=foreign)
        assert "is not on this server" in refused.json()["errors"][0]["detail"]


@pytest.mark.parametrize("value", ["example.org", "ftp://example.org", "https://", "http://a?b=c"])
def test_a_public_address_that_is_none_is_refused_at_start(value: str) -> None:
    with pytest.raises(ValueError, match="write http:// or https://, a host"):
        AppSettings(public_url=value)
