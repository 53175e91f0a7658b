"""The pages of the ArcGIS dialect in a real Chromium: clicked through by a person."""

import re

import pytest
from playwright.sync_api import Page, expect
from server_process import ADMIN_PASSWORD, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def make_mission(page: Page, seconds: str) -> None:
    """Fill the form of a mission in, and go to the page of its job."""
    page.get_by_role("link", name="Root").click()
    page.get_by_role("link", name="services/createMission").click()
    page.get_by_label("title").fill("Flood")
    page.get_by_label("seconds").fill(seconds)
    page.get_by_label("async").fill("true")
    page.get_by_role("button").click()
    page.get_by_role("link", name="Job j").click()
    expect(page.get_by_text("PROCESSING")).to_be_visible()


def test_missions_are_made_and_watched(page: Page, server: ServerProcess) -> None:
    """From the login over a form to a job that its page follows; one is cancelled."""
    page.goto(f"{server.url}/arcgis/rest/jobs")
    page.get_by_label("username").fill("admin")
    page.get_by_label("password").fill(ADMIN_PASSWORD)
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    make_mission(page, "1")
    steps = page.get_by_role("row", name="stepsCompleted").last
    # The page loads itself anew, so that steps come to be done before one's eyes.
    expect(steps).to_have_text(re.compile("stepsCompleted[1-4]$"))
    expect(page.get_by_text("COMPLETED")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Finishing mission creation.")).to_be_visible()
    make_mission(page, "60")
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_text("success")).to_be_visible()
    page.get_by_role("link", name="Job j").click()
    expect(page.get_by_text("Job was cancelled.")).to_be_visible()
    expect(page.get_by_text("FAILED")).to_be_visible()
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("link", name=re.compile("^j[0-9a-f]{8}-"))).to_have_count(2)
    page.goto(f"{page.url.replace('/jobs?', '/jobs/nothing?')}")
    expect(page.get_by_text("There is no job 'nothing'")).to_be_visible()
