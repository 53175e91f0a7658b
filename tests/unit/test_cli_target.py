"""Which server, and as whom."""

import io
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from middlewared.cli.target import Target, connection_options
from middlewared.datadir import locked_data_dir, note_socket
from middlewared.settings import default_data_dir


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without variables of ours."""
    for name in ("URL", "DATA_DIR", "USER", "PASSWORD", "API_KEY", "TOKEN"):
        monkeypatch.delenv(f"MIDDLEWARED_{name}", raising=False)


def test_default() -> None:
    """Without options it is the socket in the default data directory."""
    assert Target().address() == str(default_data_dir() / "middlewared.sock")


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names a data directory, or a server, which then wins."""
    monkeypatch.setenv("MIDDLEWARED_DATA_DIR", "/data")
    assert Target().address() == "/data/middlewared.sock"
    monkeypatch.setenv("MIDDLEWARED_URL", "ws://host")
    assert Target().address() == "ws://host"


def test_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option beats the environment, also when it is the other one."""
    monkeypatch.setenv("MIDDLEWARED_URL", "ws://host")
    assert Target(url="/x.sock").address() == "/x.sock"
    assert Target(data_dir=Path("/data")).address() == "/data/middlewared.sock"
    assert Target(data_dir=Path("/data")).remote_address() is None


def test_moved_socket(tmp_path: Path) -> None:
    """The socket of a server that was started with --unix is found."""
    with locked_data_dir(tmp_path):
        note_socket(tmp_path, Path("/run/elsewhere.sock"))
        assert Target(data_dir=tmp_path).address() == "/run/elsewhere.sock"


def test_no_credentials() -> None:
    """On the socket nobody needs to log in."""
    assert Target().credentials() == {}


def test_credentials_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables log in when no option does."""
    monkeypatch.setenv("MIDDLEWARED_USER", "bob")
    assert Target().credentials() == {}
    monkeypatch.setenv("MIDDLEWARED_PASSWORD", "secret")
    assert Target().credentials() == {"username": "bob", "password": "secret"}
    monkeypatch.setenv("MIDDLEWARED_TOKEN", "t")
    assert Target().credentials() == {"token": "t"}
    monkeypatch.setenv("MIDDLEWARED_API_KEY", "k")
    assert Target().credentials() == {"key": "k", "username": "bob"}
    assert Target(token="u").credentials() == {"token": "u"}
    assert Target(user="ann").credentials() == {
        "username": "ann",
        "password": "secret",
    }


def test_password_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first line is the password, without its end."""
    monkeypatch.setattr("sys.stdin", io.StringIO("pass word\r\nrest\n"))
    assert Target(user="bob", password_stdin=True).credentials() == {
        "username": "bob",
        "password": "pass word",
    }


def test_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal to ask, a missing password is wrong usage."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(click.UsageError, match="--password-stdin"):
        Target(user="bob").credentials()


def test_password_without_user() -> None:
    """A password needs a name."""
    with pytest.raises(click.UsageError, match="needs --user"):
        Target(password_stdin=True).credentials()


def test_nearest_option_wins() -> None:
    """Options may stand before or after the command; after it wins."""

    @click.group()
    @connection_options()
    def group() -> None:
        """Do things."""

    @group.command()
    @connection_options()
    @click.pass_obj
    def show(target: Target) -> None:
        """Show the target."""
        click.echo(f"{target.url} {target.user} {target.as_json}")

    def run(*args: str) -> str:
        return CliRunner().invoke(group, args, catch_exceptions=False).output.strip()

    assert run("--url", "a", "--json", "show", "--user", "bob") == "a bob True"
    assert run("--url", "a", "show", "--url", "b") == "b None False"
