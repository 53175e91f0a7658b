"""``middlewared schedule`` with a real server; the commands run in this process."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from server_process import ServerProcess

from middlewared.cli.group import program
from middlewared_schedules.commands import schedule


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Give a server that the tests of this module share."""
    with ServerProcess(tmp_path_factory.mktemp("schedules") / "data") as running:
        yield running


@pytest.fixture(autouse=True)
def logging_stays() -> Iterator[None]:
    """Undo what a command with --json does to the log of its process."""
    yield
    logging.disable(logging.NOTSET)


def run(server: ServerProcess, *words: str) -> Result:
    """Run a command that talks to the server's socket."""
    place = {"MIDDLEWARED_DATA_DIR": str(server.data_dir)}
    return CliRunner().invoke(program, ("schedule", *words), env=place)


def output(server: ServerProcess, *words: str) -> str:
    """Run a command that succeeds, and give what it printed."""
    result = run(server, *words)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def document(server: ServerProcess, *words: str) -> Any:
    """Run a command that succeeds with --json, and give the document."""
    return json.loads(output(server, *words, "--json"))


def test_create_and_list(server: ServerProcess) -> None:
    """Words of the command line become a schedule, and a line of the list."""
    made = output(
        server,
        *("create", "nightly", "demo.sleep", "0.1", "5"),
        *("--cron", "0 2 * * *", "--timezone", "Europe/Berlin", "--jitter", "10m"),
        *("--option", "timeout=600", "--option", "description=sleep a bit"),
    )
    assert made.startswith("created schedule 1 nightly, next 20")
    (shown,) = document(server, "ls")
    assert shown["arguments"] == [0.1, 5]
    assert (shown["options"]["timeout"], shown["jitter"]) == (600, 600)
    assert shown["options"]["description"] == "sleep a bit"
    line = output(server, "ls")
    assert "At 02:00 every day, Europe/Berlin" in line
    assert document(server, "show", "1") == document(server, "show", "nightly") == shown


def test_run(server: ServerProcess) -> None:
    """A job starts now; its id is printed, or its result with -j."""
    job_id = output(server, "run", "nightly").strip()
    server.command("job", "wait", job_id)
    assert 0.1 <= json.loads(output(server, "run", "1", "-j", "-q")) < 60
    shown = output(server, "show", "nightly")
    assert f"job {int(job_id) + 1} SUCCESS" in shown
    assert "timeout" in shown
    job = server.command("job", "show", job_id).stdout
    assert "schedule    1\n" in job


def test_pause_and_change(server: ServerProcess) -> None:
    """A disabled one is not due; options of a change are those of the making."""
    assert output(server, "disable", "nightly") == "disabled schedule 1 nightly\n"
    assert "disabled" in output(server, "ls")
    changed = document(
        server,
        *("update", "nightly", "--every", "90s", "--params", "[2]"),
        *("--rename", "often", "--missed", "all", "--overlap"),
        *("--start", "2026-01-01", "--end", "2099-01-01T12:00"),
    )
    assert changed["name"] == "often"
    assert (changed["interval"], changed["cron"]) == (90, None)
    assert changed["arguments"] == [2]
    assert (changed["missed"], changed["overlap"]) == ("all", True)
    assert changed["enabled"] is False
    assert output(server, "enable", "often").startswith(
        "enabled schedule 1 often, next"
    )
    changed = document(server, "update", "often", "--no-overlap", "--end", "none")
    assert (changed["overlap"], changed["end"]) == (False, None)
    shown = output(server, "show", "often")
    for fact in ("90 seconds", "Every 90 seconds", "missed    all", "start     20"):
        assert fact in shown


def test_remove(server: ServerProcess) -> None:
    """A removed one is gone."""
    assert output(server, "rm", "often") == "removed schedule 1 often\n"
    assert output(server, "ls") == ""
    result = run(server, "show", "often")
    assert result.exit_code == 1
    assert result.stderr == "middlewared: [ENOENT] there is no schedule 'often'\n"


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("create", "x", "demo.sleep", "--every", "soon"), 2, "no length of time"),
        (("create", "x", "demo.sleep", "--start", "soon"), 2, "is no date"),
        (("create", "x", "demo.sleep", "--option", "a"), 2, "has no ="),
        (("create", "x", "demo.noop", "--cron", "x"), 1, "expected five fields"),
        (("create", "x", "demo.none", "--every", "9"), 1, "does not exist"),
        (("show", "99"), 1, "Schedule with id 99 does not exist"),
    ],
)
def test_mistakes(
    server: ServerProcess, words: tuple[str, ...], code: int, part: str
) -> None:
    """What is wrong is said in one sentence."""
    if code == 1:
        result = run(server, *words)
        assert (result.exit_code, part in result.stderr) == (code, True)
        return
    with pytest.raises(click.UsageError, match=part):
        schedule.main(list(words), standalone_mode=False)


def test_one_name_of_several_people(server: ServerProcess) -> None:
    """A name that several people use is asked for by its id."""
    account = ("ann", "--role", "JOB_USER", "--password-stdin")
    server.command("user", "add", *account, input_text="pw\n")
    login = {"MIDDLEWARED_USER": "ann", "MIDDLEWARED_PASSWORD": "pw"}
    words = ("schedule", "create", "same", "demo.noop", "--every", "1h")
    place = {"MIDDLEWARED_DATA_DIR": str(server.data_dir)}
    for who in ({}, login):
        result = CliRunner().invoke(program, words, env=place | who)
        assert result.exit_code == 0, result.stderr
    result = run(server, "rm", "same")
    assert result.exit_code == 1
    assert "there are several schedules 'same'" in result.stderr
    assert "of ann" in result.stderr
