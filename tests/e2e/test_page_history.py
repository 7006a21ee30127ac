"""The page's history in a real Chromium: narrowed, linked to, compared and deleted from."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.e2e.page import REFUSED, Tab, opened
from tests.e2e.service import Service
from tests.support import eventually
from wire import keys

# The alpha of a canvas's pixels, row by row.
_ALPHA = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return Array.from({ length: canvas.height }, (_, y) =>
    Array.from({ length: canvas.width }, (_, x) => data[4 * (y * canvas.width + x) + 3]));
}"""
Open = Callable[..., AbstractContextManager[Tab]]


@pytest.fixture(scope="module")
def guarded(service: Service) -> Iterator[str]:
    with service.another_api(EMAKI_API_KEYS="one,two") as url:
        yield url


@pytest.fixture
def api(guarded: str) -> Iterator[httpx.Client]:
    """A key's client; what it has drawn is gone afterwards."""
    headers = {"Authorization": "Bearer one"}
    with httpx.Client(base_url=guarded, headers=headers, timeout=60) as client:
        yield client
        for entry in client.get("/v1/generations?limit=100").json()["data"]:
            client.delete(entry["urls"]["self"])


@pytest.fixture
def view(browser: Browser, guarded: str) -> Open:
    """The page in a profile of its own, with the key."""

    def show(path: str = "/", key: str = "one", **context: Any) -> AbstractContextManager[Tab]:
        return opened(browser, guarded, path=path, key=key, **context)

    return show


def drawn(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    asked = {"model": "tiny", "steps": 2, **fields}
    answer = api.post("/v1/generations", json=asked, headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_another_browser_finds_what_was_drawn(api: httpx.Client, view: Open) -> None:
    with view() as tab:
        square = tab.draw(Model="tiny", Class="Square", Seed="1", Pictures="2")
        picture = tab.pixels(1)
        circle = tab.draw(Class="Circle", Seed="2")
        assert tab.page.url.endswith(f"/g/{circle['id']}")
        tab.page.go_back()
        expect(tab.stage.get_by_role("heading")).to_have_text("Square, 2 pictures")
        tab.becomes(1, picture)
        tab.page.go_back()
        expect(tab.stage.get_by_role("heading")).to_have_text("Nothing on show")
    with view() as other:
        entries = other.page.locator("#gallery li")
        expect(entries).to_have_count(2)
        expect(entries.first).to_contain_text(re.compile("Circle ?2 pictures"))
        other.entry(square).click()
        other.becomes(1, picture)
        assert other.page.url.endswith(f"/g/{square['id']}")
        other.page.reload()
        other.becomes(1, picture)
        expect(other.entry(square)).to_have_attribute("aria-current", "true")


def test_gutters_show_what_lies_behind(api: httpx.Client, view: Open) -> None:
    drawn(api, batch=3)
    with view(color_scheme="dark") as tab:
        canvas = tab.page.locator("#gallery a[data-drawn] canvas")
        expect(canvas).to_be_visible()
        picture, gutter = [255] * 8, [0] * 2
        both, one = picture + gutter + picture, picture + gutter + [0] * 8
        assert canvas.evaluate(_ALPHA) == [both] * 8 + [[0] * 18] * 2 + [one] * 8


def test_more_of_it_comes_as_one_scrolls(api: httpx.Client, view: Open) -> None:
    ids = [
        api.post("/v1/generations", json={"model": "tiny", "steps": 1}).json()["id"]
        for _ in range(60)
    ]
    with view(viewport={"width": 400, "height": 500}) as tab:
        entries = tab.page.locator("#gallery li")
        expect(entries).to_have_count(24)
        for count in (48, 60):
            tab.page.locator("#gallery-more").scroll_into_view_if_needed()
            expect(entries).to_have_count(count)
        expect(tab.button("Show more")).to_be_hidden()
        shown = entries.evaluate_all("all => all.map((item) => item.dataset.id)")
        assert shown == ids[::-1]


def test_it_is_narrowed_by_model_class_seed_and_day(api: httpx.Client, view: Open) -> None:
    boots = drawn(api, **{"class": "Ankle boot"}, seed=5)
    drawn(api, **{"class": "Circle"}, seed=6)
    drawn(api, model="plain", seed=7)
    with view(timezone_id="Europe/Berlin") as tab:
        entries = tab.page.locator("#gallery li")
        expect(entries).to_have_count(3)
        tab.page.get_by_text("Filter", exact=True).click()
        form = tab.page.get_by_role("form", name="Filter")
        note = tab.page.locator("#gallery-note")

        def narrow(label: str, value: str, count: int) -> None:
            control = form.get_by_label(label)
            control.fill(value)
            control.press("Tab")
            expect(entries).to_have_count(count)

        narrow("Model", "tiny", 2)
        narrow("Class", "ankle boots", 1)
        expect(tab.entry(boots)).to_be_visible()
        narrow("Seed", "6", 0)
        expect(note).to_have_text("Nothing that was drawn is like that.")
        narrow("Seed", "5", 1)
        narrow("From", "2020-01-01", 1)
        narrow("To", "2020-01-31", 0)
        with tab.page.expect_request(lambda request: "created_before=2020" in request.url) as day:
            narrow("To", "2020-03-29", 0)  # a day of 23 hours
        assert "created_before=2020-03-29T22%3A00%3A00.000Z" in day.value.url
        tab.button("Show all").click()
        expect(entries).to_have_count(3)
        expect(note).to_be_hidden()
        narrow("Seed", "five", 0)
        expect(form.get_by_label("Seed")).to_have_attribute("aria-invalid", "true")
        error = tab.page.locator("#filter-error")
        expect(error).to_have_text("a seed is a whole number; type digits")
        narrow("Seed", "", 3)
        narrow("Model", "Not A Model", 0)
        expect(error).to_contain_text("is not of the form")
        expect(form.get_by_label("Model")).to_have_attribute("aria-invalid", "true")
        tab.button("Show all").click()
        expect(entries).to_have_count(3)
        expect(error).to_be_hidden()


def test_a_link_needs_the_key_and_then_shows_the_drawing(
    api: httpx.Client, browser: Browser, guarded: str
) -> None:
    address = f"/g/{drawn(api, **{'class': 'Square'}, seed=3)['id']}"
    with opened(browser, guarded, path=address) as tab:
        tab.page.get_by_label("API key", exact=True).fill("one")
        tab.button("Use this key").click()
        expect(tab.stage.get_by_role("heading")).to_have_text("Square, 1 picture")
        expect(tab.tiles.first).to_have_text("Squareseed 3")
        tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab.button("Copy link").click()
        expect(tab.status).to_contain_text("The link is copied")
        assert tab.page.evaluate("navigator.clipboard.readText()") == guarded + address


@pytest.mark.parametrize("how", ["deleted", "another key's", "expired", "malformed"])
def test_a_link_to_nothing_says_so_and_blocks_nothing(
    api: httpx.Client, view: Open, service: Service, how: str
) -> None:
    id_ = drawn(api)["id"]
    if how == "deleted":
        api.delete(f"/v1/generations/{id_}")
    if how == "expired":
        with service.connection() as redis:
            owner = redis.hget(keys.generation(id_), "owner")
            assert owner is not None
            redis.delete(keys.generation(id_))
            redis.set(keys.gone(id_), owner)
    path = "/g/%25%2e%2e" if how == "malformed" else f"/g/{id_}"
    with view(path, key="two" if how == "another key's" else "one") as tab:
        expect(tab.stage.get_by_role("heading")).to_have_text("Not here")
        expect(tab.status).to_contain_text(
            "This drawing is too old" if how == "expired" else "it was deleted, or another key drew"
        )
        expect(tab.page.locator("#announcer")).not_to_be_empty()
        tab.draw(Model="tiny", Pictures="1")
        expect(tab.status).to_contain_text("Drawn by tiny")
        assert all(text.startswith(REFUSED) for text in tab.complaints)


def test_several_are_deleted_when_that_is_meant(api: httpx.Client, view: Open) -> None:
    kept, *others = [drawn(api, seed=seed) for seed in (1, 2, 3)]
    with view(f"/g/{others[0]['id']}") as tab:
        expect(tab.tiles.first).to_be_enabled()
        tab.button("Choose several").click()
        chosen = tab.page.locator("#gallery-chosen-words")
        expect(chosen).to_have_text("None chosen")
        expect(tab.page.locator("#gallery-delete")).to_be_disabled()
        tab.button("All shown").click()
        expect(chosen).to_have_text("3 chosen")
        tab.entry(kept).click()  # takes it out again, and goes nowhere
        expect(chosen).to_have_text("2 chosen")
        tab.page.locator("#gallery-delete").click()
        expect(tab.dialog).to_have_accessible_name(
            "Delete these 2 drawings and all their pictures?"
        )
        expect(tab.dialog.get_by_role("button", name="Keep")).to_be_focused()
        tab.page.keyboard.press("Enter")
        expect(chosen).to_have_text("2 chosen")
        tab.page.locator("#gallery-delete").click()
        tab.dialog.get_by_role("button", name="Delete").click()
        expect(tab.page.locator("#gallery-note")).to_have_text("2 of 2 deleted")
        expect(tab.page.locator("#gallery li")).to_have_count(1)
        expect(tab.status).to_have_text("Deleted.")
        expect(tab.tiles).to_have_count(0)
    left = [entry["id"] for entry in api.get("/v1/generations").json()["data"]]
    assert left == [kept["id"]]


def test_the_one_on_show_is_deleted(api: httpx.Client, view: Open) -> None:
    one = drawn(api)
    with view(f"/g/{one['id']}") as tab:
        expect(tab.tiles.first).to_be_enabled()
        tab.stage.get_by_role("button", name="Delete").click()
        tab.dialog.get_by_role("button", name="Delete").click()
        expect(tab.status).to_have_text("Deleted.")
        expect(tab.entry(one)).to_have_count(0)
        tab.page.reload()
        expect(tab.stage.get_by_role("heading")).to_have_text("Not here")
        assert all(text.startswith(REFUSED) for text in tab.complaints)
    assert api.get(one["urls"]["self"]).status_code == 404


def test_two_are_compared_side_by_side(api: httpx.Client, view: Open) -> None:
    one = drawn(api, **{"class": "Circle"}, seed=1)
    drawn(api, **{"class": "Square"}, seed=1, batch=2)
    with view(f"/g/{one['id']}") as tab:
        expect(tab.tiles.first).to_be_enabled()
        tab.button("Choose several").click()
        compare = tab.button("Compare two")
        expect(compare).to_be_disabled()
        tab.button("All shown").click()
        compare.click()
        expect(tab.dialog).to_have_accessible_name("Side by side")
        sides = tab.dialog.get_by_role("img")
        expect(sides.first).to_have_accessible_name("Circle, seed 1")
        left = sides.first.evaluate("canvas => canvas.toDataURL()")
        assert left == tab.pixels()
        assert sides.nth(1).evaluate("canvas => canvas.toDataURL()") != left
        differing = tab.dialog.locator(".differs")
        expect(differing).to_have_text(["Class (differs)CircleSquare"])
        boxes = [side.bounding_box() for side in sides.all()]
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[0]["y"] == boxes[1]["y"]
        assert boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"]


def test_one_picture_is_put_aside_and_compared_with_another(api: httpx.Client, view: Open) -> None:
    pictures = drawn(api, seed=8, batch=2)
    with view(f"/g/{pictures['id']}") as tab:
        tab.tiles.first.click()
        tab.dialog.get_by_role("button", name="Compare with another").click()
        expect(tab.dialog.get_by_role("status")).to_contain_text("Put aside.")
        tab.page.keyboard.press("ArrowRight")
        tab.dialog.get_by_role("button", name="Compare with the one put aside").click()
        expect(tab.dialog.locator(".differs")).to_have_text(["Seed (differs)89"])


def test_an_entry_follows_what_happens_elsewhere(api: httpx.Client, view: Open) -> None:
    asked = {"model": "tiny", "steps": 1000, "batch": 64}
    running = api.post("/v1/generations", json=asked).json()
    with view() as tab:
        expect(tab.entry(running)).to_contain_text("%")
        api.post(running["urls"]["cancel"])
        expect(tab.entry(running)).to_contain_text("canceled")
        api.delete(running["urls"]["self"])
        eventually(lambda: api.get(running["urls"]["self"]).status_code == 404)


def test_choosing_filter_queue_and_models_work_by_keyboard(api: httpx.Client, view: Open) -> None:
    for seed in (1, 2):
        drawn(api, seed=seed)
    with view() as tab:
        page, entries = tab.page, tab.page.locator("#gallery li")
        expect(entries).to_have_count(2)

        def press(control: Locator, key: str = "Enter") -> None:
            """Get there by Tab alone, and press a key."""
            for _ in range(80):
                page.keyboard.press("Tab")
                if control.evaluate("control => control === document.activeElement"):
                    outline = control.evaluate("control => getComputedStyle(control).outlineStyle")
                    assert outline != "none", "one sees where one is"
                    page.keyboard.press(key)
                    return
            raise AssertionError(f"Tab never comes to {control}")

        press(page.locator("#gallery-filter summary"))
        press(page.get_by_role("form", name="Filter").get_by_label("Seed"), "2")
        page.keyboard.press("Tab")
        expect(entries).to_have_count(1)
        press(tab.button("Show all"))
        expect(entries).to_have_count(2)
        press(tab.button("Choose several"))
        expect(page.locator("#gallery-chosen")).to_be_visible()
        for entry in entries.all():
            press(entry.get_by_role("checkbox"), "Space")
        press(tab.button("Compare two"))
        expect(tab.dialog).to_have_accessible_name("Side by side")
        page.keyboard.press("Escape")
        expect(tab.button("Compare two")).to_be_focused()
        running = api.post("/v1/generations", json={"steps": 1000, "batch": 64}).json()
        press(page.get_by_role("link", name="Queue"))
        row = page.locator("#queue li")
        expect(row).to_have_count(1)
        press(row.get_by_role("button"))
        expect(row).to_have_count(0)
        assert api.get(running["urls"]["self"]).json()["status"] == "canceled"
        press(page.get_by_role("link", name="Models"))
        press(page.locator("#models-list").get_by_role("link", name="tiny"))
        expect(page.get_by_role("heading", name="tiny")).to_be_focused()
        press(tab.button("Draw with it"))
        expect(tab.control("Model")).to_be_focused()
