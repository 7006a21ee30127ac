"""The web page as a person sees it in Chromium, and what the browser complained about."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from tests.support import eventually

_WATCH_CSP = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
"""
REFUSED = "Failed to load resource: the server responded with a status of 4"


@dataclass
class Tab:
    """One page in a profile of its own."""

    page: Page
    key: str | None = None
    complaints: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def ask(self, **fields: str) -> None:
        """Fill the form's fields by their labels and press Draw."""
        expect(self.control("Model")).to_be_enabled()
        for label, value in fields.items():
            control = self.control(label)
            if control.evaluate("element => element.tagName") == "SELECT":
                control.select_option(value)
            else:
                control.fill(value)
        self.button("Draw").click()

    def draw(self, **fields: str) -> dict[str, Any]:
        """Ask, wait until the pictures are there, and give the generation."""
        with self.page.expect_response(lambda r: r.request.method == "POST") as answer:
            self.ask(**fields)
        accepted = answer.value.json()
        expect(self.entry(accepted)).to_have_attribute("aria-current", "true")
        expect(self.tiles.first).to_be_enabled()
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        current = self.page.request.get(accepted["urls"]["self"], headers=headers)
        generation: dict[str, Any] = json.loads(current.text())
        return generation

    def entry(self, generation: dict[str, Any]) -> Locator:
        """A generation's link in the history."""
        return self.page.locator(f'#gallery li[data-id="{generation["id"]}"] a')

    def control(self, label: str) -> Locator:
        return self.page.locator("#ask").get_by_label(label, exact=True)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    @property
    def stage(self) -> Locator:
        return self.page.locator("#stage")

    @property
    def status(self) -> Locator:
        return self.page.locator("#stage-status")

    @property
    def tiles(self) -> Locator:
        return self.page.locator("#tiles button")

    @property
    def scroll(self) -> Locator:
        return self.stage.get_by_role("slider")

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    def pixels(self, picture: int = 0) -> str:
        """What a tile shows, as a data URL."""
        canvas = self.tiles.nth(picture).locator("canvas")
        url: str = canvas.evaluate("canvas => canvas.toDataURL()")
        return url

    def becomes(self, picture: int, wanted: str) -> None:
        eventually(lambda: self.pixels(picture) == wanted, what="that picture")


@contextmanager
def opened(
    browser: Browser,
    url: str,
    *,
    path: str = "/",
    key: str | None = None,
    blocked: str | None = None,
    **context: Any,
) -> Iterator[Tab]:
    """The page at ``url``; at the end, nothing may have been wrong or asked of other hosts.

    Args:
        key: an API key that it was given before.
        blocked: an address that it asks for all the same, and that the policy keeps it from.
    """
    profile = browser.new_context(base_url=url, **context)
    profile.set_default_timeout(20_000)
    page = profile.new_page()
    tab = Tab(page, key)

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            tab.complaints.append(message.text)

    def note(request: Request) -> None:
        tab.requests.append(request)

    page.add_init_script(_WATCH_CSP)
    if key is not None:
        page.add_init_script(f"sessionStorage.setItem('emaki.key', {json.dumps(key)})")
    page.on("console", hear)
    page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    page.on("request", note)
    try:
        page.goto(path)
        yield tab
        complaints = [text for text in tab.complaints if not text.startswith(REFUSED)]
        strangers = [
            request
            for request in tab.requests
            if not request.url.startswith((url, f"blob:{url}", "data:"))
        ]
        if blocked is not None:
            assert {request.failure for request in strangers} == {"csp"}
            complaints = [text for text in complaints if blocked not in text]
            strangers = [request for request in strangers if request.url != blocked]
        assert complaints == []
        assert [request.url for request in strangers] == []
    finally:
        profile.close()
