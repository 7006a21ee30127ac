"""Redis has acted, but its answer never came: what is sent again must not count twice."""

from pathlib import Path

import httpx

from tests.e2e.lossy import lossy_way
from tests.e2e.service import running
from tests.support import eventually


def test_a_submit_and_a_cancel_whose_answers_are_lost_happen_once(tmp_path: Path) -> None:
    with (
        running(tmp_path, "worker", "app") as service,
        lossy_way(service.redis.url) as way,
        service.another_api(EMAKI_REDIS_URL=way.url) as url,
        service.connection() as redis,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        worker = service.processes.pop(0)  # so that everything stays queued
        worker.terminate()
        worker.wait(timeout=20)
        key = {"Idempotency-Key": "once"}
        way.lose_answer_to(b"EXEC")
        first = client.post("/v1/generations", headers=key)
        way.lose_answer_to(b"EXEC")
        second = client.post("/v1/generations", json={"batch": 2})
        assert (first.status_code, second.status_code, way.lost) == (202, 202, 2)
        ids = [answer.json()["id"] for answer in (first, second)]
        assert [name.decode() for name in redis.lrange("rq:queue:emaki", 0, -1)] == ids
        assert [name.decode() for name in redis.zrange("emaki:waiting:tiny@0000002:", 0, -1)] == ids
        assert redis.hget("emaki:queued", "pictures") == b"3"
        assert client.post("/v1/generations", headers=key).json()["id"] == ids[0]

        spare = client.post("/v1/generations").json()["urls"]
        assert client.post(spare["cancel"]).status_code == 200  # Redis knows the script from now on
        spare = client.post("/v1/generations").json()["urls"]
        way.lose_answer_to(b"EVALSHA")
        canceled = client.post(spare["cancel"])
        assert (canceled.status_code, way.lost) == (200, 3)
        assert canceled.json()["status"] == "canceled"
        again = client.post(spare["cancel"])
        assert (again.status_code, again.json()) == (200, canceled.json())

        service.start("worker")
        for answer in (first, second):
            poll = answer.json()["urls"]["self"]
            eventually(lambda poll=poll: client.get(poll).json()["status"] == "succeeded")  # type: ignore[misc]
        assert redis.llen("rq:queue:emaki") == 0
        assert not list(redis.scan_iter("rq:job:*"))
        assert int(redis.hget("emaki:queued", "pictures") or 0) == 0
