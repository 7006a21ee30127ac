"""Classes, words, latents and pictures in, in a crowd whose worker is killed: as each alone."""

import signal
import time
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.test_failures import EXACT, end, look, pictures, submit
from tests.companions import WORDS, write_text_checkpoint
from tests.e2e.service import running
from tests.e2e.test_beginnings import file, left_half, levels, uri
from tests.support import eventually

CROWD = 70


def wanted(number: int) -> dict[str, Any]:
    """Requests of every kind, no two alike."""
    of_class = {"class": number % 3}
    of_words = {"model": "words", "prompt": f"a {WORDS[number % 3]} square", "guidance_scale": 2.0}
    kinds: list[dict[str, Any]] = [
        of_class,
        {**of_class, "init_image": uri(file(levels())), "strength": (1 + number % 9) / 10},
        {**of_class, "init_image": uri(file(levels().T.copy())), "mask": uri(file(left_half()))},
        {**of_class, "variation_seed": 7 * number, "variation_strength": number / CROWD},
        {**of_class, "negative_class": number % 3, "guidance_scale": 2 + number / 100, "batch": 2},
        {**of_words, "negative_prompt": "grey on red"},
        {**of_words, "init_image": uri(file(levels())), "strength": 0.7},
    ]
    samplers = ("dpmpp_2m", "ddpm", "ddim", "dpmpp_2m_sde")
    return {
        "seed": number,
        "steps": 3 + number % 8,
        "sampler": samplers[number % 4],
        **kinds[number % len(kinds)],
    }


def drawn_alone(client: httpx.Client, fields: dict[str, Any]) -> list[str]:
    answer = client.post("/v1/generations", json=fields, headers={"Prefer": "wait=60"})
    return pictures(answer.json())


def test_a_mixed_crowd_whose_worker_is_killed_is_drawn_as_each_alone(tmp_path: Path) -> None:
    write_text_checkpoint(tmp_path / "checkpoints", latent=True)
    with (
        running(tmp_path, "worker", "app", **EXACT) as service,
        service.client() as client,
    ):
        ids = [submit(client, **wanted(number)) for number in range(CROWD)]
        eventually(lambda: look(client, ids[0])["started_at"], what="its beginning")
        time.sleep(0.05)
        worker = service.processes.pop(0)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        unfinished = [id_ for id_ in ids if not look(client, id_)["finished_at"]]
        assert unfinished, "it was killed while it had something to do"
        service.start("worker", **EXACT)
        together = [pictures(end(client, id_)) for id_ in ids]
        assert together == [drawn_alone(client, wanted(number)) for number in range(CROWD)]
