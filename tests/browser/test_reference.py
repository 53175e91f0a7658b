"""The reference pages in a real Chromium, by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from server_process import ADMIN_PASSWORD, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

#: Contrast that normal text needs (WCAG 2.2, 1.4.3).
READABLE = 4.5
CONTRAST = """(selector) => {
  const light = (text) => {
    const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map((n) => n / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll(selector)].map((element) => {
    const ink = light(getComputedStyle(element).color);
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
  });
}"""


@pytest.fixture
def docs(server: ServerProcess) -> str:
    """Say where the pages are."""
    return f"{server.url}/api/docs/"


def log_in(page: Page, docs: str) -> None:
    """Log in without the mouse."""
    page.goto(f"{docs}login")
    page.get_by_label("Name").focus()
    page.keyboard.type("admin")
    page.keyboard.press("Tab")
    page.keyboard.type(ADMIN_PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Logged in as admin")).to_be_visible()


def test_search_as_one_types(page: Page, docs: str) -> None:
    """The list narrows with each key; a link of it leads to the page and back."""
    log_in(page, docs)
    count = page.get_by_role("status")
    before = count.inner_text()
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("demo.unencodable")
    expect(count).to_have_text("1 entry")
    expect(page.get_by_role("heading", name="auth")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(count).to_have_text(before)
    page.keyboard.type("digest checksum")
    page.get_by_role("link", name="demo.checksum").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("demo.checksum")
    page.get_by_role("link", name="middlewared reference").click()
    expect(page).to_have_url(docs)


def test_page_of_job_events(page: Page, docs: str) -> None:
    """A link to an object goes to it; the skip link goes to the content."""
    log_in(page, docs)
    page.goto(f"{docs}events/core.get_jobs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("link", name="CoreGetJobsItem", exact=True).first.click()
    expect(page).to_have_url(re.compile("#CoreGetJobsItem$"))
    item = page.get_by_role("region", name="CoreGetJobsItem", exact=True)
    expect(item).to_be_in_viewport()
    expect(item).to_contain_text("No Additional Properties")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in").first).to_be_visible()


def test_without_scripts(context: BrowserContext, docs: str, page: Page) -> None:
    """Search and login are forms, and work where no script runs."""
    browser = context.browser
    assert browser is not None
    plain = browser.new_context(java_script_enabled=False)
    try:
        tab = plain.new_page()
        log_in(tab, docs)
        tab.get_by_label("Search").fill("unencodable demo")
        tab.get_by_role("button", name="Search").click()
        expect(tab.get_by_role("status")).to_have_text("1 entry")
    finally:
        plain.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1360])
def test_readable(page: Page, docs: str, scheme: str, width: int) -> None:
    """In both colour schemes text stands out, and no page is wider than the screen."""
    emulate: Callable[..., None] = page.emulate_media
    emulate(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 740})
    log_in(page, docs)
    for path in ("", "events/core.get_jobs", "methods/demo.checksum"):
        page.goto(f"{docs}{path}")
        found = page.evaluate(CONTRAST, "main p, main a, main .type, main .rule, h1")
        assert min(found) >= READABLE
        assert page.evaluate("document.documentElement.scrollWidth") <= width
