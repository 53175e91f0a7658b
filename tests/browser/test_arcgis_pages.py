"""The pages of the ArcGIS dialect in a real Chromium: clicked through by a person."""

import pytest
from playwright.sync_api import Page, expect
from server_process import ADMIN_PASSWORD, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def test_a_mission_is_made_and_watched(page: Page, server: ServerProcess) -> None:
    """From the login over a form to a job whose page follows it to its end."""
    page.goto(f"{server.url}/arcgis/rest/jobs")
    page.get_by_label("username").fill("admin")
    page.get_by_label("password").fill(ADMIN_PASSWORD)
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    page.get_by_role("link", name="Root").click()
    page.get_by_role("link", name="services/createMission").click()
    page.get_by_label("title").fill("Flood")
    page.get_by_label("seconds").fill("0.5")
    page.get_by_label("async").fill("true")
    page.get_by_role("button").click()
    page.get_by_role("link", name="Job j").click()
    expect(page.get_by_text("PROCESSING")).to_be_visible()
    expect(page.get_by_text("COMPLETED")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Finishing mission creation.")).to_be_visible()
