"""Pictures in, in a real Chromium: dropped, painted on, varied, mixed, and restored from a file."""

import base64
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, expect

from tests.e2e.page import Tab, opened
from tests.e2e.service import Service
from tests.e2e.test_beginnings import file, levels

# As if a person dragged a file onto the page, or pasted it.
_HAND_OVER = """([how, name, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type: "image/png" }));
  const event = how === "drop"
    ? new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: carried, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""


def hand_over(tab: Tab, how: str, data: bytes, name: str = "mine.png") -> None:
    expect(tab.control("Model")).to_be_enabled()
    tab.page.evaluate(_HAND_OVER, [how, name, base64.b64encode(data).decode()])


def pixels(client: httpx.Client, url: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(client.get(url).content))).astype(int)


def test_a_chosen_picture_is_begun_from_and_can_be_removed(tab: Tab, client: httpx.Client) -> None:
    expect(tab.control("Model")).to_be_enabled()
    given = FilePayload(name="a.png", mimeType="image/png", buffer=file(levels()))
    tab.control("Begin from a picture").set_input_files(given)
    expect(tab.page.locator("#begin-strength-said")).to_have_text("60 % of the steps")
    tab.control("How much anew").fill("0.3")
    drawn = tab.draw(Model="tiny", Steps="10", Pictures="2")
    assert (drawn["request"]["strength"], drawn["progress"]["steps"]) == (0.3, 3)
    assert (pixels(client, drawn["request"]["init_image"]) == levels()).all()
    tab.tiles.first.click()
    expect(tab.dialog.locator("dl")).to_contain_text("a picture, 30 % anew")
    tab.dialog.get_by_role("button", name="Close").click()
    tab.button("Remove picture").click()
    assert tab.draw()["request"]["init_image"] is None


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_painted_place_is_drawn_anew_and_the_rest_is_kept(
    tab: Tab, client: httpx.Client, how: str
) -> None:
    hand_over(tab, how, file(levels(64, 64)))
    brush = tab.page.locator("#begin-mask")
    expect(brush).to_be_visible()
    box = brush.bounding_box()
    assert box is not None
    mouse = tab.page.mouse
    mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 5)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] - 5, steps=4)
    mouse.up()
    expect(tab.page.locator("#begin-strength-said")).to_have_text("100 % of the steps")
    drawn = tab.draw(Model="tiny", Class="Square", Pictures="1", Steps="6")
    mask, init = (pixels(client, drawn["request"][name]) for name in ("mask", "init_image"))
    assert (mask[:, :4] == 0).all()
    assert (mask[2:-2, 6] == 255).all()
    picture = pixels(client, drawn["images"][0]["url"])
    assert (picture[mask == 0] == init[mask == 0]).all()
    assert (picture[mask == 255] != init[mask == 255]).any()


def test_paint_is_undone_and_keys_and_fingers_paint(browser: Browser, service: Service) -> None:
    with opened(browser, service.url, has_touch=True) as tab:
        hand_over(tab, "drop", file(levels(32, 32)))
        undo = tab.button("Undo paint")
        expect(undo).to_be_disabled()
        brush = tab.page.get_by_role("application", name="Paint what to draw anew")
        brush.tap()
        expect(undo).to_be_enabled()
        undo.click()
        expect(undo).to_be_disabled()
        brush.focus()
        for key in ("ArrowLeft", "ArrowUp", "Space", "ArrowRight", "Space"):
            tab.page.keyboard.press(key)
        tab.page.keyboard.press("Control+z")
        drawn = tab.draw(Model="tiny", Pictures="1", Steps="4")
        with httpx.Client(base_url=service.url) as client:
            mask = pixels(client, drawn["request"]["mask"])
        assert 0 < (mask == 255).sum() < 32


def test_draw_stays_under_the_pointer_while_the_history_grows(tab: Tab) -> None:
    hand_over(tab, "drop", file(levels(32, 32)))
    expect(tab.page.locator("#begin-shown")).to_be_visible()
    draw = tab.button("Draw")
    draw.scroll_into_view_if_needed()
    before = draw.bounding_box()
    tab.page.locator(".work").evaluate("work => (work.style.minHeight = '4000px')")
    assert draw.bounding_box() == before
    tab.page.evaluate("scrollTo(0, 2000)")
    after = draw.bounding_box()
    assert after is not None
    assert 0 < after["y"] < 720


def test_what_is_no_picture_is_said_beside_its_field(tab: Tab) -> None:
    hand_over(tab, "drop", b"not a picture at all")
    expect(tab.page.locator("#init_image-error")).to_contain_text("cannot read it as a picture")
    expect(tab.page.locator("#begin-shown")).to_be_hidden()


def test_a_drawn_picture_is_begun_from_and_again_with_its_mask(
    tab: Tab, client: httpx.Client
) -> None:
    tab.draw(Model="tiny", Pictures="2", Steps="4")
    tab.tiles.nth(1).click()
    tab.dialog.get_by_role("button", name="From this one").click()
    expect(tab.page.locator("#begin-shown")).to_be_visible()
    tab.page.locator("#begin-mask").click()
    first = tab.draw(Seed="5", Pictures="1")
    tab.button("Remove picture").click()
    tab.stage.get_by_role("button", name="Again with these").click()
    expect(tab.page.locator("#begin-shown")).to_be_visible()
    expect(tab.button("Undo paint")).to_be_enabled()
    again = tab.draw()
    assert again["images"][0]["sha256"] == first["images"][0]["sha256"]
    assert again["id"] != first["id"]


def test_nine_variations_stand_around_a_picture(tab: Tab, client: httpx.Client) -> None:
    drawn = tab.draw(Model="tiny", Class="Circle", Seed="9007199254740993", Pictures="1")
    tab.tiles.first.click()
    tab.dialog.get_by_role("button", name="Variations").click()
    cells = tab.dialog.locator("ol button")
    expect(cells).to_have_count(9)
    expect(tab.dialog.get_by_role("status")).to_have_text("Choose one.")
    expect(cells.nth(4)).to_have_accessible_name("The picture itself")
    shown = [cells.nth(i).locator("canvas").evaluate("c => c.toDataURL()") for i in range(9)]
    assert len(set(shown)) == 9
    assert shown[4] == tab.pixels()
    cells.first.click()
    expect(tab.stage.get_by_role("heading")).to_have_text("Circle, 1 picture")
    tab.tiles.first.click()
    expect(tab.dialog.locator("dl")).to_contain_text("20 % of seed")
    expect(tab.dialog.locator("dl")).to_contain_text(str(drawn["request"]["seed"]))


def test_between_two_seeds_is_a_strip_and_an_animation(
    tab: Tab, client: httpx.Client, tmp_path: Path
) -> None:
    tab.draw(Model="tiny", Class="Circle", Seed="1", Pictures="1", Steps="4")
    tab.tiles.first.click()
    tab.dialog.get_by_role("button", name="Between …").click()
    tab.dialog.get_by_label("The other seed").fill("18014398509481985")
    tab.dialog.get_by_role("button", name="Draw nine").click()
    expect(tab.dialog.get_by_role("status")).to_contain_text("Choose one")
    with tab.page.expect_download() as saving:
        tab.dialog.get_by_role("button", name="Save as an animation").click()
    saving.value.save_as(tmp_path / "way.png")
    with Image.open(tmp_path / "way.png") as way:
        assert way.n_frames == 16  # type: ignore[attr-defined]
        frames = []
        for index in range(9):
            way.seek(index)
            frames.append(np.asarray(way.convert("L")).astype(int))
    headers = {"Prefer": "wait=60"}
    fields: dict[str, Any] = {"model": "tiny", "class": "Circle", "steps": 4}
    for frame, seed in ((frames[0], 1), (frames[-1], 18014398509481985)):
        body = client.post("/v1/generations", json={**fields, "seed": seed}, headers=headers).json()
        assert (frame == pixels(client, body["images"][0]["url"])).all()
    assert len({frame.tobytes() for frame in frames}) == 9


@pytest.mark.parametrize(("scale", "batch"), [(1, 2), (2, 3), (16, 2)])
def test_the_scroll_of_enlarged_pictures_is_cut_where_they_are(
    tab: Tab, client: httpx.Client, scale: int, batch: int
) -> None:
    asked = {"class": "Circle", "scale": scale, "batch": batch, "strip": 5, "steps": 4, "seed": 5}
    whole = {"Prefer": "wait=30"}
    drawn = client.post("/v1/generations", json=asked, headers=whole).json()
    tab.page.goto(f"/g/{drawn['id']}")
    expect(tab.stage.locator(".paper canvas")).to_have_count(5)
    for image in drawn["images"]:
        tab.becomes(image["index"], as_url(tab, client.get(image["url"]).content))


def as_url(tab: Tab, png: bytes) -> str:
    """What a canvas says that shows this picture."""
    shown: str = tab.page.evaluate(
        """async (data) => {
          const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
          const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
          const canvas = document.createElement("canvas");
          Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
          canvas.getContext("2d").drawImage(bitmap, 0, 0);
          return canvas.toDataURL();
        }""",
        base64.b64encode(png).decode(),
    )
    return shown


def test_a_class_for_each_picture_is_asked_for_again(tab: Tab, client: httpx.Client) -> None:
    classes = ["Ankle boot", "Circle", "Circle"]
    whole = {"Prefer": "wait=30"}
    asked = {"class": classes, "batch": 3, "steps": 1}
    drawn = client.post("/v1/generations", json=asked, headers=whole).json()
    tab.page.goto(f"/g/{drawn['id']}")
    expect(tab.entry(drawn)).to_contain_text("Several classes")
    tab.stage.get_by_role("button", name="Again with these").click()
    expect(tab.page.locator("#also")).to_contain_text("a class for each picture")
    assert tab.draw()["request"]["class"] == classes
    tab.control("Pictures").fill("2")
    tab.control("Pictures").blur()
    expect(tab.page.locator("#also")).to_be_hidden()
    assert tab.draw()["request"]["class"] == "Ankle boot"


def test_less_like_leads_away_from_a_class(tab: Tab) -> None:
    drawn = tab.draw(Model="tiny", **{"Less like the class": "Square", "Guidance": "3"})
    assert drawn["request"]["negative_class"] == "Square"
    tab.tiles.first.click()
    expect(tab.dialog.locator("dl")).to_contain_text("Less like")
    tab.dialog.get_by_role("button", name="Again with these").click()
    expect(tab.control("Less like the class")).to_have_value("Square")
    tab.control("Model").select_option("plain")
    expect(tab.control("Less like the class")).to_be_hidden()


def test_a_dropped_drawing_brings_all_its_settings(tab: Tab, client: httpx.Client) -> None:
    asked = {
        "model": "tiny@1",
        "class": "Ankle boot",
        "negative_class": "Circle",
        "seed": 2**60 + 1,
        "steps": 7,
        "sampler": "ddim",
        "eta": 0.5,
        "guidance_scale": 2.5,
        "guidance_interval": [0.2, 0.9],
        "variation_seed": 2**61 + 1,
        "variation_strength": 0.3,
        "scale": 3,
    }
    body = client.post("/v1/generations", json=asked, headers={"Prefer": "wait=60"}).json()
    png = client.get(body["images"][0]["url"]).content
    hand_over(tab, "drop", png, "boot.png")
    expect(tab.page.locator("#ask-notice")).to_contain_text("the settings of boot.png")
    expect(tab.page.locator("#also")).to_contain_text(
        "eta 0.5, enlarged 3 times, guided 20 % to 90 %"
    )
    drawn = tab.draw()
    assert drawn["images"][0]["sha256"] == body["images"][0]["sha256"]
    assert drawn["request"]["batch"] == 1
    # Or it is begun from, like any other.
    hand_over(tab, "drop", png, "boot.png")
    tab.button("Begin from it instead").click()
    expect(tab.page.locator("#begin-shown")).to_be_visible()
    tab.page.locator("#also").get_by_role("button", name="Leave out").click()
    again = tab.draw()["request"]
    assert (again["eta"], again["variation_seed"], again["scale"]) == (0, None, 1)
    assert again["init_image"] is not None


def test_a_drawing_that_says_nothing_of_it_was_guided_all_through(tab: Tab) -> None:
    """Whatever its model's default is by now."""
    read = """async () => {
      const { fromText } = await import("/static/request.js");
      return fromText({ Software: "Emaki", seed: "1" }).guidance_interval;
    }"""
    assert tab.page.evaluate(read) == [0, 1]
