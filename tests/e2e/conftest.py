"""One shared service for the tests that do not break it."""

import os
import shutil
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.e2e.page import Tab, opened
from tests.e2e.service import Service, running, write_plain


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Fixtures that add a model to it last as long: a module's tests may run in two parts."""
    folder = tmp_path_factory.mktemp("service")
    write_plain(folder)
    with running(folder, "worker", "app") as started:
        yield started


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; per module, for while Playwright runs no other test may use asyncio."""
    # The shell has no windows, whose own pages would take longer to draw than ours.
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium-headless-shell")
    expect.set_options(timeout=20_000)
    flags = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=flags) as launched,
    ):
        yield launched


@pytest.fixture
def tab(browser: Browser, service: Service) -> Iterator[Tab]:
    """A fresh browser profile on the shared service's page; it must stay free of complaints."""
    with opened(browser, service.url) as tab:
        yield tab
