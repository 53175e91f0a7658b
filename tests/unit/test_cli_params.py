"""Words of a command line to params of a method."""

import io
from typing import Any

import click
import pytest
from click.testing import CliRunner

from middlewared.cli.params import ParamCommand, parse_param, parse_params


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ('"5"', "5"),
        ('{"a": [1]}', {"a": [1]}),
        ('{"$date": 5}', {"$date": 5}),
        ("/usr/lib", "/usr/lib"),
        ("", ""),
        ("True", "True"),
        ("{broken", "{broken"),
        ("NaN", "NaN"),
        ("[" * 100_000, "[" * 100_000),
        ("\udcff", "\udcff"),
    ],
)
def test_word(word: str, value: Any) -> None:
    """JSON is decoded, everything else is a string."""
    assert parse_param(word) == value


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single - takes standard input, as JSON or text."""
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}\n'))
    assert parse_params(["x", "-"]) == ["x", {"a": 1}]


def test_stdin_twice() -> None:
    """Standard input can be taken once."""
    with pytest.raises(click.UsageError, match="only once"):
        parse_params(["-", "-"])


@click.command(cls=ParamCommand)
@click.argument("words", nargs=-1)
@click.option("-j", is_flag=True)
def show(words: tuple[str, ...], *, j: bool) -> None:
    """Show what was understood."""
    click.echo(f"{parse_params(words)} {j}")


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (["-5", "-j", "-1.5"], "[-5, -1.5] True"),
        (["-.5"], "['-.5'] False"),
        (["--", "-j", "-2"], "['-j', -2] False"),
    ],
)
def test_negative_numbers(args: list[str], shown: str) -> None:
    """Negative numbers are params; options stay options, before and after."""
    assert CliRunner().invoke(show, args).output == f"{shown}\n"


def test_unknown_option() -> None:
    """A mistyped option is not sent to the server as a param."""
    result = CliRunner().invoke(show, ["--jsno"])
    assert result.exit_code == 2
    assert "--jsno" in result.output
