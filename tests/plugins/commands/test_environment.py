"""What a command gets of the server's environment."""

import os
import pwd

import pytest

from middlewared_commands.account import Account, AccountError, find_account
from middlewared_commands.environment import DEFAULT_PATH, inherited
from middlewared_commands.table import INHERIT

SERVER = {
    b"PATH": b"/bin",
    b"HOME": b"/root",
    b"USER": b"root",
    b"LANG": b"C",
    b"LC_ALL": b"C",
    b"LCX": b"1",
    b"TOKEN": b"secret",
    b"MIDDLEWARED_PASSWORD": b"secret",
    b"ODD": b"\xff",
}


def test_only_what_is_named() -> None:
    """Variables are named, with a star for any end; others do not pass."""
    found = inherited(INHERIT, None, SERVER)
    assert found == {
        name: SERVER[name] for name in (b"PATH", b"HOME", b"USER", b"LANG", b"LC_ALL")
    }
    assert inherited(["ODD"], None, SERVER)[b"ODD"] == b"\xff"


def test_never_the_servers_own() -> None:
    """Not even a star gives the variables of this program."""
    found = inherited(["*", "MIDDLEWARED_*", "MIDDLEWARED_PASSWORD"], None, SERVER)
    assert found == {k: v for k, v in SERVER.items() if k[:5] != b"MIDDL"}


def test_there_is_always_a_path() -> None:
    """A server without a PATH still finds programs."""
    assert inherited([], None, SERVER) == {b"PATH": DEFAULT_PATH.encode()}


def test_another_account_has_its_own_home() -> None:
    """Home, names and shell are those of the account, if they are wanted at all."""
    account = Account("ann", 1000, 1000, (1000,), "/home/ann", "/bin/zsh")
    found = inherited(INHERIT, account, SERVER)
    assert found[b"HOME"] == b"/home/ann"
    assert found[b"USER"] == found[b"LOGNAME"] == b"ann"
    assert found[b"SHELL"] == b"/bin/zsh"
    assert b"HOME" not in inherited(["PATH"], account, SERVER)


def test_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may become anybody, with all their groups; none is asked for, none found."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert find_account(None, None) is None
    entry = pwd.getpwnam("daemon")
    found = find_account("daemon", None)
    assert found is not None
    assert (found.uid, found.gid) == (entry.pw_uid, entry.pw_gid)
    assert found.groups == tuple(os.getgrouplist("daemon", entry.pw_gid))
    found = find_account(None, "daemon")
    assert found is not None
    assert (found.uid, found.name) == (0, "root")
    assert found.gid == entry.pw_gid
    for user, group in (("no such", None), (None, "no such"), ("daemon", "no such")):
        with pytest.raises(AccountError, match=r"there is no (user|group) 'no such'"):
            find_account(user, group)


def test_nobody_else_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user than root is told so, unless it names itself."""
    entry = pwd.getpwnam("daemon")
    monkeypatch.setattr(os, "geteuid", lambda: entry.pw_uid)
    monkeypatch.setattr(os, "getegid", lambda: entry.pw_gid)
    assert find_account("daemon", "daemon") is None
    for user, group in (("root", None), (None, "root"), ("daemon", "root")):
        with pytest.raises(AccountError, match="only root may run commands as"):
            find_account(user, group)
