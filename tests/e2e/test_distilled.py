"""Distilled models over HTTP: what they draw is what the training side's own loop draws."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from models import load_model
from models.checkpoint import read_manifest, write_manifest
from models.distilled import AnySampler, BakedGuidance, Consistency, Distilled
from models.guidance import WHOLE
from models.manifest import Defaults
from models.sample import draw, to_uint8
from tests.e2e.service import Service
from tests.e2e.test_generations import finished, pixels
from tests.models.test_distilled import learned_from
from tests.support import eventually, write_checkpoint
from worker.engine.precision import choose, plan

MIDDLE = (0.25, 0.75)


@pytest.fixture(scope="session")
def distilled(service: Service) -> Iterator[httpx.Client]:
    """The service with a consistency model, and one whose table was noted while it was served."""
    fast = Distilled(
        guidance=BakedGuidance(scale=1.5), consistency=Consistency(levels=((), (2.0,)))
    )
    folder = write_checkpoint(service.checkpoints, "fast", published=False)
    defaults = Defaults(sampler="consistency", steps=2)
    manifest = replace(read_manifest(folder), distilled=fast, defaults=defaults)
    write_manifest(folder, manifest)
    (folder.parent / "LATEST").write_text("0000001\n")
    slow = write_checkpoint(service.checkpoints, "few")
    with service.client() as client:
        eventually(lambda: {"fast", "few"} <= set(cards(client)), what="both models")
        table = replace(learned_from(4), a=(0.9, 0.8, 0.7, 0.0), guidance_interval=MIDDLE)
        tables = Distilled(tables=(table,))
        write_manifest(slow, replace(read_manifest(slow), distilled=tables))
        eventually(lambda: cards(client)["few"]["learned"], what="the table on the card")
        yield client


def cards(client: httpx.Client) -> dict[str, Any]:
    return {card["id"]: card for card in client.get("/v1/models").json()["data"]}


def test_cards_list_what_can_be_asked_for(distilled: httpx.Client) -> None:
    found = cards(distilled)
    assert found["fast"]["samplers"] == ["consistency"]
    assert (found["fast"]["consistency_steps"], found["fast"]["baked_guidance"]) == (2, 1.5)
    assert found["few"]["samplers"][-1] == "learned"
    assert found["few"]["learned"] == [
        {"steps": 4, "guidance_scale": 1.5, "guidance_interval": list(MIDDLE)}
    ]
    assert found["tiny"]["samplers"] == ["ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde"]


@pytest.mark.parametrize(
    ("name", "sampler", "steps", "guidance_scale"),
    [("fast", "consistency", 1, 1.0), ("fast", "consistency", 2, 1.0), ("few", "learned", 4, 1.5)],
)
def test_the_picture_is_the_plain_loops(
    distilled: httpx.Client,
    service: Service,
    name: str,
    sampler: AnySampler,
    steps: int,
    guidance_scale: float,
) -> None:
    asked = {"model": name, "seed": 7, "class": 1, "sampler": sampler, "steps": steps}
    body = finished(distilled, **asked)
    assert body["request"]["guidance_scale"] == guidance_scale
    cpu = torch.device("cpu")
    arithmetic = plan(choose(device=cpu), device=cpu, cores=1).dtype
    model = load_model(service.checkpoints / name, dtype=arithmetic)
    table = model.manifest.build_table(sampler, steps, guidance_scale=guidance_scale)
    expected = to_uint8(
        draw(
            model.network,
            table,
            seeds=torch.tensor([7]),
            labels=torch.tensor([1]),
            guidance_scale=guidance_scale,
            guidance_interval=MIDDLE if sampler == "learned" else WHOLE,
        )
    )[0, 0]
    drawn = pixels(distilled, body["images"][0])
    assert np.abs(drawn - expected.numpy().astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"model": "fast", "sampler": "ddim"}, "sampler", "send one of consistency"),
        ({"model": "fast", "steps": 3}, "steps", "send 1 to 2"),
        ({"model": "fast", "guidance_scale": 3}, "guidance_scale", "leave it out, or send 1"),
        ({"model": "tiny", "sampler": "learned"}, "sampler", "send one of ddpm, ddim"),
        ({"model": "few", "sampler": "learned", "steps": 5}, "steps", "4 steps at guidance 1.5"),
    ],
)
def test_anything_else_is_a_422_that_names_what_it_takes(
    distilled: httpx.Client, fields: dict[str, Any], field: str, message: str
) -> None:
    answer = distilled.post("/v1/generations", json={"class": 0, **fields})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_request"
    assert [error["field"] for error in problem["errors"]] == [field]
    assert message in problem["detail"]
