"""Idempotency, lists, deletion, archives, expiry, positions and estimates."""

import io
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.service import Service
from tests.support import eventually
from wire import keys

LONG = {"steps": 1000, "batch": 48, "class": "Circle"}


def submit(client: httpx.Client, fields: Any = None, **headers: str) -> dict[str, Any]:
    answer = client.post("/v1/generations", json=fields or {}, headers=headers)
    assert answer.status_code in (200, 202), answer.text
    body: dict[str, Any] = answer.json()
    return body


def finished(client: httpx.Client, fields: Any = None) -> dict[str, Any]:
    body = submit(client, fields, Prefer="wait=60")
    assert body["status"] == "succeeded", body
    return body


def test_an_idempotency_key_replays_the_first_answer(client: httpx.Client) -> None:
    key = {"Idempotency-Key": "order-1"}
    first = client.post("/v1/generations", json={"steps": 3}, headers=key)
    again = client.post("/v1/generations", json={"steps": 3}, headers=key)
    assert again.status_code == first.status_code == 202
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    waited = client.post("/v1/generations", json={"steps": 3}, headers=key | {"Prefer": "wait=60"})
    assert (waited.status_code, waited.json()["id"]) == (200, first.json()["id"])
    assert waited.json()["status"] == "succeeded"
    other = client.post("/v1/generations", json={"steps": 4}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_concurrent_duplicates_make_one_generation(service: Service) -> None:
    def post(n: int) -> str:
        with service.client() as client:
            prefer = {"Prefer": "wait=60"} if n % 2 else {}
            return str(submit(client, {"steps": 2}, **{"Idempotency-Key": "race"}, **prefer)["id"])

    with ThreadPoolExecutor(12) as pool:
        assert len(set(pool.map(post, range(24)))) == 1


def test_idempotency_keys_last_a_day(service: Service, client: httpx.Client) -> None:
    submit(client, {}, **{"Idempotency-Key": "day"})
    with service.connection() as redis:
        entries = list(redis.scan_iter("emaki:idempotency:*"))
        assert entries
        assert all(0 < redis.ttl(entry) <= 24 * 3600 for entry in entries)


@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
def test_a_strange_idempotency_key_is_refused(client: httpx.Client, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode()}
    answer = client.post("/v1/generations", json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


@pytest.fixture
def own_history(service: Service) -> Iterator[httpx.Client]:
    """A client whose key nobody else uses, through an API process of its own."""
    with (
        service.another_api(EMAKI_API_KEYS="lister,other") as url,
        httpx.Client(base_url=url, headers={"Authorization": "Bearer lister"}, timeout=60) as own,
    ):
        yield own
        for entry in own.get("/v1/generations?limit=100").json()["data"]:
            own.delete(entry["urls"]["self"])


def test_lists_are_newest_first_and_paged_without_gaps(own_history: httpx.Client) -> None:
    client = own_history
    ids = [submit(client, {"steps": 2})["id"] for _ in range(7)]
    client.post(f"/v1/generations/{submit(client, LONG)['id']}/cancel")
    seen: list[str] = []
    cursor: str | None = None
    pages = 0
    while pages == 0 or cursor:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/generations", params=query).json()
        seen += [entry["id"] for entry in page["data"]]
        if pages == 0:  # what is new does not move the pages that follow
            submit(client, {"steps": 1})
        cursor, pages = page["next_cursor"], pages + 1
    assert pages == 3
    assert seen[1:] == ids[::-1]
    canceled = client.get("/v1/generations", params={"status": "canceled"}).json()["data"]
    assert [entry["status"] for entry in canceled] == ["canceled"]
    assert seen[0] == canceled[0]["id"]
    one = client.get("/v1/generations", params={"limit": 1}).json()["data"][0]
    eventually(lambda: client.get(one["urls"]["self"]).json()["status"] == "succeeded")
    listed = client.get("/v1/generations", params={"limit": 1}).json()["data"][0]
    assert listed == client.get(one["urls"]["self"]).json()
    stranger = {"Authorization": "Bearer other"}
    assert client.get("/v1/generations", headers=stranger).json() == {
        "data": [],
        "next_cursor": None,
    }


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "status=done", "cursor=zzz", "cursor=%C3%A4", "cursor=AAAA"]
)
def test_a_bad_list_query_is_explained(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/v1/generations?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


def test_delete_removes_a_finished_generation(service: Service, client: httpx.Client) -> None:
    body = finished(client, {"strip": 3})
    assert client.delete(body["urls"]["self"]).status_code == 204
    for path in ("self", "grid", "strip", "events"):
        assert client.get(body["urls"][path]).status_code == 404
    assert client.delete(body["urls"]["self"]).status_code == 404
    with service.connection() as redis:
        assert not list(redis.scan_iter(f"*{body['id']}*"))


def test_delete_cancels_what_runs_and_leaves_nothing(
    service: Service, client: httpx.Client
) -> None:
    body = submit(client, LONG | {"strip": 4, "preview_every": 1})
    eventually(lambda: client.get(body["urls"]["self"]).json()["progress"]["step"] > 0)
    assert client.delete(body["urls"]["self"]).status_code == 204
    assert client.get(body["urls"]["self"]).status_code == 404
    with service.connection() as redis:
        eventually(lambda: not list(redis.scan_iter(f"*{body['id']}*")), what="clean keys")
        eventually(lambda: not redis.sismember(keys.CANCELS, body["id"]), what="no cancel left")
    assert finished(client, {"steps": 2})


def test_an_archive_holds_every_picture(client: httpx.Client) -> None:
    body = finished(client, {"batch": 3, "steps": 2})
    answer = client.get(f"{body['urls']['self']}/images.zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["00.png", "01.png", "02.png"]
        assert archive.testzip() is None
        for image, name in zip(body["images"], archive.namelist(), strict=True):
            assert archive.read(name) == client.get(image["url"]).content


@pytest.mark.parametrize("path", ["images/0.png", "grid.png", "images.zip", "strip.png"])
def test_files_have_etags(client: httpx.Client, path: str) -> None:
    body = finished(client, {"batch": 2, "steps": 2, "strip": 2, "seed": 3})
    url = f"{body['urls']['self']}/{path}"
    answer = client.get(url)
    tag = answer.headers["etag"]
    unchanged = client.get(url, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == tag
    assert client.get(url, headers={"If-None-Match": '"other"'}).content == answer.content


def test_results_expire_to_410_and_then_404(service: Service, client: httpx.Client) -> None:
    with service.another_api(EMAKI_RESULT_TTL="1") as url, httpx.Client(base_url=url) as brief:
        body = submit(brief, {"steps": 1}, Prefer="wait=30")
        assert body["status"] == "succeeded"
        eventually(lambda: brief.get(body["urls"]["self"]).status_code == 410, seconds=10)
        for path in ("self", "grid", "events"):
            answer = client.get(body["urls"][path])
            assert (answer.status_code, answer.json()["code"]) == (410, "generation_expired")
        with service.connection() as redis:
            assert 6.9 * 86400 < redis.ttl(keys.gone(body["id"])) <= 7 * 86400 + 1
            assert not list(redis.scan_iter(f"emaki:gen:{body['id']}*"))
            redis.delete(keys.gone(body["id"]))  # seven days later
        assert client.get(body["urls"]["self"]).status_code == 404


def test_queue_positions_count_turns_and_estimates_come_from_measured_steps(
    service: Service,
) -> None:
    with service.another_api(EMAKI_API_KEYS="many,one") as url:
        many = httpx.Client(base_url=url, headers={"Authorization": "Bearer many"}, timeout=60)
        one = httpx.Client(base_url=url, headers={"Authorization": "Bearer one"}, timeout=60)
        with many, one:
            finished(many, {"steps": 50, "batch": 8})
            others = [submit(many, LONG)["urls"]["self"] for _ in range(40)]
            late = submit(one, LONG)["urls"]["self"]
            try:
                last = many.get(others[-1]).json()["progress"]
                places = [many.get(url).json()["progress"] for url in others[:-1]]
                mine = one.get(late).json()["progress"]
                waiting = [p for p in places if p["queue_position"] is not None]
                assert waiting, "all of them run already"
                assert mine["queue_position"] is None or mine["queue_position"] <= 2
                assert last["queue_position"] > len(waiting), "what waits now waited then, too"
                eta = eventually(lambda: many.get(others[-1]).json()["progress"]["eta_seconds"])
                assert eta > 0
            finally:
                for client_, url_ in [(many, url_) for url_ in others] + [(one, late)]:
                    client_.delete(url_)
