"""The web page with a model that draws from words, in a real Chromium."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.companions import write_text_checkpoint
from tests.e2e.page import Tab
from tests.e2e.service import Service
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("words")


@pytest.fixture(scope="session")
def words(service: Service) -> Path:
    folder = write_text_checkpoint(service.checkpoints, "spoken", latent=True)
    card = f"{service.url}/v1/models/spoken"
    eventually(lambda: httpx.get(card).status_code == 200, what="its card")
    return folder


def test_a_prompt_takes_the_place_of_the_class(tab: Tab) -> None:
    expect(tab.control("Model")).to_be_enabled()
    expect(tab.control("Prompt")).to_be_hidden()
    tab.control("Model").select_option("spoken")
    expect(tab.control("Class")).to_be_hidden()
    expect(tab.control("Prompt")).to_have_value("a red square")
    expect(tab.page.locator("#prompt-hint")).to_contain_text("up to 8 tokens")
    examples = tab.page.locator("#prompt-examples option")
    assert examples.evaluate_all("all => all.map((o) => o.value)") == [
        "a red square",
        "a blue square",
    ]
    drawn = tab.draw(Prompt="a small blue square", **{"Less like": "red", "Steps": "4"})
    asked = drawn["request"]
    assert (asked["prompt"], asked["negative_prompt"]) == ("a small blue square", "red")
    assert asked["class"] is None
    expect(tab.stage.get_by_role("heading")).to_have_text("a small blue square, 4 pictures")
    tab.tiles.nth(1).click()
    expect(tab.dialog.locator("dl")).to_contain_text("a small blue square")
    expect(tab.dialog.locator("dl")).to_contain_text("Less like")
    tab.dialog.get_by_role("button", name="Copy as curl").click()
    curl = tab.dialog.locator("textarea")
    eventually(lambda: '"negative_prompt":"red"' in curl.input_value(), what="the command")
    assert '"prompt":"a small blue square"' in curl.input_value()
    tab.dialog.get_by_role("button", name="Again with these").click()
    expect(tab.control("Prompt")).to_have_value("a small blue square")
    expect(tab.control("Less like")).to_have_value("red")


def test_words_that_do_not_fit_are_drawn_and_the_page_says_so(tab: Tab) -> None:
    tab.draw(Model="spoken", Prompt="a red square on grey " * 3, Steps="3", Pictures="1")
    expect(tab.status).to_contain_text("the prompt of image 0 is longer than the 8 tokens")
