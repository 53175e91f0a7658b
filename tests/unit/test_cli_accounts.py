"""The commands for accounts, keys, privileges and sessions, with a real server.

They run in this process, since there are many; tests/acceptance/test_terminal.py runs
some of them as programs.
"""

import json
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from server_process import ServerProcess

from middlewared.cli.group import program
from middlewared.client import RemoteError
from middlewared.client.sync import Client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Give a server that the tests of this module share."""
    with ServerProcess(tmp_path_factory.mktemp("accounts") / "data") as running:
        yield running


@pytest.fixture(autouse=True)
def logging_stays() -> Iterator[None]:
    """Undo what a command with --json does to the log of its process."""
    yield
    logging.disable(logging.NOTSET)


def run(
    server: ServerProcess,
    *words: str,
    stdin: str | None = None,
    env: dict[str, str] | None = None,
) -> Result:
    """Run a command that talks to the server's socket."""
    place = {"MIDDLEWARED_DATA_DIR": str(server.data_dir)}
    return CliRunner().invoke(program, words, input=stdin, env=place | (env or {}))


def output(server: ServerProcess, *words: str, **options: Any) -> str:
    """Run a command that succeeds, and give what it printed."""
    result = run(server, *words, **options)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def document(server: ServerProcess, *words: str, **options: Any) -> Any:
    """Run a command that succeeds with --json, and give the document."""
    return json.loads(output(server, *words, "--json", **options))


def test_accounts_are_changed(server: ServerProcess) -> None:
    """Roles, privileges, names, ends and locks of an account change by options."""
    output(server, "user", "add", "cat", "--no-password", "--role", "JOB_USER")
    output(server, "privilege", "add", "operators", "--role", "READONLY_ADMIN")
    changed = document(
        server,
        *("user", "set", "cat", "--add-privilege", "operators", "--lock"),
        *("--expires", "2100-01-31", "--full-name", "C"),
    )
    assert changed["all_roles"] == ["JOB_USER", "READONLY_ADMIN"]
    assert (changed["locked"], changed["full_name"]) == (True, "C")
    assert changed["expires"]["$date"] > 4_000_000_000_000
    assert re.search(
        r"operators +READONLY_ADMIN +cat", output(server, "privilege", "ls")
    )
    words = ("--rename", "ops", "--add-role", "JOB_USER")
    renamed = output(server, "privilege", "set", "operators", *words)
    assert renamed == "changed privilege ops\n"
    assert re.search(r"cat +JOB_USER +ops +locked +C", output(server, "user", "ls"))
    changed = document(
        server,
        *("user", "set", "cat", "--unlock", "--expires", "never"),
        *("--rename", "kit", "--remove-role", "JOB_USER"),
    )
    assert (changed["roles"], changed["expires"]) == ([], None)
    assert (changed["username"], changed["locked"]) == ("kit", False)
    output(server, "privilege", "rm", "ops")
    assert document(server, "privilege", "ls") == []
    key = document(server, "key", "add", "kit", "laptop", "--expires", "2100-01-31")
    words = ("--name", "desk", "--expires", "never")
    changed = document(server, "key", "set", str(key["id"]), *words)
    assert (changed["name"], changed["expires"]) == ("desk", None)
    output(server, "user", "rm", "kit")
    wrong = run(server, "user", "set", "kit", "--expires", "tomorrow")
    assert (wrong.exit_code, "2027-01-31" in wrong.stderr) == (2, True)
    missing = run(server, "privilege", "set", "ops")
    assert missing.stderr == "middlewared: [ENOENT] there is no privilege ops\n"


def test_passwords_are_set(server: ServerProcess) -> None:
    """An administrator sets any; the account itself also one that is over."""
    add = ("user", "add", "dan", "--password-stdin", "--must-change-password")
    output(server, *add, stdin="first\n")
    me = ("call", "auth.me", "--url", server.url, "--user", "dan", "--password-stdin")
    over = run(server, *me, stdin="first\n")
    assert over.stderr == "middlewared: login failed: the credentials have expired\n"
    passwd = ("user", "passwd", "dan", "--password-stdin")
    changed = output(
        server,
        *passwd,
        *("--url", server.url, "--user", "dan"),
        stdin="second\n",
        env={"MIDDLEWARED_PASSWORD": "first"},
    )
    assert changed == "set the password of user dan\n"
    assert document(server, *me, stdin="second\n")["pw_name"] == "dan"
    output(server, *passwd, stdin="third\n")
    assert run(server, *me, stdin="second\n").exit_code == 1
    assert document(server, *me, stdin="third\n")["pw_name"] == "dan"
    output(server, "user", "rm", "dan")


def test_sessions_are_ended(server: ServerProcess) -> None:
    """Who is logged in is listed, and logged out by id or all but oneself."""
    output(server, "user", "add", "fay", "--password-stdin", stdin="pw\n")
    with Client(server.url, reconnect=False) as fay:
        fay.login("fay", "pw")
        listed = output(server, "session", "ls")
        found = re.search(
            r"^  +(\S+) +fay +.* 127\.0\.0\.1 +LOGIN_PASSWORD$", listed, re.MULTILINE
        )
        assert found is not None
        assert re.search(r"(?m)^\* .*UNIX_SOCKET +UNIX_SOCKET$", listed)
        assert document(server, "session", "end", found[1]) == {"ended": True}
        with pytest.raises(RemoteError, match="Not authenticated"):
            fay.call("auth.me")
        fay.login("fay", "pw")
        output(server, "session", "end", "--others")
        with pytest.raises(RemoteError, match="Not authenticated"):
            fay.call("auth.me")
    gone = run(server, "session", "end", found[1])
    assert gone.exit_code == 1
    assert gone.stderr == f"middlewared: there is no session {found[1]}\n"
    assert run(server, "session", "end").exit_code == 2
    output(server, "user", "rm", "fay")


def test_who_did_what_is_listed(server: ServerProcess) -> None:
    """Filtered by account, method, event, outcome and time; the newest last."""
    output(server, "user", "add", "gil", "--password-stdin", stdin="hush-1\n")
    with Client(server.url, reconnect=False) as gil:
        gil.login("gil", "hush-1")
        with pytest.raises(RemoteError):
            gil.call("user.delete", 1)
    number = document(server, "user", "rm", "gil")["id"]
    deadline = time.monotonic() + 20
    while [number] not in [
        entry["params"]
        for entry in document(server, "audit", "--method", "user.delete")
    ]:
        assert time.monotonic() < deadline
    everything = document(server, "audit", "--limit", "1000")
    assert [e["id"] for e in everything] == sorted(e["id"] for e in everything)
    assert "hush" not in json.dumps(everything)
    removed = document(server, "audit", "--method", "user.*")[-1]
    assert (removed["method"], removed["params"]) == ("user.delete", [number])
    (denied,) = document(server, "audit", "--account", "gil", "--failed")
    assert (denied["method"], denied["outcome"]) == ("user.delete", "EACCES")
    listed = output(server, "audit", "--account", "gil", "--event", "login")
    assert re.search(r"LOGIN +OK +gil +127\.0\.0\.1", listed)
    listed = output(server, "audit", "--method", "user.create", "--since", "2020-01-01")
    assert 'user.create({"username":"gil","password":"********"' in listed
    assert output(server, "audit", "--since", "2100-01-01") == ""
