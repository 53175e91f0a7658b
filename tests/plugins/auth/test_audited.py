"""What is written down of logins and logouts."""

from typing import Any

import pytest
from scram_client import ScramClient

from middlewared import CallError, Origin
from middlewared.audit import Entry, Trail

HERE = Origin(address="127.0.0.1")


@pytest.fixture
def entries(world: Any) -> list[Entry]:
    found: list[Entry] = []
    world.get(Trail).attach(found.append)
    return found


def told(entries: list[Entry]) -> list[Any]:
    """Say what happened, to whom and how, and forget it."""
    found = [
        (e.event, e.outcome, e.who.username if e.who else e.username, e.detail)
        for e in entries
        if e.event in ("LOGIN", "LOGOUT")
    ]
    entries.clear()
    return found


async def test_logins_are_written_down(world: Any, entries: list[Entry]) -> None:
    """Those that work with their login, those that fail with what was wrong."""
    number = await world.user("ann")
    session = await world.log_in("ann")
    (entry,) = [e for e in entries if e.event == "LOGIN"]
    assert (entry.who, entry.origin) == (session.credentials, HERE)
    entries.clear()
    call = session.context.call
    await call("auth.login", "ann", "hush")
    await call("auth.login", "hush", "pw")
    await call("auth.login_with_api_key", "1-hush")
    await call("auth.login_with_token", "hush")
    assert all(entry.origin == HERE for entry in entries)
    assert told(entries) == [
        ("LOGIN", "AUTH_ERR", "ann", "a password"),
        ("LOGIN", "AUTH_ERR", None, "a password"),
        ("LOGIN", "AUTH_ERR", None, "an API key"),
        ("LOGIN", "AUTH_ERR", None, "a token"),
    ]
    await world.call("user.update", number, {"locked": True})
    assert not await call("auth.login", "ann", "pw")
    with pytest.raises(CallError):
        await call("auth.login", "ann", "pw")
    assert told(entries) == [
        ("LOGOUT", "OK", "ann", "ended"),
        ("LOGIN", "DENIED", "ann", "a locked account"),
        ("LOGIN", "EBUSY", "ann", "too many"),
    ]


async def test_keys_and_tokens_are_written_down(
    world: Any, entries: list[Entry]
) -> None:
    """SCRAM is a login with a key; a token says that it is one."""
    await world.user("ann", password=None)
    key = await world.call("api_key.create", {"username": "ann", "name": "k"})
    number, _, secret = key["key"].partition("-")
    token = ""
    for word in (secret, "guess"):
        session, client = world.connect(), ScramClient(f"ann:{number}", word)
        data = {"mechanism": "SCRAM", "scram_type": "CLIENT_FIRST_MESSAGE"}
        data["rfc_str"] = client.first
        answer = await session.context.call("auth.login_ex", data)
        data["scram_type"] = "CLIENT_FINAL_MESSAGE"
        data["rfc_str"] = client.final(answer["rfc_str"])
        await session.context.call("auth.login_ex", data)
        if word == secret:
            token = await session.context.call("auth.generate_token")
    assert await world.connect().context.call("auth.login_with_token", token)
    kinds = [
        entry.who.type for entry in entries if entry.event == "LOGIN" and entry.who
    ]
    assert kinds == ["API_KEY", "TOKEN"]
    assert ("LOGIN", "AUTH_ERR", "ann", "SCRAM") in told(entries)


async def test_logouts_are_written_down(world: Any, entries: list[Entry]) -> None:
    """With the reason, where it was not the login's own wish."""
    number = await world.user("ann", "JOB_USER", "POOL_READ")
    first, second, third, fourth = [await world.log_in("ann") for _ in range(4)]
    entries.clear()
    await first.context.call("auth.logout")
    await second.context.call("auth.terminate_session", third.id)
    change = {"username": "ann", "old_password": "pw", "new_password": "new"}
    await second.context.call("user.set_password", change)
    assert fourth.credentials is None
    await world.call("user.update", number, {"roles": ["JOB_USER"]})
    assert told(entries) == [
        ("LOGOUT", "OK", "ann", None),
        ("LOGOUT", "OK", "ann", "terminated"),
        ("LOGOUT", "OK", "ann", "password changed"),
        ("LOGOUT", "OK", "ann", "lost a role"),
    ]


async def test_changes_of_accounts_are_written_down(
    world: Any, entries: list[Entry]
) -> None:
    """What administrators and users do to accounts, keys and privileges."""
    await world.user("root", "FULL_ADMIN")
    session = await world.log_in("root")
    entries.clear()
    call = session.context.call
    made = await call("user.create", {"username": "bob", "password": "hush"})
    await call("privilege.create", {"name": "p", "roles": []})
    key = await call("api_key.create", {"username": "bob", "name": "k"})
    await call("api_key.delete", key["id"])
    await call("user.set_password", {"username": "bob", "new_password": "hush"})
    await call("user.delete", made["id"])
    for query in ("user.query", "api_key.query", "auth.sessions", "auth.me"):
        await call(query)
    assert [entry.method for entry in entries] == [
        "user.create",
        "privilege.create",
        "api_key.create",
        "api_key.delete",
        "user.set_password",
        "user.delete",
    ]
    assert {entry.who and entry.who.username for entry in entries} == {"root"}
    shown = b"".join(entry.params or b"" for entry in entries)
    assert b"hush" not in shown
    assert b'"username":"bob"' in shown
