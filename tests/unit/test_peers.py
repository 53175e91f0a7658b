"""Who is at the other end of the unix socket."""

import os
from pwd import getpwuid

import pytest

from middlewared.access import FULL_ADMIN, Origin
from middlewared.peers import peer_credentials
from middlewared.testing import ManualClock

NOBODY = 2**31 - 3


def test_server_and_root_are_full_admins(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name that the system has for them, or by their number."""
    clock = ManualClock()
    for uid in (0, os.geteuid()):
        found = peer_credentials(Origin(uid=uid), clock)
        assert found is not None
        assert found.type == "UNIX_SOCKET"
        assert found.username == getpwuid(uid).pw_name
        assert found.account_id is None
        assert found.roles == {FULL_ADMIN}
        assert found.login_at == clock.time_ms()
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    found = peer_credentials(Origin(uid=NOBODY), clock)
    assert found is not None
    assert found.username == str(NOBODY)


def test_logins_are_told_apart() -> None:
    """Each connection is a login of its own."""
    clock = ManualClock()
    first, second = (peer_credentials(Origin(uid=0), clock) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.login_id != second.login_id


def test_others_are_nobody() -> None:
    """Another user of the machine may log in like anybody; so may the port."""
    assert peer_credentials(Origin(uid=NOBODY), ManualClock()) is None
    assert peer_credentials(Origin(address="127.0.0.1"), ManualClock()) is None
