"""The web page in a real Chromium: drawing, watching, the scroll, the gallery, one picture."""

import io
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.e2e.page import Tab, opened
from tests.e2e.service import Service
from tests.support import eventually, free_port

_GREY_LEVELS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [...data].filter((_, i) => i % 4 === 0);
}"""
CANCELED = re.compile(r"Canceled at step \d+ of 1000")
# The first previews take longest to decode: browsers do so in whatever order they like.
_DECODING = """
  const decode = createImageBitmap;
  let wait = 400;
  window.createImageBitmap = async (...input) => {
    await new Promise((go) => setTimeout(go, (wait = Math.max(0, wait - 20))));
    return decode(...input);
  };
"""
LONG = {"Steps": "1000", "Pictures": "24"}  # longer than a slow machine needs to look


def test_a_class_and_a_seed_become_pictures(tab: Tab, client: httpx.Client) -> None:
    drawn = tab.draw(Model="tiny", Class="Square", Seed="11", Pictures="3", Sampler="ddim")
    asked = drawn["request"]
    assert (asked["class"], asked["seed"], asked["batch"]) == ("Square", 11, 3)
    assert (asked["model"], asked["sampler"], asked["strip"]) == ("tiny@0000002", "ddim", 16)
    expect(tab.stage.get_by_role("heading")).to_have_text("Square, 3 pictures")
    expect(tab.status).to_contain_text("Drawn by tiny@0000002 in")
    expect(tab.tiles).to_have_count(3)
    expect(tab.tiles).to_have_text([f"Squareseed {seed}" for seed in (11, 12, 13)])
    expect(tab.page.locator("#stage-brief")).to_have_text("5 steps · DDIM · guidance 1.5")
    expect(tab.page.locator("#announcer")).to_contain_text("Drawn by tiny")
    shown = tab.tiles.nth(2).locator("canvas").evaluate(_GREY_LEVELS)
    png = client.get(drawn["images"][2]["url"]).content
    assert shown == list(Image.open(io.BytesIO(png)).convert("L").tobytes())


def test_each_class_in_turn_and_seeds_beyond_exact_numbers(tab: Tab) -> None:
    drawn = tab.draw(Model="tiny", Class="Each class in turn", Seed="9223372036854775803")
    assert drawn["request"]["class"] == ["Circle", "Square", "Ankle boot", "Circle"]
    assert drawn["request"]["seed"] == 9223372036854775803
    tab.tiles.nth(3).click()
    expect(tab.dialog.locator("dl")).to_contain_text("9223372036854775806")


def test_progress_and_previews_are_seen_and_a_cancel_stops_it(tab: Tab) -> None:
    tab.page.add_init_script(_DECODING)
    tab.page.reload()
    tab.ask(Model="tiny", Class="Circle", Steps="1000", Pictures="16")
    expect(tab.status).to_have_text(re.compile(r"Step \d+ of 1000, .* left"))
    assert re.fullmatch(r"\d+ % · Emaki", tab.page.title())
    bar = tab.page.get_by_role("progressbar")
    before = bar.evaluate("bar => bar.value")
    eventually(lambda: bar.evaluate("bar => bar.value") > before)
    frames = tab.stage.locator(".paper canvas")
    expect(frames.nth(1)).to_be_visible(timeout=60_000)  # one comes every 84 steps
    entry = tab.page.locator("#gallery a[aria-current]")
    expect(entry).to_contain_text("%")
    box = bar.bounding_box()
    assert box is not None
    assert (box["width"] > 300, box["height"] > 5) == (True, True)
    tab.button("Cancel").click()
    expect(tab.status).to_have_text(CANCELED)
    expect(tab.button("Cancel")).to_be_hidden()
    expect(entry).to_contain_text(re.compile(r"canceled at step \d+ of 1000"))
    expect(tab.button("Draw")).to_be_enabled()
    # How far it came stays to be seen, for whoever comes later, too.
    for _ in range(2):
        expect(bar).to_be_visible()
        assert 0 < bar.evaluate("bar => bar.value") < 1
        expect(frames.nth(1)).to_be_visible()
        expect(tab.tiles.first).to_have_accessible_name(re.compile(r"as it was at step \d+"))
        tab.page.reload()
        expect(tab.status).to_have_text(CANCELED)


def test_the_scroll_goes_from_noise_to_picture_by_keys_and_by_mouse(tab: Tab) -> None:
    tab.draw(Model="tiny", Class="Circle", Seed="5", Steps="12", Pictures="2")
    picture = tab.pixels(1)
    expect(tab.scroll).to_have_attribute("aria-valuenow", "12")
    expect(tab.scroll).to_have_attribute("aria-valuetext", "the picture")
    tab.scroll.press("ArrowLeft")
    tab.scroll.press("ArrowLeft")
    expect(tab.scroll).to_have_attribute("aria-valuetext", "step 10 of 12")
    tab.scroll.press("Home")
    expect(tab.scroll).to_have_attribute("aria-valuetext", "noise")
    eventually(lambda: tab.pixels(1) != picture)
    tab.scroll.press("End")
    tab.becomes(1, picture)
    box = tab.scroll.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x + 250, y, steps=5)
    tab.page.mouse.up()
    expect(tab.scroll).to_have_attribute("aria-valuenow", "10")
    tab.button("Unroll").click()
    expect(tab.scroll).to_have_attribute("aria-valuenow", re.compile("^[0-3]$"))
    expect(tab.scroll).to_have_attribute("aria-valuenow", "12")


def test_a_key_counts_from_where_the_last_one_sends_the_scroll(tab: Tab) -> None:
    """A browser tells of a scroll's end a frame later: by then a key may have begun another."""
    tab.draw(Model="tiny", Class="Circle", Seed="5", Steps="12")
    expect(tab.scroll).to_have_attribute("aria-valuenow", "12")
    tab.scroll.evaluate(
        """paper => {
          const left = { key: "ArrowLeft" };
          paper.dispatchEvent(new KeyboardEvent("keydown", left));
          paper.dispatchEvent(new Event("scrollend"));
          paper.dispatchEvent(new KeyboardEvent("keydown", left));
        }"""
    )
    expect(tab.scroll).to_have_attribute("aria-valuetext", "step 10 of 12")
    lies = """paper => {
      const [first, second] = paper.children;
      return Math.round(paper.scrollLeft / (second.offsetLeft - first.offsetLeft));
    }"""
    eventually(lambda: tab.scroll.evaluate(lies) == 10, what="the paper at that step")
    tab.scroll.hover()
    tab.page.mouse.wheel(-300, 0)  # away again, by hand: what it says follows
    expect(tab.scroll).to_have_attribute("aria-valuetext", re.compile("^step [1-9] of 12$"))


def test_again_with_these_draws_the_same_picture(tab: Tab) -> None:
    first = tab.draw(
        Model="tiny", Class="Ankle boot", Seed="40", Pictures="3", Steps="7", Guidance="2.5"
    )
    boot = tab.pixels(2)
    tab.draw(Model="plain", Pictures="1")
    tab.entry(first).click()
    expect(tab.tiles.nth(2)).to_be_enabled()
    tab.tiles.nth(2).click()
    tab.dialog.get_by_role("button", name="Again with these").click()
    expect(tab.dialog).to_be_hidden()
    again = tab.draw()
    assert again["request"] == first["request"] | {"seed": 42, "batch": 1}
    tab.becomes(0, boot)


def test_a_picture_tells_its_parameters_and_is_saved_with_them(tab: Tab, tmp_path: Path) -> None:
    drawn = tab.draw(Model="tiny", Class="Square", Seed="3", Pictures="2")
    tab.tiles.nth(1).press("Enter")
    expect(tab.dialog).to_have_accessible_name("Square")
    expect(tab.dialog.locator("dl")).to_contain_text("Seed4Steps5SamplerDPM-Solver++ 2MGuidance1.5")
    with tab.page.expect_download() as download:
        tab.dialog.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "emaki-tiny-square-4.png"
    download.value.save_as(tmp_path / "saved.png")
    text = chunks(tmp_path / "saved.png")
    assert (text["seed"], text["class"], text["model"]) == ("4", "Square", drawn["model"])
    tab.dialog.get_by_role("button", name="Previous picture").click()
    expect(tab.dialog.locator("dl")).to_contain_text("Seed3")
    tab.page.keyboard.press("Escape")
    expect(tab.tiles.nth(1)).to_be_focused()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_copied_curl_command_draws_the_same(tab: Tab, tmp_path: Path) -> None:
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    drawn = tab.draw(Model="tiny", Class="Ankle boot", Seed="8", Guidance="0.5", Sampler="ddpm")
    tab.tiles.nth(2).click()
    tab.dialog.get_by_role("button", name="Copy as curl").click()
    expect(tab.dialog.get_by_role("status")).to_have_text("Copied.")
    command = tab.page.evaluate("navigator.clipboard.readText()")
    assert command == tab.dialog.get_by_label("curl command").input_value()
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True)
    download = tmp_path / "page.png"
    download.write_bytes(tab.page.request.get(drawn["images"][2]["url"]).body())
    assert chunks(tmp_path / "emaki-tiny-ankle-boot-10.png") == chunks(download)


def test_a_broken_connection_is_resumed_where_it_broke(browser: Browser, service: Service) -> None:
    port = str(free_port())
    with service.another_api(EMAKI_PORT=port) as url, opened(browser, url) as tab:
        tab.ask(Model="tiny", Class="Circle", **LONG)
        expect(tab.stage.locator(".paper canvas").first).to_be_visible()
        service.processes[-1].kill()
        alert = tab.stage.get_by_role("alert")
        expect(alert).to_contain_text("The connection broke. Drawing goes on")
        with service.another_api(EMAKI_PORT=port):
            expect(alert).to_be_hidden()
            tab.button("Cancel").click()
            expect(tab.status).to_have_text(CANCELED)
        streams = [request.headers for request in tab.requests if request.url.endswith("/events")]
        assert "last-event-id" not in streams[0]
        assert re.fullmatch(r"\d+-\d+", streams[-1]["last-event-id"])
        tab.complaints[:] = [text for text in tab.complaints if "net::ERR_" not in text]


def test_the_fields_follow_the_models_card(tab: Tab) -> None:
    expect(tab.control("Model")).to_have_value("tiny")  # the server's default
    tab.control("Model").select_option("plain")
    expect(tab.control("Class")).to_be_hidden()
    expect(tab.control("Guidance")).to_be_disabled()
    tab.control("Model").select_option("tiny")
    expect(tab.control("Class").locator("option")).to_have_text(
        ["No class", "Each class in turn", "Circle", "Square", "Ankle boot"]
    )
    expect(tab.control("Guidance")).to_have_value("1.5")
    expect(tab.control("Steps")).to_have_value("5")
    tab.button("Roll a seed").click()
    expect(tab.control("Seed")).to_have_value(re.compile(r"^\d+$"))


def test_a_model_without_a_null_class_needs_a_class_and_takes_no_guidance(
    tab: Tab, client: httpx.Client
) -> None:
    cards = client.get("/v1/models").json()
    tiny = cards["data"][0] | {"null_class": False}
    tab.page.route("**/v1/models", lambda route: route.fulfill(json={"data": [tiny]}))
    tab.page.reload()
    expect(tab.control("Model")).to_have_value("tiny")
    expect(tab.control("Class").locator("option").first).to_have_text("Each class in turn")
    expect(tab.control("Class")).to_have_value("0")
    expect(tab.control("Guidance")).to_be_disabled()
    with tab.page.expect_request(lambda request: request.method == "POST") as asked:
        tab.ask()
    sent = asked.value.post_data_json
    assert sent is not None
    assert set(sent) == {
        "model", "class", "batch", "steps", "sampler", "strip", "preview_every"
    }  # fmt: skip


def chunks(png: Path) -> dict[str | tuple[int, int], str]:
    """The text that a picture carries."""
    return Image.open(io.BytesIO(png.read_bytes())).info
