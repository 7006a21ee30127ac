"""The web page for everyone: API keys, phones, dark rooms, screen readers."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.page import Tab, opened
from tests.e2e.service import Service

# Every visible text against the first opaque background behind it (WCAG 2.2, 1.4.3).
_LOW_CONTRAST = """() => {
  const parts = (colour) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parts(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest("noscript")) continue;
    if (element.closest("option, :disabled, fieldset:disabled")) continue;
    const text = luminance(parts(getComputedStyle(element).color).slice(0, 3));
    const back = luminance(behind(element));
    const ratio = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
    if (ratio < 4.5) found.push(`${node.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""
_WIDTHS = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
_CONTROLS = {
    "button", "checkbox", "combobox", "dialog", "image", "img", "link", "progressbar",
    "slider", "spinbutton", "textbox",
}  # fmt: skip


def unnamed_controls(tab: Tab) -> list[str]:
    """Controls in the browser's own accessibility tree without a name."""
    session = tab.page.context.new_cdp_session(tab.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    controls = [
        node for node in nodes if not node["ignored"] and node["role"]["value"] in _CONTROLS
    ]
    assert len(controls) > 8
    return [str(node) for node in controls if not node.get("name", {}).get("value", "").strip()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_control_has_a_name_and_every_text_contrast(
    browser: Browser, service: Service, scheme: str
) -> None:
    with opened(browser, service.url, color_scheme=scheme) as tab:
        tab.ask(Model="tiny", Pictures="99")
        expect(tab.page.locator("#batch-error")).to_be_visible()
        assert tab.page.evaluate(_LOW_CONTRAST) == []
        tab.draw(Class="Circle", Pictures="3")
        assert tab.page.evaluate(_LOW_CONTRAST) == []
        assert unnamed_controls(tab) == []
        tab.tiles.first.click()
        expect(tab.dialog).to_be_visible()
        assert tab.page.evaluate(_LOW_CONTRAST) == []
        assert unnamed_controls(tab) == []
        paper = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, paper[4:-1].split(", "))) < 64) == (scheme == "dark")


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, service: Service) -> None:
    phone: dict[str, Any] = {
        "viewport": {"width": 360, "height": 740},
        "is_mobile": True,
        "has_touch": True,
    }
    with opened(browser, service.url, **phone) as tab:
        widths = [tab.page.evaluate(_WIDTHS)]
        tab.draw(Model="tiny", Class="Each class in turn", Pictures="20")
        widths.append(tab.page.evaluate(_WIDTHS))
        tab.tiles.first.tap()
        expect(tab.dialog).to_be_visible()
        tab.dialog.get_by_role("button", name="Copy as curl").tap()
        expect(tab.dialog.get_by_label("curl command")).to_be_visible()
        widths.append(tab.page.evaluate(_WIDTHS))
        assert widths == [[360, 360]] * 3
        sheet = tab.dialog.bounding_box()
        assert sheet is not None
        assert sheet["x"] >= 0
        assert sheet["x"] + sheet["width"] <= 360


def test_all_of_it_works_by_keyboard_and_without_motion(browser: Browser, service: Service) -> None:
    with opened(browser, service.url, reduced_motion="reduce") as tab:
        expect(tab.control("Model")).to_be_enabled()
        tab.control("Pictures").focus()
        tab.page.keyboard.press("Enter")
        expect(tab.tiles.first).to_be_enabled()
        tab.scroll.focus()
        tab.page.keyboard.press("Home")
        expect(tab.scroll).to_have_attribute("aria-valuenow", "0")
        assert tab.scroll.evaluate("paper => paper.scrollLeft") == 0
        tab.page.keyboard.press("Tab")
        expect(tab.button("Unroll")).to_be_focused()
        tab.page.keyboard.press("Tab")
        expect(tab.tiles.first).to_be_focused()
        outline = tab.tiles.first.evaluate("tile => getComputedStyle(tile).outlineStyle")
        assert outline == "solid"
        tab.page.keyboard.press("Enter")
        expect(tab.dialog.get_by_role("button", name="Close")).to_be_focused()


def test_a_key_is_asked_for_refused_used_and_kept(browser: Browser, service: Service) -> None:
    guarded = service.another_api(EMAKI_API_KEYS="open-sesame")
    with guarded as url, opened(browser, url) as tab:
        field = tab.page.get_by_label("API key", exact=True)
        use = tab.button("Use this key")
        expect(field).to_be_focused()
        expect(tab.control("Model")).to_be_disabled()
        field.fill("sesame")
        use.click()
        wrong = tab.page.locator("#key-error")
        expect(wrong).to_contain_text("This server does not know that key.")
        expect(field).to_have_accessible_description(re.compile("does not know that key"))
        field.fill("s\N{GREEK SMALL LETTER EPSILON}same")
        use.click()
        expect(wrong).to_contain_text("No key has characters like that")
        field.fill("open-sesame")
        use.click()
        expect(field).to_be_hidden()
        tab.key = "open-sesame"
        tab.draw(Model="tiny", Class="Square", Pictures="2")
        stream = next(r for r in tab.requests if r.url.endswith("/events"))
        assert stream.all_headers()["authorization"] == "Bearer open-sesame"
        picture = tab.pixels(1)
        expect(tab.page.locator("#gallery a[data-drawn]")).to_have_count(1)
        tab.tiles.first.click()
        tab.dialog.get_by_role("button", name="Copy as curl").click()
        curl = tab.dialog.get_by_label("curl command").input_value()
        assert '-H "Authorization: Bearer $EMAKI_API_KEY"' in curl
        assert "open-sesame" not in curl
        tab.page.reload()
        expect(tab.tiles.first).to_be_enabled()
        tab.becomes(1, picture)
        assert tab.page.evaluate("localStorage.getItem('emaki.key')") is None
        tab.button("Forget key").click()
        expect(field).to_be_visible()
        assert tab.page.evaluate("localStorage.getItem('emaki.form')") is None  # nor what it asked
        assert tab.page.evaluate("sessionStorage.getItem('emaki.key')") is None
        tab.page.get_by_label("Remember it on this device").check()
        field.fill("open-sesame")
        use.click()
        expect(tab.tiles.first).to_be_enabled()
        assert tab.page.evaluate("localStorage.getItem('emaki.key')") == "open-sesame"
