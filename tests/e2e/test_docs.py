"""`/docs` and `/redoc` in Chromium, without internet, under the content policy."""

from pathlib import Path

import httpx
from playwright.sync_api import Browser, expect

from tests.e2e.page import opened
from tests.e2e.service import Service

VENDOR = Path(__file__).parents[2] / "app/static/vendor"
LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"  # Redoc's own; the policy keeps it out


def test_a_picture_is_drawn_from_the_docs(browser: Browser, service: Service) -> None:
    with opened(browser, service.url, path="/docs") as tab:
        submit = tab.page.locator("#operations-generations-create_generation")
        submit.get_by_role("button", name="POST /v1/generations").first.click()
        submit.get_by_role("button", name="Try it out").click()
        submit.get_by_placeholder("Prefer").fill("wait")
        submit.locator("textarea").first.fill('{"steps": 1}')
        submit.get_by_role("button", name="Execute").click()
        status = submit.locator(".live-responses-table tbody .response-col_status")
        expect(status.first).to_contain_text("200")
        expect(submit.locator(".live-responses-table")).to_contain_text("succeeded")


def test_redoc_shows_every_route(browser: Browser, service: Service) -> None:
    with opened(browser, service.url, path="/redoc", blocked=LOGO) as tab:
        for name in ("generations", "pictures", "models", "openai", "health"):
            expect(tab.page.get_by_role("menuitem", name=name, exact=True)).to_be_visible()
        expect(tab.page.locator("body")).to_contain_text("/v1/generations")


def test_what_others_made_comes_with_its_licence(service: Service) -> None:
    folders = [folder for folder in VENDOR.iterdir() if folder.is_dir()]
    assert len(folders) == 2
    for folder in folders:
        assert (folder / "LICENSE").is_file()
        for script in folder.glob("*.js"):
            assert script.with_name(f"{script.name}.LICENSE.txt").is_file()
            served = httpx.get(f"{service.url}/static/vendor/{folder.name}/{script.name}")
            assert served.content == script.read_bytes()
