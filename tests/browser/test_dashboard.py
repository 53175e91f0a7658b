"""Drives the dashboard in Chromium against a real server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser.relay import Relay
from browser.rpc import Rpc, rpc_client
from playwright.sync_api import Locator, Page, WebSocket, expect
from server_process import ADMIN_PASSWORD, ServerProcess

import middlewared_dashboard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

STATIC = Path(middlewared_dashboard.__file__).parent / "static"
XSS = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"


def log_in(
    page: Page,
    server: ServerProcess,
    *,
    password: str = ADMIN_PASSWORD,
    url: str | None = None,
) -> None:
    """Open the page, from *url* if given, and fill in its form."""
    page.goto(f"{url or server.url}/ui/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password", exact=True).last.fill(password)
    page.get_by_role("button", name="Log in").click()


def row(page: Page, job: int) -> Locator:
    """Find the row of a job in the list."""
    return page.locator(f"tr[data-job='{job}']")


def details(page: Page) -> Locator:
    """Find the panel with the details."""
    return page.get_by_role("complementary", name="Job details")


def section(page: Page, title: str) -> Locator:
    """Find a block of text of the details by its heading."""
    return details(page).get_by_label(title, exact=True)


def abort(page: Page) -> None:
    """Press the button that aborts, and confirm."""
    page.get_by_role("button", name="Abort", exact=True).click()
    page.get_by_role("button", name="Abort job").click()


def test_password_logs_in_and_out(page: Page, server: ServerProcess) -> None:
    """The password opens the list; logging out closes it, also for a reload."""
    log_in(page, server)
    expect(page.get_by_role("table", name="Jobs")).to_be_visible()
    expect(page.get_by_text("Connected")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Username")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Username")).to_be_visible()


def test_narrow_window(page: Page, server: ServerProcess, rpc: Rpc) -> None:
    """On a telephone nothing is cut off at the side, with and without details."""
    page.set_viewport_size({"width": 360, "height": 740})
    log_in(page, server)
    job = rpc.call("demo.noop", "x" * 100)
    logout = page.get_by_role("button", name="Log out")
    expect(logout).to_be_in_viewport(ratio=1)
    row(page, job).click()
    expect(details(page)).to_be_in_viewport()
    expect(logout).to_be_in_viewport(ratio=1)


def test_wrong_password_is_told(page: Page, server: ServerProcess) -> None:
    """A wrong password shows an error and leaves the form to try again."""
    log_in(page, server, password="not it")
    expect(page.get_by_role("alert")).to_have_text("The credentials are not right.")
    page.keyboard.type(ADMIN_PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("table", name="Jobs")).to_be_visible()


def test_api_key_logs_in(page: Page, server: ServerProcess, rpc: Rpc) -> None:
    """An API key opens the list as well."""
    made = rpc.call("api_key.create", {"username": "admin", "name": "browser"})
    page.goto(f"{server.url}/ui/")
    page.get_by_text("API key").first.click()
    page.get_by_label("Username").fill("admin")
    page.get_by_label("API key", exact=True).last.fill(made["key"])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("table", name="Jobs")).to_be_visible()


def test_login_link_works_once_and_leaves_no_trace(
    page: Page, server: ServerProcess
) -> None:
    """The one-time link logs in, and its token is gone from the address."""
    link = server.login_link
    page.goto(link)
    expect(page.get_by_role("table", name="Jobs")).to_be_visible()
    assert page.url == f"{server.url}/ui/"
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Username")).to_be_visible()
    page.goto("about:blank")
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("has been used")


def test_session_survives_a_reload(page: Page, server: ServerProcess) -> None:
    """A reload needs no second login, and keeps the job that was open."""
    log_in(page, server)
    expect(page.get_by_role("table", name="Jobs")).to_be_visible()
    page.reload()
    expect(page.get_by_role("table", name="Jobs")).to_be_visible()


def test_root_leads_to_the_page(page: Page, server: ServerProcess) -> None:
    """The address of the server alone shows the page."""
    page.goto(server.url)
    expect(page.get_by_label("Username")).to_be_visible()
    assert page.url == f"{server.url}/ui/"


def test_list_follows_a_job_live(page: Page, server: ServerProcess, rpc: Rpc) -> None:
    """A job appears when it starts, and moves with progress and state."""
    log_in(page, server)
    expect(page.get_by_role("table", name="Jobs")).to_be_visible()
    job = rpc.call("demo.sleep", 6, 60)
    line = row(page, job)
    expect(line).to_contain_text("demo.sleep")
    expect(line).to_contain_text("Running")
    expect(line).to_contain_text("admin")
    bar = line.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", re.compile(r"^[1-9]\d?$"))
    expect(line).to_contain_text("Success")
    expect(page.locator("tbody tr").first).to_have_attribute("data-job", str(job))


def test_state_and_text_filter_the_list(
    page: Page, server: ServerProcess, rpc: Rpc
) -> None:
    """Only the jobs in the chosen state with the searched text are listed."""
    good = rpc.call("demo.noop", "x")
    bad = rpc.call("demo.fail", "the paper tray is empty")
    rpc.wait(good)
    rpc.wait(bad)
    log_in(page, server)
    expect(row(page, good)).to_be_visible()
    page.get_by_role("radio", name="Failed").check(force=True)
    expect(row(page, bad)).to_be_visible()
    expect(row(page, good)).to_have_count(0)
    page.get_by_role("radio", name="All").check(force=True)
    page.keyboard.press("/")
    page.keyboard.type("TRAY empty")
    expect(row(page, good)).to_have_count(0)
    expect(row(page, bad)).to_be_visible()
    page.keyboard.type(" nothing like it")
    expect(page.get_by_text("No job matches the filter.")).to_be_visible()


def test_failed_job_shows_error_and_traceback(
    page: Page, server: ServerProcess, rpc: Rpc
) -> None:
    """The details of a failed job hold its error, traceback and arguments."""
    job = rpc.call("demo.fail", "the disk is on fire", 5)
    rpc.wait(job)
    log_in(page, server)
    expect(row(page, job)).to_contain_text("[EIO] the disk is on fire")
    row(page, job).get_by_role("link").click()
    expect(section(page, "Error")).to_have_text("[EIO] the disk is on fire")
    expect(section(page, "Traceback")).to_contain_text("Traceback (most recent call")
    expect(section(page, "Arguments")).to_contain_text("the disk is on fire")
    expect(details(page)).to_contain_text("Failed")
    expect(section(page, "Result")).to_be_hidden()


def test_succeeded_job_shows_its_result(
    page: Page, server: ServerProcess, rpc: Rpc
) -> None:
    """The details of a job that succeeded hold its result."""
    job = rpc.call("demo.noop", {"files": 3})
    rpc.wait(job)
    log_in(page, server)
    row(page, job).click()
    expect(section(page, "Result")).to_contain_text('"files": 3')
    page.keyboard.press("Escape")
    expect(details(page)).to_be_hidden()
    expect(row(page, job).get_by_role("link")).to_be_focused()


def test_address_of_a_job_opens_it(page: Page, server: ServerProcess, rpc: Rpc) -> None:
    """The address of an open job leads back to it, after the login too."""
    job = rpc.call("demo.noop")
    page.goto(f"{server.url}/ui/#job={job}")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password", exact=True).last.fill(ADMIN_PASSWORD)
    page.keyboard.press("Enter")
    expect(details(page).get_by_role("heading", level=2)).to_have_text(
        f"demo.noop #{job}"
    )


def test_unknown_job_is_told(page: Page, server: ServerProcess) -> None:
    """The address of a job that does not exist says so."""
    log_in(page, server)
    expect(page.get_by_role("table", name="Jobs")).to_be_visible()
    page.goto(f"{server.url}/ui/#job=987654321")
    expect(details(page).get_by_role("alert")).to_contain_text("987654321")


def test_log_grows_while_the_job_writes(
    page: Page, server: ServerProcess, rpc: Rpc
) -> None:
    """Every line appears while the job runs, once."""
    log_in(page, server)
    job = rpc.call("stubborn.scribe")
    row(page, job).click()
    for number in range(3):
        rpc.call("stubborn.dictate", f"line {number}")
        expect(section(page, "Log")).to_contain_text(f"line {number}")
    expect(row(page, job)).to_contain_text("Running")
    rpc.call("stubborn.dictate", "")
    rpc.wait(job)
    expect(row(page, job)).to_contain_text("Success")
    expect(section(page, "Log")).to_have_text(rpc.call("job.read_log", job)["data"])


def test_long_log_shows_its_end(page: Page, server: ServerProcess, rpc: Rpc) -> None:
    """Of a log that is long, the last lines are shown and the cut is told."""
    job = rpc.call("demo.log", 5000)
    rpc.wait(job)
    log_in(page, server)
    row(page, job).click()
    log = section(page, "Log")
    expect(log).to_contain_text("line 5000 of 5000")
    expect(details(page)).to_contain_text("Only the end is shown.")
    size = rpc.call("job.read_log", job)["size"]
    tail = rpc.call("job.read_log", job, size - 60_000)["data"].splitlines()[1:]
    assert (log.text_content() or "").splitlines()[-len(tail) :] == tail


def test_log_of_a_finished_job_can_be_read_and_downloaded(
    page: Page, server: ServerProcess, rpc: Rpc
) -> None:
    """The log stays readable after the end, and downloads whole."""
    job = rpc.call("demo.log", 30)
    rpc.wait(job)
    log_in(page, server)
    row(page, job).click()
    log = rpc.call("job.read_log", job)["data"]
    expect(section(page, "Log")).to_have_text(log)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download log").click()
    assert download.value.path().read_text() == log
    assert download.value.suggested_filename == f"{job}.log"


def test_abort_is_shown_only_when_the_server_says_so(
    page: Page, server: ServerProcess, rpc: Rpc
) -> None:
    """A job is Aborted after the server's event, and not by the press."""
    with Relay(server.url) as relay:
        log_in(page, server, url=relay.url)
        job = rpc.call("demo.sleep", 120)
        row(page, job).click()
        expect(details(page)).to_contain_text("Running")
        relay.hold()
        abort(page)
        expect(details(page)).to_contain_text("Abort requested…")
        assert rpc.wait(job)["state"] == "ABORTED"
        # The server has aborted it, but nobody has told this page.
        expect(details(page)).to_contain_text("Abort requested…")
        expect(row(page, job)).to_contain_text("Running")
        relay.release()
        expect(details(page)).to_contain_text("The job was aborted.")
        expect(row(page, job)).to_contain_text("Aborted")
        expect(page.get_by_role("button", name="Abort", exact=True)).to_be_hidden()


def test_refused_abort_shows_why_and_can_be_forced(
    page: Page, server: ServerProcess, rpc: Rpc
) -> None:
    """A job that is not abortable stays Running and the page says why."""
    log_in(page, server)
    job = rpc.call("stubborn.unabortable")
    row(page, job).click()
    abort(page)
    expect(details(page).get_by_text("Not aborted:")).to_contain_text("EPERM")
    expect(row(page, job)).to_contain_text("Running")
    page.get_by_role("button", name="Abort by force").click()
    page.get_by_role("button", name="Abort job").click()
    expect(details(page)).to_contain_text("The job was aborted")
    expect(row(page, job)).to_contain_text("Aborted")


def test_ignored_abort_is_told(page: Page, server: ServerProcess, rpc: Rpc) -> None:
    """A job that ends by itself after the request is shown as what it became."""
    log_in(page, server)
    job = rpc.call("stubborn.deaf")
    row(page, job).click()
    abort(page)
    expect(details(page)).to_contain_text("Abort requested…")
    page.reload()
    expect(details(page)).to_contain_text("Abort requested")
    expect(row(page, job)).to_contain_text("Running")
    rpc.call("stubborn.let_go")
    expect(details(page)).to_contain_text("The job ended by itself before the abort")
    expect(row(page, job)).to_contain_text("Success")


def test_abort_can_be_reconsidered(page: Page, server: ServerProcess, rpc: Rpc) -> None:
    """The question before an abort can be answered with no."""
    log_in(page, server)
    job = rpc.call("demo.sleep", 120)
    row(page, job).click()
    page.get_by_role("button", name="Abort", exact=True).click()
    page.get_by_role("button", name="Keep running").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(details(page)).not_to_contain_text("Abort requested")
    assert rpc.call("job.get", job)["state"] == "RUNNING"
    rpc.call("core.job_abort", job)


def test_page_catches_up_after_a_restart(
    page: Page, server_process: ServerProcess, complaints: list[str]
) -> None:
    """After an outage the list is whole again, with what ended meanwhile.

    It goes on where it was: nothing is asked for again but what was missed.
    """
    with rpc_client(server_process) as rpc:
        job = rpc.call("demo.sleep", 120)
    sent = sent_frames(page)
    log_in(page, server_process)
    row(page, job).click()
    expect(details(page)).to_contain_text("Running")
    server_process.kill()
    expect(page.get_by_text("Reconnecting…")).to_be_visible()
    expect(page.get_by_text("what you see may be out of date")).to_be_visible()
    expect(row(page, job)).to_contain_text("Running")
    sent.clear()
    server_process.restart()
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    expect(row(page, job)).to_contain_text("Failed")
    expect(details(page)).to_contain_text("WorkerLost")
    with rpc_client(server_process) as rpc:
        later = rpc.call("demo.noop")
    expect(row(page, later)).to_contain_text("Success")
    calls = [(frame["method"], frame["params"]) for frame in sent]
    assert "core.get_jobs" not in [method for method, _ in calls]
    subscribed = [params[1] for method, params in calls if method == "core.subscribe"]
    assert len(subscribed) == 2  # the list, and the job of the details
    assert all(options["since"]["seq"] > 0 for options in subscribed)
    # The browser itself reports each attempt that failed.
    complaints[:] = [
        text
        for text in complaints
        if "WebSocket" not in text and "net::ERR_" not in text
    ]


def sent_frames(page: Page) -> list[dict[str, Any]]:
    """Keep what the page sends from now on."""
    sent: list[dict[str, Any]] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda payload: sent.append(json.loads(payload)))

    page.on("websocket", listen)
    return sent


def test_job_that_is_deleted_leaves_the_list(
    page: Page, server: ServerProcess, rpc: Rpc
) -> None:
    """Whoever deletes it; the page is told."""
    kept, gone = rpc.call("demo.noop"), rpc.call("demo.noop")
    rpc.wait(gone)
    log_in(page, server)
    expect(row(page, gone)).to_contain_text("Success")
    rpc.call("job.delete", gone)
    expect(row(page, gone)).to_have_count(0)
    expect(row(page, kept)).to_contain_text("Success")


def test_text_of_jobs_is_never_markup(
    page: Page, server: ServerProcess, rpc: Rpc
) -> None:
    """Markup in messages, arguments and results is shown as it is written."""
    failed = rpc.call("demo.fail", XSS)
    noop = rpc.call("demo.noop", XSS)
    rpc.wait(failed)
    rpc.wait(noop)
    log_in(page, server)
    expect(row(page, failed)).to_contain_text(XSS)
    row(page, failed).click()
    expect(section(page, "Error")).to_contain_text(XSS)
    expect(section(page, "Traceback")).to_contain_text(XSS)
    row(page, noop).click()
    expect(section(page, "Result")).to_have_text(XSS)
    assert page.title() != "owned"
    assert page.locator("main img, main b").count() == 0


def test_every_module_is_preloaded(page: Page, server: ServerProcess) -> None:
    """The page names all of its modules, so that none waits for another."""
    page.goto(f"{server.url}/ui/")
    preloaded = page.locator("link[rel=modulepreload]").evaluate_all(
        "links => links.map((link) => link.getAttribute('href'))"
    )
    there = [str(path.relative_to(STATIC)) for path in STATIC.rglob("*.js")]
    assert sorted(preloaded) == sorted(there)


def test_dark_scheme_is_dark(page: Page, server: ServerProcess) -> None:
    """The page follows the scheme that the system asks for."""
    page.goto(f"{server.url}/ui/")
    backgrounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        backgrounds.append(
            page.evaluate("getComputedStyle(document.body).backgroundColor")
        )
    assert backgrounds == ["rgb(244, 245, 248)", "rgb(13, 16, 23)"]
