"""The program as a whole: commands, help, completion."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from middlewared.cli.group import LazyGroup, program
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
    """Starting the program imports no command and no terminal library."""
    script = (
        "import sys, middlewared.cli.group; "
        "print([m for m in sys.modules if m.split('.')[0] == 'rich' "
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
