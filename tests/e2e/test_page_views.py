"""The page's other views in a real Chromium: the queue, the models' cards, the picture's dialog."""

import contextlib
import io
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Error, Route, expect
from redis import Redis

from tests.e2e.page import REFUSED, Tab, opened
from tests.e2e.service import Service
from tests.support import eventually, fresh_record
from wire import keys
from wire.record import Record
from wire.schemas import Status

LONG = {"model": "tiny", "steps": 1000, "batch": 64}
MEASURED = {
    "class_agreement": {
        "drawn": 0.96054,
        "real": 0.9268,
        "images": 2000,
        "sampler": "dpmpp_2m",
        "per_class": {"Circle": 0.975, "Square": 1.0},
        "per_breed": {f"Breed {i}": i / 200 for i in range(1, 121)},
    },
    "evaluation": {
        "images_per_second": 3.011,
        "nearest_training_pictures": None,
        "features": {"classifier": {"frechet": {"drawn": 19.59, "real": 10.07}}},
    },
}


def test_the_queue_shows_what_runs_and_what_waits_and_cancels_it(
    browser: Browser, service: Service
) -> None:
    headers = {"Authorization": "Bearer queued"}
    with (
        service.another_api(EMAKI_API_KEYS="queued") as url,
        httpx.Client(base_url=url, headers=headers, timeout=60) as api,
        opened(browser, url, path="/queue", key="queued") as tab,
    ):
        rows = tab.page.locator("#queue li")
        words = tab.page.locator("#queue-words")
        expect(words).to_have_text("Nothing is under way.")
        running = api.post("/v1/generations", json=LONG | {"class": "Circle"}).json()
        low = api.post("/v1/generations", json=LONG | {"priority": "low"}).json()
        with service.connection() as redis:
            ended_since(redis, running["id"], count=1001)
        expect(rows).to_have_count(2)
        expect(words).to_have_text(re.compile(r"\d running, \d waiting"))
        first = rows.filter(has_text="Circle, 64 pictures")
        expect(first).to_have_text(re.compile(r"Step \d+ of 1000, about \d+ (s|min) left"))
        expect(rows.filter(has_text="low priority")).to_have_count(1)
        bar = first.get_by_role("progressbar", name="Circle, 64 pictures: drawn so far")
        before = bar.evaluate("bar => bar.value")
        eventually(lambda: bar.evaluate("bar => bar.value") > before)
        tab.page.reload()  # however much has ended since
        expect(rows).to_have_count(2)
        first.get_by_role("button", name="Cancel Circle, 64 pictures").click()
        expect(first).to_have_count(0)
        expect(tab.page.get_by_role("heading", name="Queue")).to_be_focused()
        assert api.get(running["urls"]["self"]).json()["status"] == "canceled"
        rows.get_by_role("link").click()
        expect(tab.stage.get_by_role("heading")).to_have_text("No class, 64 pictures")
        assert tab.page.url.endswith(f"/g/{low['id']}")
        api.post(low["urls"]["cancel"])
        tab.page.go_back()
        expect(words).to_have_text("Nothing is under way.")
        with tab.page.expect_request(lambda request: "created_after=2" in request.url):
            pass  # from now on only as far back as something may still be under way


def ended_since(redis: Redis, id_: str, *, count: int) -> None:
    """So many generations of the same key that were created after this one, and have ended."""
    first = Record.from_hash(redis.hgetall(keys.generation(id_)))
    with redis.pipeline(transaction=False) as pipe:
        for i in range(count):
            record = fresh_record(owner=first.owner)
            record.created, record.status = time.time() + i * 1e-6, Status.CANCELED
            pipe.hset(keys.generation(record.id), mapping=record.to_hash())
            pipe.expire(keys.generation(record.id), 600)
            pipe.zadd(keys.history(first.owner), {record.history_member: 0})
        pipe.execute()


def test_the_queue_says_how_long_what_waits_will_wait(
    browser: Browser, service: Service, client: httpx.Client
) -> None:
    asked = {"model": "tiny", "steps": 2}
    drawn = client.post("/v1/generations", json=asked, headers={"Prefer": "wait=60"}).json()
    waiting = [
        drawn
        | {"id": f"{place:032x}", "status": "queued", "finished_at": None}
        | {"urls": drawn["urls"] | {"cancel": f"{service.url}/v1/generations/{place}/cancel"}}
        | {"progress": drawn["progress"] | {"queue_position": place, "eta_seconds": 50 * place}}
        for place in range(4, 134)
    ]
    canceled: set[str] = set()

    with opened(browser, service.url) as tab:

        def answer(route: Any) -> None:
            if route.request.method == "POST":
                canceled.add(route.request.url)
                route.fulfill(json={})
                return
            asked = parse_qs(urlsplit(route.request.url).query)
            below = int(asked.get("cursor", ["134"])[0])
            left = [
                one
                for one in waiting[below - 5 :: -1]
                if asked["status"] == ["queued"] and one["urls"]["cancel"] not in canceled
            ]
            last = left[99]["progress"]["queue_position"] if len(left) > 100 else None
            route.fulfill(json={"data": left[:100], "next_cursor": last and str(last)})

        tab.page.route("**/v1/generations?*", answer)
        tab.page.route("**/cancel", answer)
        tab.page.route("**/readyz", lambda route: route.fulfill(status=503, json={}))
        tab.page.get_by_role("link", name="Queue").click()
        expect(tab.page.locator("#queue-words")).to_contain_text(
            "0 running, 130 waiting, the next 100 of them shown."
        )
        expect(tab.page.locator("#queue-words")).to_contain_text("No worker is there")
        rows = tab.page.locator("#queue li")
        expect(rows).to_have_count(100)
        expect(rows.last).to_contain_text("number 103")
        expect(rows.first).to_contain_text("Waiting, number 4 in the queue; no worker is there")
        tab.page.unroute("**/readyz")
        expect(rows.first).to_contain_text("Waiting, number 4 in the queue, about 3 min left")
        tab.button("Cancel all that wait").click()
        expect(rows).to_have_count(0)
        assert len(canceled) == 130
        tab.complaints[:] = [text for text in tab.complaints if "503" not in text]


def test_a_models_card_tells_its_figures_and_draws_its_grid(tab: Tab, client: httpx.Client) -> None:
    drawn_before = client.get("/v1/generations", params={"model": "tiny", "seed": 0, "limit": 100})
    for generation in drawn_before.json()["data"]:
        client.delete(generation["urls"]["self"]).raise_for_status()
    measured = client.get("/v1/models/tiny").json() | {"quality": MEASURED}
    tab.page.route("**/v1/models/tiny", lambda route: route.fulfill(json=measured))
    tab.page.get_by_role("link", name="Models").click()
    tab.page.locator("#models-list").get_by_role("link", name="tiny").click()
    card = tab.page.locator("#card")
    expect(tab.page.get_by_role("heading", name="tiny")).to_be_focused()
    expect(card.locator("dl")).to_contain_text("8 × 8 pixels, grey")  # noqa: RUF001
    expect(card.locator("dl")).to_contain_text("5 steps, DPM-Solver++ 2M, guidance 1.5")
    figures = card.locator("#card-figures")
    expect(figures.get_by_role("heading")).to_have_text(
        ["Class agreement", "Per class", "Per breed", "Evaluation", "Features", "Classifier"]
    )
    for row in (
        "Sampler DPM-Solver++ 2M",
        "Drawn 0.9605",
        "Images 2,000",
        "Square 1",
        "Frechet 19.59 10.07",
    ):
        expect(figures.get_by_role("row", name=row)).to_be_visible()
    many = figures.get_by_role("row", name="Breed 120 0.6")
    expect(many).to_be_hidden()
    figures.get_by_text("All 120").click()
    expect(many).to_be_visible()
    expect(tab.page.locator("#card-grid:visible, #card-draw:enabled:visible")).to_be_visible()
    tab.button("Draw its grid").click()
    grid = tab.page.get_by_role("img", name="Pictures by this model")
    expect(grid).to_be_visible()
    width, height = grid.evaluate("canvas => [canvas.width, canvas.height]")
    assert (width, height) == (5 * 10 - 2, 4 * 10 - 2)  # 18 pictures of 8 x 8
    # Whoever comes again finds it, though nobody keeps it but the history.
    tab.page.reload()
    expect(grid).to_be_visible()
    expect(tab.button("Draw its grid")).to_be_hidden()
    tab.page.get_by_role("link", name="Look at each picture").click()
    expect(tab.tiles).to_have_count(18)
    expect(tab.tiles.first).to_have_text("Circleseed 0")
    tab.page.go_back()
    tab.button("Draw with it").click()
    expect(tab.control("Model")).to_be_focused()
    expect(tab.control("Model")).to_have_value("tiny")


def test_a_cards_late_answer_is_not_shown_under_another_name(
    tab: Tab, client: httpx.Client
) -> None:
    card, late = client.get("/v1/models/tiny").json(), list[Route]()
    tab.page.route("**/v1/models/slow", lambda route: late.append(route))  # noqa: PLW0108 - it is marked
    quick = card | {"id": "quick", "version": "quick@0000009"}
    tab.page.route("**/v1/models/quick", lambda route: route.fulfill(json=quick))
    go = """path => {
      history.pushState(null, "", path);
      dispatchEvent(new PopStateEvent("popstate"));
    }"""
    expect(tab.control("Model")).to_be_enabled()
    tab.page.evaluate(go, "/models/slow")
    expect(tab.page.get_by_role("heading", name="slow")).to_be_visible()
    tab.page.evaluate(go, "/models/quick")
    facts = tab.page.locator("#card dl")
    expect(facts).to_contain_text("quick@0000009")
    with contextlib.suppress(Error):  # the page waits for it no more
        late[0].fulfill(json=card | {"id": "slow"})
    expect(tab.page.get_by_role("heading", name="quick")).to_be_visible()
    expect(facts).to_contain_text("quick@0000009")


def test_a_model_that_is_not_there_is_said_in_words(browser: Browser, service: Service) -> None:
    with opened(browser, service.url, path="/models/nothing") as tab:
        words = tab.page.locator("#models-words")
        expect(words).to_have_text("There is no model of this name here; see all models.")
        expect(tab.page.locator("#card")).to_be_hidden()
        assert all(text.startswith(REFUSED) for text in tab.complaints)


def test_arrow_keys_go_through_a_drawings_pictures(tab: Tab) -> None:
    tab.draw(Model="tiny", Class="Each class in turn", Pictures="3", Seed="30")
    tab.tiles.first.click()
    expect(tab.dialog).to_have_accessible_name("Circle")
    for key, name in (("Right", "Square"), ("Right", "Ankle boot"), ("Right", "Circle")):
        tab.page.keyboard.press(f"Arrow{key}")
        expect(tab.dialog).to_have_accessible_name(name)
    tab.page.keyboard.press("ArrowLeft")
    expect(tab.dialog).to_have_accessible_name("Ankle boot")
    tab.dialog.get_by_role("slider").press("ArrowLeft")  # the scroll's own key
    expect(tab.dialog.get_by_role("slider")).to_have_attribute("aria-valuenow", "4")
    expect(tab.dialog).to_have_accessible_name("Ankle boot")


@pytest.mark.parametrize("drawn_at", [1, 2])
def test_a_picture_is_downloaded_enlarged(
    tab: Tab, client: httpx.Client, tmp_path: Path, drawn_at: int
) -> None:
    asked = {"model": "tiny", "class": "Square", "seed": 5, "steps": 2, "scale": drawn_at}
    body = client.post("/v1/generations", json=asked, headers={"Prefer": "wait=60"}).json()
    tab.page.goto(f"/g/{body['id']}")
    tab.tiles.first.click()
    size = tab.dialog.get_by_label("Size in pixels")
    expect(size).to_have_value(str(drawn_at))
    sizes = ["8 × 8", "16 × 16", "32 × 32", "64 × 64", "128 × 128"]  # noqa: RUF001
    expect(size.locator("option")).to_have_text(sizes)
    size.select_option("4")
    with tab.page.expect_download() as download:
        tab.dialog.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "emaki-tiny-square-5-32×32.png"  # noqa: RUF001
    download.value.save_as(tmp_path / "large.png")
    with Image.open(tmp_path / "large.png") as large:
        png = client.get(body["images"][0]["url"]).content
        small = np.asarray(Image.open(io.BytesIO(png)))[::drawn_at, ::drawn_at]
        assert (np.asarray(large) == small.repeat(4, axis=0).repeat(4, axis=1)).all()
        assert (large.info["seed"], large.info["scale"]) == ("5", "4")
