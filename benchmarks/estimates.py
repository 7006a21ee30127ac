"""What clients are told about when their pictures will be there, against when they are.

    python -m benchmarks.estimates [--requests 80] [--seconds 30] [--seed 0]

Starts `python -m serve` on a port and data folder of its own. First some requests are lone: each is
sent when the one before has ended. Then four API keys send a mixed load, each request when its time
comes: two thirds are short (one picture), a third is long. `progress.eta_seconds` of the answer to
a submit, over the seconds until it had ended, is the ratio: 1 is right, 2 promised twice as long.
"""

import argparse
import asyncio
import os
import random
import statistics
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.batching import service
from benchmarks.machine import describe

KEYS = ("anna", "ben", "carla", "dan")
SAMPLERS = ("dpmpp_2m", "ddim", "ddpm")
LONE = 12


@dataclass(frozen=True)
class Told:
    """One request: its kind, the seconds that were told, and those that it took."""

    kind: str
    told: float
    took: float

    @property
    def ratio(self) -> float:
        return self.told / self.took


def short(chance: random.Random) -> dict[str, Any]:
    """One picture in few steps."""
    return {"batch": 1, "steps": chance.randint(5, 25), "guidance_scale": 1}


def long(chance: random.Random) -> dict[str, Any]:
    """Several pictures in many steps, half of them guided."""
    scale = chance.choice((1, 3))
    return {"batch": chance.randint(2, 8), "steps": chance.randint(30, 80), "guidance_scale": scale}


async def ask(client: httpx.AsyncClient, kind: str, fields: dict[str, Any], key: str) -> Told:
    """Submit a request, wait for its end, and compare."""
    headers = {"Authorization": f"Bearer {key}"}
    answer = await client.post("/v1/generations", json=fields, headers=headers)
    body = answer.raise_for_status().json()
    told, where = body["progress"]["eta_seconds"], body["urls"]["self"]
    if told is None:
        raise SystemExit(f"no estimate for {body['id']}: no worker has measured how fast it is")
    while not body["finished_at"]:
        await asyncio.sleep(0.25)
        body = (await client.get(where, headers=headers)).raise_for_status().json()
    if body["status"] != "succeeded":
        raise SystemExit(f"{body['id']} {body['status']}: {body['error']}")
    return Told(kind, told, _unix(body["finished_at"]) - _unix(body["created_at"]))


async def lone(client: httpx.AsyncClient, chance: random.Random, *, count: int) -> list[Told]:
    """One after the other, each by itself."""
    answers = []
    for number in range(count):
        fields = {**short(chance), "class": number % 10, "steps": chance.randint(10, 50)}
        answers.append(await ask(client, "lone", fields, KEYS[0]))
        await asyncio.sleep(1)
    return answers


async def mixed(
    client: httpx.AsyncClient, chance: random.Random, *, count: int, seconds: float
) -> list[Told]:
    """From all keys at random moments."""
    began = time.perf_counter()

    async def send(moment: float, kind: str, fields: dict[str, Any], key: str) -> Told:
        await asyncio.sleep(max(0.0, moment - (time.perf_counter() - began)))
        return await ask(client, kind, fields, key)

    sent = []
    for number in range(count):
        kind, make = ("long", long) if number % 3 == 0 else ("short", short)
        fields = {**make(chance), "class": number % 10, "sampler": SAMPLERS[number % 3]}
        sent.append(send(chance.uniform(0, seconds), kind, fields, chance.choice(KEYS)))
    return list(await asyncio.gather(*sent))


async def measure(url: str, *, count: int, seconds: float, seed: int) -> list[Told]:
    """All of them, on a service that has drawn before."""
    chance = random.Random(seed)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits) as client:
        warm = {"steps": 20, "batch": 16, "class": 0}
        answer = await client.post(
            "/v1/generations",
            json=warm,
            headers={"Authorization": f"Bearer {KEYS[0]}", "Prefer": "wait=60"},
        )
        answer.raise_for_status()
        await asyncio.sleep(3)  # a worker says every other second how fast it is
        alone = await lone(client, chance, count=LONE)
        return alone + await mixed(client, chance, count=count, seconds=seconds)


def table(answers: list[Told]) -> None:
    """Print quartiles, of all and by kind."""
    print("| requests | count | took, median | told / took: quartiles | median |")
    print("|---|---|---|---|---|")
    kinds = {"all": answers} | {
        kind: [one for one in answers if one.kind == kind] for kind in ("lone", "short", "long")
    }
    kinds["all but lone"] = [one for one in answers if one.kind != "lone"]
    for kind, some in kinds.items():
        low, middle, high = statistics.quantiles([one.ratio for one in some], n=4)
        took = statistics.median(one.took for one in some)
        print(f"| {kind} | {len(some)} | {took:.2f} s | {low:.2f} … {high:.2f} | {middle:.2f} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/fashion-mnist"))
    parser.add_argument("--requests", type=int, default=80)
    parser.add_argument("--seconds", type=float, default=30, help="in which they are sent")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(describe(), flush=True)
    os.environ["EMAKI_API_KEYS"] = ",".join(KEYS)
    with service(arguments.checkpoint) as client:
        answers = asyncio.run(
            measure(
                str(client.base_url),
                count=arguments.requests,
                seconds=arguments.seconds,
                seed=arguments.seed,
            )
        )
    table(answers)
    print(describe(), flush=True)


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


if __name__ == "__main__":
    main()
