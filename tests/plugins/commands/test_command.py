"""Commands whose tables contradict themselves are refused before the server starts."""

import grp
import os
import tomllib
from pathlib import Path

import msgspec
import pytest

from middlewared.errors import SettingsError
from middlewared_commands.command import Command, compile_command
from middlewared_commands.table import read_tables

WHERE = "table 'commands.b.c"


def compiled(text: str, head: str = 'argv = ["x"]') -> Command:
    """Compile the one command of a settings file, ``[commands.b.c]``."""
    table = tomllib.loads(f"[commands.b.c]\n{head}\n{text}")
    ((name, found),) = read_tables(table["commands"])
    return compile_command(name, found)


def test_what_is_made() -> None:
    """Types, defaults and ways of values, in the order of the settings."""
    command = compiled(
        """
        lock = "{a}"
        cwd = "{folder}"
        environment = {LEVEL = "{level}"}
        [commands.b.c.params]
        a = {}
        folder = {type = "path"}
        level = {type = "int", default = 3}
        key = {type = "secret", env = "KEY", required = false}
        [commands.b.c.secrets.file]
        file = "/etc/secret"
        """,
        head='argv = ["x", "{a}", "--key={file}"]',
    )
    assert list(command.types) == ["a", "folder", "level", "key"]
    assert list(command.defaults.values()) == [msgspec.UNSET, msgspec.UNSET, 3, None]
    assert command.program == "x"
    assert command.doc == "Run x."
    assert command.routes.variables == {"KEY": "key"}
    assert command.routes.filed == {"file"}
    assert command.folder.only == "folder"


def test_a_script_has_every_value() -> None:
    """Values are variables of the script by their names, and may begin no word."""
    command = compiled(
        """
        [commands.b.c.params]
        a = {}
        n = {type = "int"}
        d = {dash = true}
        text = {stdin = true}
        files = {type = "list"}
        """,
        head='script = "echo $a"\nargv = ["{files}"]',
    )
    assert command.routes.variables == {"a": "a", "n": "n", "d": "d"}
    assert command.routes.stdin == "text"
    assert msgspec.json.schema(command.types["a"])["pattern"] == "^(?!-)"
    assert msgspec.json.schema(command.types["n"])["minimum"] == 0
    assert command.doc == "Run the script of b.c."


ARGV = [
    ("argv = []", f"{WHERE}': there is neither argv nor script"),
    ('argv = ["{x}"]', f"setting argv in {WHERE}': the program is '{{x}}', expected"),
    ('argv = [""]', f"setting argv in {WHERE}': the program is '', expected a name"),
    ('argv = ["-x"]', f"setting argv in {WHERE}': the program is '-x', expected"),
    ('argv = ["./x"]', f"setting argv in {WHERE}': the program is './x', expected an"),
    ('argv = ["x", "{y}"]', f"setting argv in {WHERE}': 'y' is no param, expected"),
    (
        'argv = ["sh", "-c", "echo {x}"]\nparams = {x = {}}',
        f"setting argv in {WHERE}': a param is a part of the script of sh; use the",
    ),
    ('argv = ["x", "{"]', f"setting argv in {WHERE}': Single '{{' encountered"),
    ('argv = ["x", "{1}"]', f"setting argv in {WHERE}': {{1}} is no name in braces"),
    ('script = ""\nshell = []', f"setting shell in {WHERE}': [] begins with no abs"),
    ('script = ""\nshell = ["sh"]', f"setting shell in {WHERE}': ['sh'] begins with"),
    ('script = "\\u0000"', f"setting script in {WHERE}': there is a NUL character"),
]


@pytest.mark.parametrize(("head", "error"), ARGV)
def test_programs(head: str, error: str) -> None:
    """What is run is fixed by the settings."""
    with pytest.raises(SettingsError) as raised:
        compiled("", head)
    assert str(raised.value).startswith(error)


P = "[commands.b.c.params]\n"
S = "[commands.b.c.secrets]\n"
MISTAKES = [
    (P + "x = {}", f"{WHERE}.params.x': the param goes nowhere; name it in argv or"),
    (P + 'class = {env="X"}', f"{WHERE}.params.class': 'class' is a word of Python"),
    (P + 'x = {env="X", flag="--"}', f"setting flag in {WHERE}.params.x': '--' is no"),
    (P + 'x = {env="1"}', f"setting env in {WHERE}.params.x': '1' is no name of a"),
    (
        P + 'x = {env="LD_PRELOAD"}',
        f"setting env in {WHERE}.params.x': LD_PRELOAD chooses what code runs, so no",
    ),
    (
        'environment = {PATH = "{x}:/bin"}\n' + P + "x = {}",
        f"setting environment in {WHERE}': PATH chooses what code runs, so no param",
    ),
    (P + 'x = {env="MIDDLEWARED_X"}', f"setting env in {WHERE}.params.x': MIDDLEW"),
    (
        P + 'x = {env="X"}\ny = {env="X"}',
        f"setting env in {WHERE}.params.y': X has the value of 'x' already",
    ),
    (
        P + 'x = {type="list", env="X"}',
        f"setting env in {WHERE}.params.x': a list fits in no variable",
    ),
    (
        P + "x = {stdin=true}\ny = {type='secret', stdin=true}",
        f"setting stdin in {WHERE}': there is one standard input, not x and y",
    ),
    (
        P + 'x = {env="X", required=false}\ny = {env="Y"}',
        f"{WHERE}.params.y': it has to be given and follows 'x', which need not; put",
    ),
    (
        P + 'x = {env="X", default="a", required=true}',
        f"setting required in {WHERE}.params.x': with a default it need not be given",
    ),
    (
        P + 'x = {env="X", pattern="("}',
        f"setting pattern in {WHERE}.params.x': no regular expression: ",
    ),
    (
        P + "x = {type='secret'}",
        f"{WHERE}.params.x': the secret goes nowhere; set env or stdin, or name it",
    ),
    (
        P + "x = {type='secret', env='X', stdin=true}",
        f"{WHERE}.params.x': it goes by env and by stdin, expected one way",
    ),
    (
        'environment = {F = "{x}"}\n' + S + "x = {file='/x', env='X'}",
        f"{WHERE}.secrets.x': it goes by env and by a file, expected one way",
    ),
    (S + "x = {file='/x'}", f"{WHERE}.secrets.x': the secret goes nowhere; set env"),
    (
        S + "x = {file='x', env='X'}",
        f"setting file in {WHERE}.secrets.x': 'x' is no absolute path",
    ),
    (
        P + "x = {env='X'}\n" + S + "x = {file='/x', env='Y'}",
        f"{WHERE}.secrets.x': there is a param 'x', expected another name",
    ),
    (
        'environment = {X = "{y}"}',
        f"setting environment in {WHERE}': 'y' is no param, expected one of (none)",
    ),
    (
        'environment = {X = "{y}"}\n' + P + "y = {type='list'}",
        f"setting environment in {WHERE}': list 'y' fits in no variable",
    ),
    (
        'environment = {X = "1"}\n' + P + "y = {env='X'}",
        f"setting environment in {WHERE}': X has the value of 'y' already",
    ),
    ('environment = {"X=Y" = "1"}', f"setting environment in {WHERE}': 'X=Y' is no"),
    ('environment = {X = "{"}', f"setting environment in {WHERE}': Single '{{'"),
    ('lock = "{x}"', f"setting lock in {WHERE}': 'x' is no param, expected one of"),
    ('limits = {"a:{x}" = 1}', f"setting limits in {WHERE}': 'x' is no param, exp"),
    ('description = "{"', f"setting description in {WHERE}': Single '{{'"),
    (
        'lock = "{x}"\n' + P + "x = {type='secret', env='X'}",
        f"setting lock in {WHERE}': it shows secret 'x'",
    ),
    (
        'description = "{x}"\n' + S + "x = {file='/x', env='X'}",
        f"setting description in {WHERE}': 'x' is no param, expected one of (none)",
    ),
    ('cwd = "srv"', f"setting cwd in {WHERE}': 'srv' is neither an absolute path nor"),
    ('cwd = "/srv/{x}"\n' + P + "x = {}", f"setting cwd in {WHERE}': '/srv/{{x}}' is"),
    ('cwd = "{x}"\n' + P + "x = {}", f"setting cwd in {WHERE}': 'x' is no path that"),
    (
        'cwd = "{x}"\n' + P + "x = {type='path', required=false}",
        f"setting cwd in {WHERE}': 'x' is no path that is always given",
    ),
    ('umask = "888"', f"setting umask in {WHERE}': '888' is no octal number, as 027"),
    ('user = "nobody at all"', f"setting user in {WHERE}': there is no user 'nobody"),
    ('group = "nobody at all"', f"setting group in {WHERE}': there is no group 'nob"),
    ('inherit = ["A*B"]', f"setting inherit in {WHERE}': 'A*B' is no name of a var"),
    ("exit = {success=[256]}", f"setting exit in {WHERE}': 256 is no exit code, exp"),
    ("exit = {warnings=[0]}", f"setting exit in {WHERE}': 0 means success and warn"),
    ("exit = {messages={x='y'}}", f"setting exit in {WHERE}': message of 'x', expec"),
    ("progress = [{pattern='('}]", f"setting progress in {WHERE}': no regular expre"),
    ("progress = [{pattern='x'}]", f"setting progress in {WHERE}': it has no named"),
    ("progress = [{pattern='(?P<x>.)'}]", f"setting progress in {WHERE}': there is"),
    ("progress = [{pattern='(?P<done>.)'}]", f"setting progress in {WHERE}': done a"),
]


@pytest.mark.parametrize(("text", "error"), MISTAKES)
def test_mistakes(text: str, error: str) -> None:
    """One line names the table and the key, and says what was expected."""
    with pytest.raises(SettingsError) as raised:
        compiled(text)
    assert str(raised.value).startswith(error)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('user = "nobody"', "setting user in"),
        ('group = "daemon"', "setting group in"),
        ("nice = -1", "setting nice in"),
    ],
)
def test_what_only_root_may(
    text: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of somebody else is refused what it could not do."""
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(SettingsError, match="only root may") as raised:
        compiled(text)
    assert str(raised.value).startswith(error)


def test_ones_own_account_needs_no_root() -> None:
    """Who names the account of the server itself is not refused."""
    group = grp.getgrgid(os.getegid()).gr_name
    assert compiled(f'user = "{Path.home().owner()}"\ngroup = "{group}"').name == "b.c"
