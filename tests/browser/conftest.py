"""A real Chromium, and a page in it that must not complain."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.browser.rpc import Rpc

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# No sandbox: in containers there is none. The rest keeps it off the network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Tests and server share two cores with the browser.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start the Chromium or Chrome of this machine."""
    program = next(filter(None, map(shutil.which, PROGRAMS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Open a window without a past: no session, no cache."""
    context = browser.new_context(viewport={"width": 1360, "height": 820})
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the page complained about; a test may empty it of what it provoked."""
    return []


@pytest.fixture
def page(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    """Open a tab that fails the test if a script fails or the policy forbids it."""

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", listen)
    yield page
    assert complaints == []


@pytest.fixture
def rpc(server_process: Any) -> Iterator[Rpc]:
    """Be somebody else who starts jobs, as admin, outside the browser."""
    with Rpc(server_process.ws_url, server_process.admin_password) as rpc:
        yield rpc
