"""Bad input: a 4xx problem that names the value, the limit and the next action."""

import json
from typing import Any

import httpx
import pytest

BAD_FIELDS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"steps": 0}, 422, "invalid_request", "steps: 0 is below the least, 1; send 1 or more"),
    ({"steps": 1001}, 422, "invalid_request", "1001 is above this model's T, 1000"),
    ({"steps": "20"}, 422, "invalid_request", "steps: '20' is not accepted"),
    ({"steps": 1.5}, 422, "invalid_request", "steps: 1.5 is not accepted"),
    ({"steps": True}, 422, "invalid_request", "steps: True is not accepted"),
    ({"steps": 1000, "batch": 64 + 1}, 422, "invalid_request", "65 is above the most, 64"),
    ({"batch": 0}, 422, "invalid_request", "batch: 0 is below the least, 1"),
    ({"batch": None}, 422, "invalid_request", "batch: None is not accepted"),
    ({"seed": -1}, 422, "invalid_request", "seed: -1 is below the least, 0"),
    ({"seed": 2**63}, 422, "invalid_request", f"{2**63} is above the most, {2**63 - 1}"),
    ({"seed": 2**63 - 1, "batch": 2}, 422, "invalid_request", "send a smaller seed"),
    ({"guidance_scale": -0.1}, 422, "invalid_request", "guidance_scale: -0.1 is below"),
    (
        {"guidance_scale": 20.5},
        422,
        "invalid_request",
        "guidance_scale: 20.5 is above the most, 20",
    ),
    ({"eta": 2}, 422, "invalid_request", "eta: 2"),
    ({"eta": 0.5}, 422, "invalid_request", "of use to the sampler ddim only, not dpmpp_2m"),
    ({"scale": 17}, 422, "invalid_request", "scale: 17 is above the most, 16"),
    ({"sampler": "euler"}, 422, "invalid_request", "send one of 'ddpm', 'ddim'"),
    ({"class": "Ankel boot"}, 422, "invalid_request", "did you mean Ankle boot?"),
    ({"class": "Dog"}, 422, "invalid_request", "Circle, Square, Ankle boot"),
    ({"class": 3}, 422, "invalid_request", "index 3 is not in 0 ... 2"),
    ({"class": -1}, 422, "invalid_request", "index -1"),
    ({"class": {"name": "Circle"}}, 422, "invalid_request", "class: "),
    ({"class": 1.5}, 422, "invalid_request", "class: 1.5 is not a class's name or index"),
    ({"class": ["Circle"], "batch": 2}, 422, "invalid_request", "1 entries for a batch of 2"),
    ({"class": [], "batch": 1}, 422, "invalid_request", "0 entries for a batch of 1"),
    ({"class": "Circle", "model": "plain"}, 422, "invalid_request", "has no classes; leave it out"),
    ({"model": "unknown"}, 404, "model_not_found", "no model 'unknown'; there is: "),
    ({"model": "tiny@99"}, 404, "model_not_found", "tiny@0000001, tiny@0000002"),
    ({"model": "../etc"}, 422, "invalid_request", "model: '../etc' is not of the form"),
    ({"model": "tiny@"}, 422, "invalid_request", "not of the form `name` or `name@step`"),
    ({"prompt": "a dog"}, 422, "invalid_request", "tiny does not draw from words; send class"),
    ({"colour": "red"}, 422, "invalid_request", "colour: unknown field; remove it or use one of"),
    ({"priority": "now"}, 422, "invalid_request", "send one of 'high', 'normal' or 'low'"),
]


@pytest.mark.parametrize(("fields", "status", "code", "words"), BAD_FIELDS, ids=str)
def test_bad_fields_are_named(
    client: httpx.Client, fields: dict[str, Any], status: int, code: str, words: str
) -> None:
    answer = client.post("/v1/generations", json=fields)
    problem = answer.json()
    assert answer.status_code == status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["code"]) == (status, code)
    assert words in problem["detail"]
    assert problem["errors"]
    assert {error["field"] for error in problem["errors"]} <= set(fields)


BAD_BODIES: list[tuple[bytes, str, int, str, str]] = [
    (b"{", "application/json", 400, "invalid_json", "the body is not JSON"),
    (b"\xff\xfe", "application/json", 422, "invalid_request", "send one JSON object in UTF-8"),
    (b"[]", "application/json", 422, "invalid_request", "not a JSON object"),
    (b"3", "application/json", 422, "invalid_request", "not a JSON object"),
    (b'{"seed": 1}', "text/plain", 415, "unsupported_media_type", "application/json"),
    (b"seed=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type", "send JSON"),
    (b'{"guidance_scale": NaN}', "application/json", 422, "invalid_request", "guidance_scale"),
    (b'{"eta": Infinity}', "application/json", 422, "invalid_request", "eta"),
    (b'{"class": "\\ud800"}', "application/json", 422, "invalid_request", "class"),
    (b"[" * 100_000, "application/json", 422, "invalid_request", "above the most, 1000; send one"),
    (b'{"seed": ' + b"9" * 5000 + b"}", "application/json", 400, "", "JSON"),
]


@pytest.mark.parametrize(("body", "media_type", "status", "code", "words"), BAD_BODIES)
def test_bad_bodies_are_explained(
    client: httpx.Client, body: bytes, media_type: str, status: int, code: str, words: str
) -> None:
    answer = client.post("/v1/generations", content=body, headers={"content-type": media_type})
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.content)
    assert answer.status_code == status, problem
    assert code in problem["code"]
    assert words in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/generations/unknown", 404, "generation_not_found"),
        ("POST", "/v1/generations/unknown/cancel", 404, "generation_not_found"),
        ("GET", "/v1/generations/unknown/events", 404, "generation_not_found"),
        ("GET", "/v1/generations/unknown/images/0.png", 404, "generation_not_found"),
        ("GET", f"/v1/generations/{'x' * 65}", 404, "generation_not_found"),
        ("GET", f"/v1/generations/{'0' * 32}:png", 404, "generation_not_found"),
        ("GET", "/v1/generations/..%2fmodels", 404, "not_found"),
        ("GET", "/v1/models/unknown", 404, "model_not_found"),
        ("GET", "/nowhere", 404, "not_found"),
        ("PUT", "/v1/generations", 405, "method_not_allowed"),
    ],
)
def test_wrong_addresses_are_problems(
    client: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    answer = client.request(method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"]


@pytest.mark.parametrize("id_", ["yesterday", "1-", "18446744073709551615-0", "9" * 20 + "-1"])
def test_an_event_id_that_is_none_is_refused(client: httpx.Client, id_: str) -> None:
    body = client.post("/v1/generations").json()
    answer = client.get(body["urls"]["events"], headers={"Last-Event-ID": id_})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert f"{id_!r} is no event's id" in answer.json()["detail"]
