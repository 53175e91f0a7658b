"""A real Chromium, and a page in it that must not complain."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.rpc import Rpc, rpc_client
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)
from programs import find_browser
from server_process import ServerProcess

HERE = Path(__file__).parent

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
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the Chromium or Chrome of this machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=ARGUMENTS
        )
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Open a window without a past: no session, no cache."""
    context = browser.new_context(viewport={"width": 1360, "height": 820})
    context.set_default_timeout(60_000)
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run one server for all tests that leave it running: starting takes long."""
    folder = tmp_path_factory.mktemp("server")
    plugins = folder / "plugins"
    plugins.mkdir()
    shutil.copy(HERE / "middlewared_stubborn.py", plugins)
    arguments = ("--plugins-dir", str(plugins))
    with ServerProcess(folder / "data", arguments=arguments) as server:
        yield server


@pytest.fixture
def rpc(server: ServerProcess) -> Iterator[Rpc]:
    """Be somebody else who starts jobs, as admin, outside the browser."""
    with rpc_client(server) as rpc:
        yield rpc
