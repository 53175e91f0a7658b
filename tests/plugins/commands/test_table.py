"""The settings file: what its tables are, and how its mistakes are told."""

import tomllib

import pytest

from middlewared.errors import SettingsError
from middlewared_commands.params import IntParam, SecretParam, StrParam
from middlewared_commands.table import (
    CommandTable,
    ExitTable,
    Pattern,
    Source,
    read_tables,
)


def read(text: str) -> dict[str, CommandTable]:
    """Read what a settings file has below ``[commands]``."""
    return dict(read_tables(tomllib.loads(text).get("commands", {})))


def test_tables() -> None:
    """Each table of a namespace is a command; params keep their order."""
    found = read(
        """
        [commands.backup.home]
        argv = ["restic", "backup"]
        timeout = 60
        exit = {success = [0], warnings = [3], messages = {3 = "part"}}
        progress = [{pattern = '(?P<percent>\\d+)%', log = false}]
        [commands.backup.home.params]
        z = {}
        a = {type = "int", default = 5}
        m = {type = "secret", required = false}
        [commands.backup.home.secrets.key]
        file = "/etc/key"
        [commands.backup.check]
        script = "true"
        [commands.disk.usage]
        argv = ["df"]
        """
    )
    assert list(found) == ["backup.home", "backup.check", "disk.usage"]
    home = found["backup.home"]
    assert home.argv == ("restic", "backup")
    assert home.timeout == 60.0
    assert home.exit == ExitTable(warnings=(3,), messages={"3": "part"})
    assert home.progress == (Pattern(pattern=r"(?P<percent>\d+)%", log=False),)
    assert list(home.params.items()) == [
        ("z", StrParam()),
        ("a", IntParam(default=5)),
        ("m", SecretParam(required=False)),
    ]
    assert home.secrets == {"key": Source(file="/etc/key")}
    assert found["backup.check"].script == "true"
    assert read("") == {}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "[commands]\nhome = 1",
            (
                "setting home in table 'commands' is 1, expected a table; a command"
                " has a namespace and a name: [commands.backup.home]"
            ),
        ),
        (
            '[commands.backup]\nargv = ["x"]',
            (
                "setting argv in table 'commands.backup' is ['x'], expected a "
                "table; a command has a namespace and a name: "
                "[commands.backup.home]"
            ),
        ),
        (
            '[commands."backup.home"]',
            (
                "table 'commands.backup.home': 'backup.home' is no name, expected "
                "small letters, digits and _, a letter first"
            ),
        ),
        (
            "[commands.backup.Home]",
            (
                "table 'commands.backup.Home': 'Home' is no name, expected small "
                "letters, digits and _, a letter first"
            ),
        ),
        (
            '[commands.b.c]\nagrv = ["x"]',
            ("setting in table 'commands.b.c': Object contains unknown field `agrv`"),
        ),
        (
            '[commands.b.c]\nargv = "x y"',
            (
                "setting argv in table 'commands.b.c' is 'x y': Expected `array`, "
                "got `str`"
            ),
        ),
        (
            "[commands.b.c]\ntimeout = 0",
            ("setting timeout in table 'commands.b.c' is 0: Expected `float` >= 0.001"),
        ),
        (
            "[commands.b.c.exit]\nsuccess = ['a']",
            (
                "setting exit.success[0] in table 'commands.b.c' is {'success': "
                "['a']}: Expected `int`, got `str`"
            ),
        ),
        (
            "[commands.b.c]\nparams = []",
            "setting params in table 'commands.b.c' is [], expected a table",
        ),
        (
            "[commands.b.c.params]\nx = 'str'",
            ("setting x in table 'commands.b.c.params' is 'str', expected a table"),
        ),
        (
            "[commands.b.c.params.X]",
            (
                "table 'commands.b.c.params.X': 'X' is no name, expected small "
                "letters, digits and _, a letter first"
            ),
        ),
        (
            "[commands.b.c.params.x]\ntype = 'string'",
            (
                "setting type in table 'commands.b.c.params.x' is 'string', "
                "expected one of str, int, float, bool, path, list, secret"
            ),
        ),
        (
            "[commands.b.c.params.x]\ntype = 'int'\npattern = 'x'",
            (
                "setting in table 'commands.b.c.params.x': Object contains unknown "
                "field `pattern`"
            ),
        ),
        (
            "[commands.b.c.params.x]\nmin_length = -1",
            (
                "setting min_length in table 'commands.b.c.params.x' is -1: "
                "Expected `int` >= 0"
            ),
        ),
        (
            "[commands.b.c.secrets.x]\nenv = 'X'",
            (
                "setting in table 'commands.b.c.secrets.x': Object missing required"
                " field `file`"
            ),
        ),
    ],
)
def test_mistakes(text: str, error: str) -> None:
    """One clear line names the table, the key and the value."""
    with pytest.raises(SettingsError) as raised:
        read(text)
    assert str(raised.value) == error
