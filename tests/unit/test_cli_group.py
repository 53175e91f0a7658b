"""The program as a whole: commands, help, completion."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from middlewared.cli.group import LazyGroup, Program, program
from middlewared.cli.job import make_filters


def run(*args: str) -> str:
    """Run a command that needs no server, and give its output."""
    result = CliRunner().invoke(program, args, prog_name="middlewared")
    assert result.exit_code == 0, result.output
    return result.output


def commands() -> list[list[str]]:
    """List the words of every command."""
    found: list[list[str]] = []

    def walk(group: click.Group, words: list[str]) -> None:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            found.append([*words, name])
            if isinstance(command, click.Group):
                walk(command, [*words, name])

    walk(program, [])
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_help(words: list[str]) -> None:
    """Every command has help with a description, within 88 columns."""
    lines = run(*words, "--help").splitlines()
    assert lines[0].startswith(f"Usage: middlewared {' '.join(words)}")
    assert lines[2].strip()
    assert max(map(len, lines)) <= 88


def test_a_command_of_its_own_entry_point_loads_no_plugin() -> None:
    """It is there as fast as those of the program."""
    code = """
import sys
from click.testing import CliRunner
from middlewared.cli.group import program
assert CliRunner().invoke(program, ["schedule", "--help"]).exit_code == 0
print([name for name in sys.modules if name.endswith(".declaration")])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "words",
    [
        ("call",),
        ("call", "core.ping", "--no-such-option"),
        ("call", "core.ping", "-", "-"),
        ("ping", "--password-stdin"),
        ("job", "ls", "--state", "DONE"),
        ("job", "ls", "--limit", "0"),
        ("watch", "-n", "0"),
        ("subscribe", "x", "-t", "0"),
        ("completion", "tcsh"),
    ],
    ids=" ".join,
)
def test_wrong_usage(words: tuple[str, ...]) -> None:
    """Wrong usage is exit code 2, with a message and no traceback."""
    result = CliRunner().invoke(program, words, prog_name="middlewared")
    assert result.exit_code == 2
    assert "Error: " in result.output


def test_overview() -> None:
    """The overview says in a line what each command does."""
    text = run("--help")
    for name in ("serve", "call", "job", "watch", "subscribe", "user", "key"):
        assert f"\n  {name} " in text


def test_commands_are_loaded_when_used() -> None:
    """Starting the program imports no command and nothing of the server."""
    script = (
        "import sys, middlewared.cli.group; "
        "print([m for m in sys.modules "
        "if m.split('.')[0] in ('rich', 'starlette', 'aiosqlite', 'uvicorn') "
        "or m in ('middlewared.cli.job', 'middlewared.cli.serve')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_lazy_group_refuses_what_is_no_command() -> None:
    """A wrong entry in the table is reported by name."""
    group = LazyGroup("x", lazy={"broken": "os:sep"})
    with pytest.raises(TypeError, match="os:sep is no command"):
        group.get_command(click.Context(group), "broken")


ADDED = """
import click

from middlewared import Plugin

plugin = Plugin("added")
plugin.commands.append(click.Command("rewind", help="Rewind the tape."))
plugin.commands.append(click.Command("ping", help="Be in the way."))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder of plugins that the program looks into."""
    monkeypatch.setenv("MIDDLEWARED_PLUGINS_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("middlewared_added", None)


def help_of(*words: str) -> Result:
    """Ask a program that has loaded no plugin yet for help."""
    fresh = Program("middlewared", lazy={"ping": "middlewared.cli.server:ping"})
    return CliRunner().invoke(fresh, [*words, "--help"])


def test_commands_of_plugins(folder: Path) -> None:
    """They are listed and run; one of ours cannot be replaced."""
    (folder / "middlewared_added.py").write_text(ADDED)
    overview = help_of().output
    assert "Rewind the tape." in overview
    assert overview.count("\n  ping ") == 1
    assert "Rewind the tape." in help_of("rewind").output
    assert "sign of life" in help_of("ping").output


def test_broken_plugin(folder: Path) -> None:
    """It is named, and our own commands work."""
    (folder / "middlewared_added.py").write_text("1 / 0")
    overview = help_of()
    assert overview.exit_code == 0
    assert "middlewared_added.py:1: ZeroDivisionError" in overview.stderr
    assert "\n  ping " in overview.stdout
    assert help_of("rewind").exit_code == 2
    assert help_of("ping").stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """Each shell gets a script that calls the program back."""
    assert "_MIDDLEWARED_COMPLETE" in run("completion", shell)


def test_filters() -> None:
    """The options of job ls become filters of core.get_jobs."""
    assert make_filters((), None) == []
    assert make_filters(("RUNNING", "WAITING"), "demo.noop") == [
        ["state", "in", ["RUNNING", "WAITING"]],
        ["method", "=", "demo.noop"],
    ]
    assert make_filters((), "demo.*") == [["method", "^", "demo."]]
