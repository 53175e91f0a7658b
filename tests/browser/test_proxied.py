"""The dashboard under a base path, behind a real nginx with TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser.rpc import rpc_client
from certificates import make_pair
from nginx_process import Nginx
from playwright.sync_api import Browser, BrowserContext, Page, expect
from server_process import ADMIN_PASSWORD, CONFIG, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.nginx, pytest.mark.timeout(120)]

PROXIED = """
base_path = "/jobs"
trusted_proxies = ["127.0.0.1"]
remote_user_header = "Remote-User"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run a server that knows of its proxy."""
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess(folder / "data", config=PROXIED + CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def nginx(
    tmp_path_factory: pytest.TempPathFactory, server: ServerProcess
) -> Iterator[Nginx]:
    """Run nginx in front of it."""
    folder = tmp_path_factory.mktemp("nginx")
    with Nginx(folder, make_pair(folder), server.port) as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Open a window that takes a certificate which nobody has signed."""
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(60_000)
    yield context
    context.close()


def test_page_logs_in_shows_jobs_and_downloads(
    page: Page, nginx: Nginx, server: ServerProcess
) -> None:
    """Modules, socket and links are all found below the base path."""
    page.goto(nginx.url)
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password", exact=True).last.fill(ADMIN_PASSWORD)
    page.get_by_role("button", name="Log in").click()
    with rpc_client(server) as rpc:
        job = rpc.call("demo.log", 2)
    page.locator(f"tr[data-job='{job}'] a").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.url.startswith(f"{nginx.url}/_download/{job}?")
    text = download.value.path().read_text()
    assert len(text.splitlines()) == 2


def test_link_logs_in(page: Page, nginx: Nginx, server: ServerProcess) -> None:
    """``auth.login_link`` answers with the whole path."""
    path = server.command("call", "auth.login_link", "admin").stdout.strip()
    page.goto(f"https://127.0.0.1:{nginx.port}{path}")
    expect(page.get_by_role("table", name="Jobs")).to_be_visible()


def test_proxy_that_knows_its_user_needs_no_login(
    browser: Browser, nginx: Nginx, server: ServerProcess
) -> None:
    """The page opens at once, as whom the proxy says."""
    del nginx  # it sends no such header; this one is its double
    page = browser.new_page(
        extra_http_headers={
            "Remote-User": "admin",
            "X-Forwarded-For": "192.0.2.7",
            "X-Forwarded-Proto": "https",
        }
    )
    page.goto(f"{server.url}/jobs/")
    expect(page.get_by_role("table", name="Jobs")).to_be_visible(timeout=60_000)
    page.close()
