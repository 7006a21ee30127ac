"""Training and serving are one contract: what is trained is served, and so is what comes after."""

from pathlib import Path

import httpx

from tests.e2e.service import running
from tests.support import eventually
from tests.training.data import CONFIG, write_idx
from training.__main__ import main


def test_what_is_trained_is_served_and_so_is_what_is_trained_on(tmp_path: Path) -> None:
    (tmp_path / "shapes.toml").write_text(CONFIG)
    data = write_idx(tmp_path / "idx")
    exact = {"EMAKI_PRECISION": "exact"}
    with running(tmp_path, "worker", "app", **exact) as service, service.client() as client:
        train = [
            *("train", str(tmp_path / "shapes.toml"), "--data", str(data), "--device", "cpu"),
            *("--out", str(service.checkpoints)),
        ]
        assert main([*train, "--until", "4"]) == 0
        first = draw(client, "shapes@0000004")
        assert main([*train, "--until", "8", "--resume"]) == 0
        second = draw(client, "shapes@0000008")
        assert first != second
        assert main(["publish", "shapes", "4", "--out", str(service.checkpoints)]) == 0
        assert draw(client, "shapes@0000004") == first


def draw(client: httpx.Client, version: str) -> bytes:
    """A cross from the published version, once that is ``version``."""

    def answered() -> bytes | None:
        answer = client.post(
            "/v1/generations",
            json={"model": "shapes", "class": "Cross", "seed": 7},
            headers={"Prefer": "wait=60"},
        )
        if answer.status_code != 200 or answer.json()["model"] != version:
            return None
        return client.get(answer.json()["images"][0]["url"]).content

    return eventually(answered, what=f"{version} in an answer")
