"""Pictures in, in a crowd whose worker is killed: the same bytes as each request alone."""

import signal
import time
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.test_failures import EXACT, end, look, pictures, submit
from tests.e2e.service import running
from tests.e2e.test_beginnings import file, left_half, levels, uri
from tests.support import eventually

CROWD = 100


def wanted(number: int) -> dict[str, Any]:
    """Requests of every kind, no two alike."""
    kinds: list[dict[str, Any]] = [
        {},
        {"init_image": uri(file(levels())), "strength": (1 + number % 9) / 10},
        {"init_image": uri(file(levels().T.copy())), "mask": uri(file(left_half()))},
        {"variation_seed": 7 * number, "variation_strength": number / CROWD},
        {"negative_class": number % 3, "guidance_scale": 2.0 + number / 100, "batch": 2},
    ]
    samplers = ("dpmpp_2m", "ddpm", "ddim", "dpmpp_2m_sde")
    return {
        "seed": number,
        "class": number % 3,
        "steps": 4 + number % 20,
        "sampler": samplers[number % 4],
        **kinds[number % 5],
    }


def drawn_alone(client: httpx.Client, fields: dict[str, Any]) -> list[str]:
    answer = client.post("/v1/generations", json=fields, headers={"Prefer": "wait=60"})
    return pictures(answer.json())


def test_a_mixed_crowd_whose_worker_is_killed_is_drawn_as_each_alone(tmp_path: Path) -> None:
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
