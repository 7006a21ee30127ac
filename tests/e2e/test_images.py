"""Pictures outside Redis: in a folder and in a real S3-compatible server, through their lives."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest

from tests.chaos.test_failures import end, pictures, submit
from tests.e2e.service import Service, running
from tests.support import eventually, free_port
from wire import keys

ASKED = {"class": "Circle", "batch": 2, "steps": 3, "strip": 2}


@contextmanager
def folder(tmp_path: Path) -> Iterator[tuple[dict[str, str], Any, str]]:
    """Settings, a file system to look with, and the root there."""
    root = tmp_path / "pictures"
    yield {"EMAKI_IMAGES": root.as_uri()}, fsspec.filesystem("file"), str(root)


@contextmanager
def s3(tmp_path: Path) -> Iterator[tuple[dict[str, str], Any, str]]:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    with (tmp_path / "s3.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=log, stderr=log
        )
    settings = {
        "EMAKI_IMAGES": "s3://bucket/pictures",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        eventually(lambda: answers(endpoint), what="the S3 server")
        files = fsspec.filesystem("s3", endpoint_url=endpoint, key="testing", secret="testing")
        files.mkdir("bucket")
        yield settings, files, "bucket/pictures"
    finally:
        server.terminate()
        server.wait()


def answers(endpoint: str) -> bool:
    try:
        return httpx.get(endpoint).status_code < 500
    except httpx.TransportError:
        return False


def names(files: Any, root: str) -> set[str]:
    """All files below the root, without it."""
    files.invalidate_cache()
    found = files.find(root) if files.exists(root) else []
    return {name.removeprefix(root).lstrip("/") for name in found}


def in_redis(service: Service) -> int:
    with service.connection() as redis:
        return sum(redis.exists(key) for key in redis.scan_iter("emaki:gen:*:png"))


@pytest.mark.parametrize("place", [folder, s3])
def test_pictures_live_and_end_outside_redis(tmp_path: Path, place: Any) -> None:
    with (
        place(tmp_path) as (settings, files, root),
        running(tmp_path, "worker", "app", EMAKI_RESULT_TTL="6", **settings) as service,
        service.client() as client,
    ):
        first = end(client, submit(client, **ASKED))
        digests = pictures(first)
        expected = {f"{first['id']}/{i}-{sha[:16]}.png" for i, sha in enumerate(digests)}
        assert names(files, root) == expected | {f"{first['id']}/strip.png"}
        assert in_redis(service) == 0
        for image in first["images"]:
            data = client.get(image["url"]).content
            assert hashlib.sha256(data).hexdigest() == image["sha256"]
        for name in ("grid", "strip"):
            assert client.get(first["urls"][name]).content.startswith(b"\x89PNG")

        source = client.get(first["images"][0]["url"]).content
        upload = client.post("/v1/uploads", content=source).json()["url"]
        assert f"{upload.rpartition('/')[2]}/upload" in names(files, root)
        assert client.get(upload).content == source
        begun = end(client, submit(client, **ASKED, init_image=upload))
        assert begun["status"] == "succeeded"
        discarded = client.post("/v1/uploads", content=client.get(first["urls"]["grid"]).content)
        assert client.delete(discarded.json()["url"]).status_code == 204

        deleted = end(client, submit(client, **ASKED))
        assert client.delete(deleted["urls"]["self"]).status_code == 204
        eventually(
            lambda: not any(name.startswith(deleted["id"]) for name in names(files, root)),
            what="the removal of what was deleted",
        )
        eventually(lambda: not names(files, root), what="the removal of what has expired")
        assert client.get(first["urls"]["self"]).status_code == 410


def test_what_is_no_id_among_those_to_be_removed_is_dropped(tmp_path: Path) -> None:
    """Whoever can write to Redis must not be able to remove a folder of the worker's host."""
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "kept").write_text("kept")
    settings = {"EMAKI_IMAGES": (tmp_path / "pictures").as_uri()}
    with running(tmp_path, "worker", "app", **settings) as service:
        id_ = "0" * 32
        folder = tmp_path / "pictures" / id_
        folder.mkdir(parents=True)
        with service.connection() as redis:
            redis.zadd(keys.IMAGES_KEPT, {"../beside": 0, b"\xff": 0, "": 0, id_: 1})
            eventually(lambda: not redis.exists(keys.IMAGES_KEPT), what="the removal")
        assert "'../beside' is no generation's id" in service.log("worker")
    assert (beside / "kept").read_text() == "kept"
    assert not folder.exists()


def test_a_place_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """A file stands where the folder should be; then it is taken away."""
    root = tmp_path / "pictures"
    root.write_text("in the way")
    settings = {"EMAKI_IMAGES": root.as_uri(), "EMAKI_WORKER_TTL": "2", "EMAKI_STEP_TIMEOUT": "3"}
    with running(tmp_path, "worker", "app", **settings) as service, service.client() as client:
        id_ = submit(client, **ASKED)
        eventually(lambda: service.log("worker").count("cannot be written") > 8, seconds=30)
        assert client.get("/readyz").status_code == 200
        assert client.get(f"/v1/generations/{id_}").json()["images"] == []
        root.unlink()
        assert len(pictures(end(client, id_))) == 2
        root.rename(tmp_path / "elsewhere")
        answer = client.get(f"/v1/generations/{id_}/images/0.png")
        assert (answer.status_code, answer.json()["code"]) == (404, "image_not_found")


@pytest.mark.parametrize("module", ["app", "worker"])
def test_a_place_that_is_none_is_named(tmp_path: Path, module: str) -> None:
    with running(tmp_path) as service:
        process = service.start(module, EMAKI_IMAGES="tape://drive")
        assert process.wait(timeout=60) == 2
        (line,) = [line for line in service.log(module).splitlines() if "error" in line]
        assert "EMAKI_IMAGES=tape://drive: Protocol not known" in line
        service.processes.clear()
