"""The page's form in a real Chromium: what it remembers, and how it says what is wrong."""

import json
import re

import pytest
from playwright.sync_api import FilePayload, expect

from tests.e2e.page import REFUSED, Tab
from tests.e2e.test_beginnings import file, levels

KEPT = "localStorage.getItem('emaki.form')"


def test_a_reload_gives_the_form_back(tab: Tab) -> None:
    expect(tab.control("Model")).to_be_enabled()
    tab.control("Model").select_option("tiny@0000001")
    filled = {"Class": "Ankle boot", "Seed": "12", "Sampler": "ddim", "Pictures": "3"}
    for label, value in filled.items():
        control = tab.control(label)
        if label in ("Class", "Sampler"):
            control.select_option(value)
        else:
            control.fill(value)
    tab.control("Steps").fill("7")
    tab.control("Guidance").fill("2.5")
    tab.page.goto("/queue")
    tab.page.goto("/")
    asked = tab.draw()["request"]
    assert (asked["class"], asked["seed"], asked["batch"]) == ("Ankle boot", 12, 3)
    assert (asked["sampler"], asked["steps"], asked["guidance_scale"]) == ("ddim", 7, 2.5)
    expect(tab.control("Model")).to_have_value("tiny@0000001")


def test_what_a_drawing_asked_beyond_the_form_is_remembered_too(tab: Tab) -> None:
    expect(tab.control("Model")).to_be_enabled()
    tab.page.evaluate(
        """localStorage.setItem("emaki.form", JSON.stringify({
             values: {model: "tiny", class: "Square", steps: "4"}, beyond: {scale: 3}}))"""
    )
    tab.page.reload()
    expect(tab.page.locator("#also")).to_contain_text("enlarged 3 times")
    asked = tab.draw()["request"]
    assert (asked["class"], asked["steps"], asked["scale"]) == ("Square", 4, 3)


@pytest.mark.parametrize(
    "kept",
    [
        "{",
        "7",
        "null",
        '{"values": null}',
        '{"values": {"model": "gone", "steps": "3"}}',
        '{"values": {"model": "tiny", "class": "Nothing", "steps": 3}, "beyond": "x"}',
    ],
)
def test_a_memory_that_does_not_fit_is_left_out(tab: Tab, kept: str) -> None:
    expect(tab.control("Model")).to_be_enabled()
    tab.page.evaluate("kept => localStorage.setItem('emaki.form', kept)", kept)
    tab.page.reload()
    expect(tab.control("Model")).to_have_value("tiny")
    expect(tab.control("Class")).to_have_value("0")
    expect(tab.control("Steps")).to_have_value("5")
    tab.draw()


def test_a_picture_to_begin_from_is_remembered_with_its_paint(tab: Tab) -> None:
    expect(tab.control("Model")).to_be_enabled()
    given = FilePayload(name="a.png", mimeType="image/png", buffer=file(levels()))
    tab.control("Begin from a picture").set_input_files(given)
    tab.page.locator("#begin-mask").click()
    tab.control("How much anew").fill("0.5")
    first = tab.draw(Seed="4", Pictures="1", Steps="6")
    tab.page.reload()
    expect(tab.page.locator("#begin-shown")).to_be_visible()
    expect(tab.button("Undo paint")).to_be_enabled()
    expect(tab.page.locator("#begin-strength-said")).to_have_text("50 % of the steps")
    again = tab.draw()
    assert again["images"][0]["sha256"] == first["images"][0]["sha256"]
    assert again["request"]["mask"] is not None
    tab.button("Remove picture").click()
    tab.page.reload()
    expect(tab.control("Model")).to_be_enabled()
    assert tab.draw()["request"]["init_image"] is None


@pytest.mark.parametrize(
    "kept",
    [
        json.dumps({"source": f"/v1/generations/{'0' * 32}/images/0.png", "how": {}}),
        json.dumps({"source": "data:image/png;base64,!", "how": {}}),
        json.dumps({"source": "data:image/png;base64,AAAA"}),
        json.dumps({"source": 1}),
        "{",
    ],
)
def test_a_picture_that_is_gone_meanwhile_is_left_out(tab: Tab, kept: str) -> None:
    tab.draw(Model="tiny", Pictures="1", Steps="2")
    tab.page.evaluate(
        "kept => addEventListener('pagehide', () => sessionStorage.setItem('emaki.picture', kept))",
        kept,
    )
    tab.page.reload()
    assert tab.draw()["request"]["init_image"] is None
    expect(tab.page.locator("#begin-shown")).to_be_hidden()
    assert all(text.startswith(REFUSED) for text in tab.complaints)


def test_the_memory_holds_no_key_and_no_picture(tab: Tab) -> None:
    tab.draw(Model="tiny", Class="Circle")
    kept = json.loads(tab.page.evaluate(KEPT))
    assert set(kept) == {"values", "beyond"}
    assert set(kept["values"]) == {
        *("model", "class", "negative_class", "prompt", "negative_prompt", "seed", "sampler"),
        *("batch", "steps", "guidance_scale"),
    }


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("Steps", "2000", "2000 is above the most, 1000; choose 1000 or less"),
        ("Steps", "0", "0 is below the least, 1; choose 1 or more"),
        ("Steps", "2.5", "2.5 is no whole number; choose one"),
        ("Pictures", "65", "65 is above the most, 64; choose 64 or less"),
        ("Guidance", "21", "21 is above the most, 20"),
        ("Seed", "9223372036854775807", "the last picture's, 9223372036854775810, is above"),
        ("Seed", "seven", "seven is no whole number; type digits, or leave it empty"),
    ],
)
def test_an_error_stands_beside_its_field(tab: Tab, field: str, value: str, words: str) -> None:
    tab.ask(Model="tiny", **{field: value})
    control = tab.control(field)
    expect(control).to_have_attribute("aria-invalid", "true")
    expect(control).to_have_accessible_description(re.compile(re.escape(words)))
    expect(control).to_be_focused()
    control.fill("1")
    expect(control).not_to_have_attribute("aria-invalid", "true")


def test_all_bad_fields_are_marked_at_once(tab: Tab) -> None:
    wrong = {"Seed": "x", "Pictures": "99", "Steps": "0", "Guidance": "-1"}
    tab.ask(Model="tiny", **wrong)
    for label in wrong:
        expect(tab.control(label)).to_have_attribute("aria-invalid", "true")
    expect(tab.control("Seed")).to_be_focused()
    assert not [request for request in tab.requests if request.method == "POST"]


def test_what_only_the_server_knows_stands_beside_its_field_too(tab: Tab) -> None:
    answer = {
        "status": 422,
        "detail": "steps: too much",
        "errors": [{"field": "steps", "detail": "too much"}, {"field": "class", "detail": "no"}],
    }
    expect(tab.control("Model")).to_be_enabled()
    tab.page.route("**/v1/generations", lambda route: route.fulfill(status=422, json=answer))
    tab.ask(Model="tiny")
    expect(tab.control("Class")).to_be_focused()
    expect(tab.control("Steps")).to_have_accessible_description(re.compile("too much"))
    assert all(text.startswith(REFUSED) for text in tab.complaints)
