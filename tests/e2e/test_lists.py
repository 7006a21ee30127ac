"""A key's history, narrowed: by model, class, seed and time; and cursors that are another key's."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

import emaki
from tests.e2e.service import Service
from tests.support import fresh_record
from wire import keys

OTHER = {"Authorization": "Bearer other"}
LISTED = "/v1/generations"


@pytest.fixture(scope="module")
def own(service: Service) -> Iterator[httpx.Client]:
    """A key's client with a history that no other test writes to."""
    with (
        service.another_api(EMAKI_API_KEYS="narrow,other") as url,
        httpx.Client(base_url=url, headers={"Authorization": "Bearer narrow"}, timeout=60) as own,
    ):
        for fields in (
            {"model": "tiny@1", "class": "Circle", "seed": 10, "batch": 4},
            {"model": "tiny", "class": "Square", "seed": 12},
            {"model": "tiny", "class": ["Ankle boot", None], "batch": 2, "seed": 2**62},
            {"model": "plain", "seed": 13},
        ):
            asked = {"steps": 1, **fields}
            own.post(LISTED, json=asked, headers={"Prefer": "wait=60"}).raise_for_status()
        yield own


def seeds(client: httpx.Client, **query: Any) -> list[int]:
    answer = client.get(LISTED, params=query)
    assert answer.status_code == 200, answer.text
    return [entry["request"]["seed"] for entry in answer.json()["data"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [13, 2**62, 12, 10]),
        ({"model": "tiny"}, [2**62, 12, 10]),
        ({"model": "tiny@0000001"}, [10]),
        ({"model": "tin"}, []),
        ({"class": "Ankle boot"}, [2**62]),
        ({"class": "ankle-boots"}, [2**62]),
        ({"class": "Sneaker"}, []),
        ({"seed": 12}, [12, 10]),  # and image 2 of the batch from 10 on
        ({"seed": 14}, []),
        ({"seed": 2**62 + 1}, [2**62]),
        ({"seed": 12, "class": "Circle"}, [10]),
        ({"status": "succeeded", "model": "plain"}, [13]),
        ({"status": "failed"}, []),
    ],
)
def test_a_list_is_narrowed(own: httpx.Client, query: dict[str, Any], found: list[int]) -> None:
    assert seeds(own, **query) == found


def test_a_list_begins_and_ends_at_moments(own: httpx.Client) -> None:
    created = [entry["created_at"] for entry in own.get(LISTED).json()["data"]]
    assert seeds(own, created_after=created[1]) == [13, 2**62]
    assert seeds(own, created_before=created[1]) == [12, 10]
    assert seeds(own, created_after=created[2], created_before=created[0]) == [2**62, 12]
    assert seeds(own, created_after=created[2], model="plain") == [13]
    eastern = datetime.fromisoformat(created[1]).astimezone().isoformat()
    assert seeds(own, created_after=eastern) == [13, 2**62]
    assert seeds(own, created_after="0001-01-01T00:00:00Z") == seeds(own)
    assert seeds(own, created_after="9999-01-01T00:00:00Z") == []


def test_moments_are_those_that_clients_see(own: httpx.Client, service: Service) -> None:
    """To the microsecond, however the clock's fractions are rounded."""
    with service.connection() as redis:
        listed = own.get(LISTED, headers=OTHER)
        assert listed.json()["data"] == []
        owner = hashlib.sha256(b"other").hexdigest()[:16]
        records = [fresh_record(owner=owner) for _ in range(40)]
        for i, record in enumerate(records):
            record.created += 0.01 * i + i * 0.13e-6
            redis.hset(keys.generation(record.id), mapping=record.to_hash())
            redis.zadd(keys.history(owner), {record.history_member: 0})
        ids = [record.id for record in records][::-1]
        moments = [own.get(f"{LISTED}/{id_}", headers=OTHER).json()["created_at"] for id_ in ids]
        for i, moment in enumerate(moments):
            for field, expected in (
                ("created_after", ids[: i + 1]),
                ("created_before", ids[i + 1 :]),
            ):
                query = {field: moment, "limit": "100"}
                page = own.get(LISTED, params=query, headers=OTHER).json()
                assert [entry["id"] for entry in page["data"]] == expected
        for record in records:
            redis.delete(keys.generation(record.id))
        redis.delete(keys.history(owner))


def test_narrowed_pages_have_no_gaps(own: httpx.Client) -> None:
    found: list[int] = []
    query: dict[str, str | int] = {"model": "tiny", "limit": 1}
    query["created_before"] = datetime.now(UTC).isoformat()
    page = own.get(LISTED, params=query).json()
    while page["next_cursor"]:
        found += [entry["request"]["seed"] for entry in page["data"]]
        page = own.get(LISTED, params={**query, "cursor": page["next_cursor"]}).json()
    assert found + [entry["request"]["seed"] for entry in page["data"]] == [2**62, 12, 10]


def test_a_page_looks_at_so_many_and_its_cursor_goes_on(
    own: httpx.Client, service: Service
) -> None:
    newest = own.get(LISTED).json()["data"][0]["id"]
    with service.connection() as redis:
        whose = redis.hget(keys.generation(newest), "owner").decode()
        oldest = redis.zrange(keys.history(whose), 0, 0)[0].decode()
        # 1,500 that have expired, between the first and the others.
        start = int(oldest[:16], 16) + 1
        gone = {f"{start + i:016x}{i:032x}": 0.0 for i in range(1500)}
        redis.zadd(keys.history(whose), gone)
        page = own.get(LISTED, params={"seed": 10}).json()
        assert page["data"] == []
        assert page["next_cursor"] is not None
        assert seeds(own, seed=10, cursor=page["next_cursor"]) == [10]
        assert redis.zcard(keys.history(whose)) == 4


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("model=../x", "model", "is not of the form `name` or `name@step`"),
        ("seed=-1", "seed", "send 0 or more"),
        ("seed=9223372036854775808", "seed", "9223372036854775807"),
        ("seed=one", "seed", "integer"),
        ("created_after=yesterday", "created_after", "datetime"),
        ("created_after=2026-11-21T00:00:00", "created_after", "timezone"),
        (
            "created_after=2026-11-21T00:00:00Z&created_before=2026-11-20T00:00:00Z",
            "created_before",
            "send a later moment",
        ),
    ],
)
def test_a_filter_that_cannot_be_is_explained(
    own: httpx.Client, query: str, field: str, words: str
) -> None:
    answer = own.get(f"{LISTED}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == field
    assert words in answer.json()["detail"]


def test_a_cursor_of_another_keys_list_is_refused(own: httpx.Client) -> None:
    cursor = own.get(LISTED, params={"limit": 1}).json()["next_cursor"]
    answer = own.get(LISTED, params={"cursor": cursor}, headers=OTHER)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")
    assert "another API key's list; begin your own without a cursor" in answer.json()["detail"]
    assert own.get(LISTED, headers=OTHER).json()["data"] == []


def test_dead_messages_come_in_pages_without_gaps(own: httpx.Client, service: Service) -> None:
    owner, url = hashlib.sha256(b"narrow").hexdigest()[:16], "/v1/webhooks/dead"
    ids = [f"{i:032x}.done" for i in range(5)]
    fields = {"event": "done", "url": "https://a.example", "to": "a", "secret": "", "data": "{}"}
    with service.connection() as redis:
        for i, id_ in enumerate(ids):
            died = 1.7e9 + i // 2  # some at the same moment
            letter = fields | {"id": id_, "generation": id_[:32], "at": 1, "since": 1, "died": died}
            redis.hset(keys.dead(owner), id_, json.dumps(letter))
            redis.zadd(keys.died(owner), {id_: died})
        found: list[str] = []
        page = own.get(url, params={"limit": 2}).json()
        while page["next_cursor"]:
            found += [letter["id"] for letter in page["data"]]
            redis.zrem(keys.died(owner), found[-1])  # sent again: the next page begins there still
            cursor = page["next_cursor"]
            page = own.get(url, params={"limit": 2, "cursor": cursor}).json()
        assert found + [letter["id"] for letter in page["data"]] == ids[::-1]
        redis.delete(keys.dead(owner), keys.died(owner))
    answer = own.get(url, params={"cursor": cursor}, headers=OTHER)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")
    history = own.get(LISTED, params={"limit": 1}).json()["next_cursor"]
    assert own.get(url, params={"cursor": history}).status_code == 422


def test_both_clients_narrow_their_lists(own: httpx.Client) -> None:
    url, an_hour_ago = str(own.base_url), datetime.now(UTC) - timedelta(hours=1)
    with emaki.Client(url, key="narrow") as client:
        found = client.list(model="tiny", class_="Square", created_after=an_hour_ago)
        assert [handle.generation.request.seed for handle in found] == [12]
        assert list(client.list(status="failed", seed=None)) == []

    async def listed() -> list[int]:
        async with emaki.AsyncClient(url, key="narrow") as client:
            return [handle.generation.request.seed async for handle in client.list(seed=2**62)]

    assert asyncio.run(listed()) == [2**62]
