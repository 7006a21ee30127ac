"""axe-core's rules on each of the page's views in a real Chromium, and what a first visit loads."""

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.e2e.page import REFUSED, Tab, opened
from tests.e2e.service import Service
from wire import keys
from wire.schemas import ModelCard

_SERIOUS = {"serious", "critical"}
_MOST_BYTES = 60_000
LARGE = {"cars": 196, "digits": 10, "garments": 10, "emoji": 0}  # how many classes
_WIDTHS = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
NARROW_AND_DARK: dict[str, Any] = {
    "color_scheme": "dark",
    "viewport": {"width": 320, "height": 640},
    "is_mobile": True,
    "has_touch": True,
}


def findings(tab: Tab) -> list[str]:
    """What axe-core calls serious or critical, and where."""
    found = Axe().run(tab.page).response["violations"]
    return [
        f"{rule['id']}: {rule['help']}: {node['html'][:200]}"
        for rule in found
        if rule["impact"] in _SERIOUS
        for node in rule["nodes"]
    ]


def at_first(tab: Tab) -> None:
    expect(tab.control("Model")).to_be_enabled()


def drawn(tab: Tab) -> None:
    tab.draw(Model="tiny", Class="Each class in turn", Pictures="20", Seed="9223372036854775000")


def refused(tab: Tab) -> None:
    tab.ask(Model="tiny", Seed="x", Steps="0", Pictures="99", Guidance="-1")
    expect(tab.control("Guidance")).to_have_attribute("aria-invalid", "true")


def chosen(tab: Tab) -> None:
    tab.draw(Model="tiny", Pictures="2")
    tab.button("Choose several").click()
    tab.page.locator("#gallery li input").first.check()
    tab.page.get_by_text("Filter", exact=True).click()
    tab.page.get_by_role("form", name="Filter").get_by_label("Seed").fill("x")
    tab.page.keyboard.press("Tab")
    expect(tab.page.locator("#filter-error")).to_be_visible()


def canceled(tab: Tab) -> None:
    tab.ask(Model="tiny", Pictures="64", Steps="1000")
    tab.button("Cancel").click()
    expect(tab.status).to_contain_text("Canceled")


def one_picture(tab: Tab) -> None:
    tab.draw(Model="tiny", Class="Ankle boot", Pictures="2")
    tab.tiles.first.click()
    tab.dialog.get_by_role("button", name="Copy as curl").click()
    expect(tab.dialog.get_by_label("curl command")).to_be_visible()


def variations(tab: Tab) -> None:
    tab.draw(Model="tiny", Pictures="1", Steps="2")
    tab.tiles.first.click()
    tab.dialog.get_by_role("button", name="Variations").click()
    expect(tab.dialog.get_by_role("status")).to_have_text("Choose one.")


def two_pictures(tab: Tab) -> None:
    tab.draw(Model="tiny", Class="Ankle boot", Pictures="2")
    tab.tiles.first.click()
    tab.dialog.get_by_role("button", name="Compare with another").click()
    tab.page.keyboard.press("ArrowRight")
    tab.dialog.get_by_role("button", name="Compare with the one").click()
    expect(tab.dialog.get_by_role("table")).to_be_visible()


def really(tab: Tab) -> None:
    tab.draw(Model="tiny", Pictures="1")
    tab.stage.get_by_role("button", name="Delete").click()
    expect(tab.dialog.get_by_role("button", name="Keep")).to_be_focused()


def gone(tab: Tab) -> None:
    tab.page.goto(f"/g/{'0' * 32}")
    expect(tab.stage.get_by_role("heading")).to_have_text("Not here")


def queue(tab: Tab) -> None:
    tab.ask(Model="tiny", Pictures="64", Steps="1000")
    expect(tab.stage.get_by_role("button", name="Cancel")).to_be_visible()
    tab.page.get_by_role("link", name="Queue").click()
    expect(tab.page.locator("#queue li").first).to_be_visible()
    for button in tab.page.locator("#queue li button").all()[1:]:
        expect(button).to_be_visible()


def models(tab: Tab) -> None:
    tab.page.get_by_role("link", name="Models").click()
    expect(tab.page.locator("#models-list li").first).to_be_visible()


def card(tab: Tab) -> None:
    tab.page.goto("/models/tiny")
    grid = tab.page.get_by_role("img", name="Pictures by this model")
    draw = tab.button("Draw its grid")
    expect(tab.page.locator("#card-grid:visible, #card-draw:enabled:visible")).to_be_visible()
    if draw.is_visible():
        draw.click()
    expect(grid).to_be_visible()


def key_wanted(tab: Tab) -> None:
    tab.page.route("**/v1/**", lambda route: route.fulfill(status=401, json={}))
    tab.page.evaluate("sessionStorage.setItem('emaki.key', 'wrong')")
    tab.page.reload()
    expect(tab.page.locator("#key-error")).to_be_visible()


VIEWS = (
    *(at_first, drawn, refused, chosen, canceled, one_picture, variations, two_pictures),
    *(really, gone, queue, models, card, key_wanted),
)


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious_and_no_view_scrolls_sideways(
    browser: Browser, service: Service, client: httpx.Client, view: Callable[[Tab], None]
) -> None:
    """On a phone in the dark, and then as a window that a person draws wide, in the light."""
    with opened(browser, service.url, **NARROW_AND_DARK) as tab:
        view(tab)
        look_at(tab)
        tab.page.set_viewport_size({"width": 1280, "height": 720})
        tab.page.emulate_media(color_scheme="light")
        look_at(tab)
        assert all(text.startswith(REFUSED) for text in tab.complaints)
    for status in ("queued", "running"):
        for entry in client.get("/v1/generations", params={"status": status}).json()["data"]:
            client.post(entry["urls"]["cancel"])


def look_at(tab: Tab) -> None:
    tab.page.wait_for_timeout(400)  # what fades has its colour then
    assert findings(tab) == []
    scrolls, there = tab.page.evaluate(_WIDTHS)
    assert scrolls == there


def test_axe_would_find_something(tab: Tab) -> None:
    expect(tab.control("Model")).to_be_enabled()
    tab.page.evaluate(
        """() => {
          document.querySelector("label[for=seed]").remove();
          document.querySelector("#seed").placeholder = "";
          document.querySelector(".top p").style.color = "#ccc";
        }"""
    )
    rules = {finding.partition(":")[0] for finding in findings(tab)}
    assert rules >= {"label", "color-contrast"}


@pytest.fixture
def six_models(service: Service, client: httpx.Client) -> Iterator[None]:
    """Beside the tiny ones four whose cards are as long as those of models that people train."""
    tiny = ModelCard.model_validate(client.get("/v1/models/tiny").json())
    with service.connection() as redis:
        for name, count in LARGE.items():
            classes = [f"{uuid.uuid4().hex[:12]} Sedan {2000 + i % 13}" for i in range(count)]
            version = f"{name}@0000001"
            update = {"id": name, "version": version, "classes": classes}
            card = tiny.model_copy(update=update | {"quality": measured(classes)})
            redis.hset(keys.MODELS, version, card.model_dump_json())
            redis.zadd(keys.DRAWABLE, {version: time.time() + 600})
        yield
        for name in LARGE:
            redis.hdel(keys.MODELS, f"{name}@0000001")
            redis.zrem(keys.DRAWABLE, f"{name}@0000001")


def measured(classes: list[str]) -> dict[str, Any]:
    """Figures as `python -m training evaluate` writes them, of each class, too."""
    ratio = {"drawn": 0.9173, "real": 0.8851}
    names = ("frechet", "kernel", "kernel_deviation", "precision", "recall", "density", "coverage")
    how = {"sampler": "dpmpp_2m_sde", "steps": 20, "guidance_scale": 1.5, "images": 1000}
    per_class = {name: round(0.9 + i / 2011, 4) for i, name in enumerate(classes)}
    extractor = {"extractor": "classifier cnn-32-64-128-v4, 256 units", "features": 256}
    return {
        "class_agreement": how | ratio | {"ratio": 1.0364, "per_class": per_class},
        "evaluation": how
        | {"unseen": 10000, "images_per_second": 3.011, "device": "cpu", "dtype": "bfloat16"}
        | {"features": {"classifier": extractor | dict.fromkeys(names, ratio)}},
    }


@pytest.mark.parametrize("path", ["/", "/queue", "/models/tiny", "/g/ID"])
@pytest.mark.usefixtures("six_models")
def test_a_first_paint_needs_sixty_kilobytes_at_most(
    browser: Browser, service: Service, path: str
) -> None:
    """All that comes before pictures do: page, styles, modules, and what it asks the API."""
    headers = {"Authorization": "Bearer visitor", "Prefer": "wait=60"}
    with service.another_api(EMAKI_API_KEYS="visitor") as url:
        if path == "/g/ID":
            answer = httpx.post(f"{url}/v1/generations", json={}, headers=headers, timeout=60)
            path = f"/g/{answer.json()['id']}"
        with opened(browser, url, path="/livez", key="visitor") as tab:
            session = tab.page.context.new_cdp_session(tab.page)
            session.send("Network.enable")
            urls: dict[str, str] = {}
            sizes: dict[str, float] = {}

            def asked(event: dict[str, Any]) -> None:
                urls[event["requestId"]] = event["request"]["url"].removeprefix(url)

            def loaded(event: dict[str, Any]) -> None:
                sizes[event["requestId"]] = event["encodedDataLength"]  # the header, too

            session.on("Network.requestWillBeSent", asked)
            session.on("Network.loadingFinished", loaded)
            tab.page.goto(path, wait_until="networkidle")
    told = {urls[id_]: size for id_, size in sizes.items() if not urls[id_].endswith(".png")}
    assert {path, "/static/style.css", "/static/history.js", "/v1/models"} <= set(told)
    assert all(size > 0 for size in told.values())
    assert told["/v1/models"] > 4000  # their cards are long, even packed
    assert sum(told.values()) <= _MOST_BYTES, sorted(told.items(), key=lambda one: -one[1])


def test_what_repeats_no_request_is_packed(client: httpx.Client) -> None:
    for path in ("/", "/static/page.js", "/openapi.json", "/v1/models"):
        answer = client.get(path, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.text == client.get(path, headers={"Accept-Encoding": "identity"}).text
        assert "content-encoding" not in client.get(path, headers={"Accept-Encoding": ""}).headers
    client.post("/v1/generations", json={}, headers={"Prefer": "wait=60"})
    listed = client.get("/v1/generations", headers={"Accept-Encoding": "gzip"})
    assert len(listed.content) > 1000
    assert "content-encoding" not in listed.headers
