"""Server-sent events: in order, complete, resumable, and the same as polling."""

import base64
import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

LONG = {"steps": 400, "batch": 2, "class": "Circle"}
Event = tuple[str, str, Any]


def read(
    client: httpx.Client, url: str, *, after: str | None = None, most: int = 10**9
) -> list[Event]:
    headers = {"Last-Event-ID": after} if after else {}
    events: list[Event] = []
    with client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields.get("event"):
                events.append((fields["id"], fields["event"], json.loads(fields["data"])))
                fields = {}
                if len(events) == most:
                    break
    return events


def submit(client: httpx.Client, fields: dict[str, Any] = LONG) -> dict[str, Any]:
    body: dict[str, Any] = client.post("/v1/generations", json=fields).json()
    return body


def test_a_stream_tells_the_whole_story(client: httpx.Client) -> None:
    body = submit(client)
    events = read(client, body["urls"]["events"])
    names = [name for _, name, _ in events]
    assert names[0] == "status"
    assert names[-1] == "done"
    assert names.count("done") == 1
    assert names.count("image") == 2
    assert names.count("progress") >= 3
    ids = [id_ for id_, _, _ in events]
    assert len(set(ids)) == len(ids)
    fractions = [data["fraction"] for _, name, data in events if name == "progress"]
    assert fractions == sorted(fractions)
    assert events[-1][2] == client.get(body["urls"]["self"]).json()
    images = [data for _, name, data in events if name == "image"]
    assert images == events[-1][2]["images"]


def test_progress_comes_at_most_ten_times_a_second(client: httpx.Client) -> None:
    body = submit(client)
    events = read(client, body["urls"]["events"])
    times = [int(id_.split("-")[0]) for id_, name, _ in events if name == "progress"]
    assert (len(times) - 1) <= 10 * (times[-1] - times[0]) / 1000 + 1


@pytest.mark.parametrize("running", [True, False])
def test_a_stream_goes_on_exactly_after_an_event(client: httpx.Client, running: bool) -> None:
    body = submit(client)
    first = read(client, body["urls"]["events"], most=4 if running else 10**9)[:4]
    rest = read(client, body["urls"]["events"], after=first[-1][0])
    whole = read(client, body["urls"]["events"])
    assert first[1:] + rest == whole[1:]
    assert whole[0][1] == "status"


def test_nothing_comes_after_the_end(client: httpx.Client) -> None:
    body = submit(client, {})
    last = read(client, body["urls"]["events"])[-1][0]
    assert read(client, body["urls"]["events"], after=last) == []


def test_previews_are_pictures(client: httpx.Client) -> None:
    body = submit(client, {"steps": 10, "batch": 2, "preview_every": 4})
    events = read(client, body["urls"]["events"])
    previews = [data for _, name, data in events if name == "preview"]
    assert sorted((p["index"], p["step"]) for p in previews) == [(0, 4), (0, 8), (1, 4), (1, 8)]
    for preview in previews:
        image = Image.open(io.BytesIO(base64.b64decode(preview["png_base64"])))
        assert image.size == (8, 8)


def test_previews_are_thinned_out(client: httpx.Client) -> None:
    body = submit(client, {"steps": 600, "batch": 2, "preview_every": 1})
    events = read(client, body["urls"]["events"])
    assert 200 <= [name for _, name, _ in events].count("preview") <= 256


def test_a_cancel_ends_the_stream(client: httpx.Client) -> None:
    body = submit(client, {"steps": 1000, "batch": 48})
    read(client, body["urls"]["events"], most=3)
    client.post(body["urls"]["cancel"])
    events = read(client, body["urls"]["events"])
    assert events[-1][1] == "done"
    assert events[-1][2]["status"] == "canceled"
