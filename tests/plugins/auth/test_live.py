"""Open sessions follow their accounts."""

import datetime as dt
import gc
import time
import weakref
from typing import Any

import anyio
import pytest

from middlewared import CallError


async def test_removed_account_has_no_sessions(world: Any) -> None:
    """Removing an account logs its sessions out, and nobody else's."""
    number = await world.user("ann")
    await world.user("bob")
    first, second = await world.log_in("ann"), await world.log_in("ann")
    other = await world.log_in("bob")
    await world.call("user.delete", number)
    assert first.credentials is None
    assert second.credentials is None
    assert other.credentials is not None
    with pytest.raises(CallError, match="Not authenticated"):
        await first.context.call("auth.me")


async def test_locked_account_has_no_sessions(world: Any) -> None:
    """Locking an account logs its sessions out."""
    number = await world.user("ann")
    session = await world.log_in("ann")
    await world.call("user.update", number, {"locked": True})
    assert session.credentials is None


async def test_lost_role_ends_the_session(world: Any) -> None:
    """Who loses a role is logged out, with the subscriptions it allowed."""
    number = await world.user("ann", "POOL_READ", "POOL_WATCH")
    session = await world.log_in("ann")
    assert await session.context.call("pool.names") == ["tank"]
    await world.call("user.update", number, {"roles": ["POOL_READ"]})
    assert session.credentials is None


@pytest.mark.parametrize("roles", [["POOL_READ", "JOB_USER"], ["FULL_ADMIN"]])
async def test_gained_role_works_at_once(world: Any, roles: list[str]) -> None:
    """Who gains a role keeps the session and may do more."""
    number = await world.user("ann", "JOB_USER")
    session = await world.log_in("ann")
    login_id = session.credentials.login_id
    with pytest.raises(CallError, match="Not authorized"):
        await session.context.call("pool.names")
    await world.call("user.update", number, {"roles": roles})
    assert await session.context.call("pool.names") == ["tank"]
    assert session.credentials.login_id == login_id


async def test_other_changes_leave_sessions_alone(world: Any) -> None:
    """A new full name is no reason to touch a session."""
    number = await world.user("ann", "JOB_USER")
    session = await world.log_in("ann")
    before = session.credentials
    await world.call("user.update", number, {"full_name": "Ann"})
    assert session.credentials is before


async def test_revoked_key_ends_its_sessions_only(world: Any) -> None:
    """Revoking a key logs out who came with it; passwords and other keys stay."""
    await world.user("ann")
    keys = [
        await world.call("api_key.create", {"username": "ann", "name": str(i)})
        for i in range(2)
    ]
    by_key = [world.connect() for _ in keys]
    for session, key in zip(by_key, keys, strict=True):
        assert await session.context.call("auth.login_with_api_key", key["key"])
    by_password = await world.log_in("ann")
    await world.call("api_key.delete", keys[0]["id"])
    assert by_key[0].credentials is None
    assert by_key[1].credentials is not None
    assert by_password.credentials is not None


async def test_new_password_keeps_keys_and_the_session_that_set_it(world: Any) -> None:
    """A new password ends the other logins, not the caller's nor those of keys."""
    await world.user("ann")
    key = await world.call("api_key.create", {"username": "ann", "name": "k"})
    program = world.connect()
    assert await program.context.call("auth.login_with_api_key", key["key"])
    caller, other = await world.log_in("ann"), await world.log_in("ann")
    await caller.context.call(
        "user.set_password",
        {"username": "ann", "old_password": "pw", "new_password": "new"},
    )
    assert caller.credentials is not None
    assert program.credentials is not None
    assert other.credentials is None


async def test_session_ends_when_its_key_expires(world: Any) -> None:
    """A session does not outlive the key that it logged in with."""
    await world.user("ann", password=None)
    soon = dt.datetime.fromtimestamp(world.clock.time_ms() / 1000 + 0.1, dt.UTC)
    key = await world.call(
        "api_key.create", {"username": "ann", "name": "k", "expires": soon}
    )
    session = world.connect()
    assert await session.context.call("auth.login_with_api_key", key["key"])
    ended = anyio.Event()
    session.on_logout(ended.set)
    world.clock.advance(1)
    with anyio.fail_after(10):
        await ended.wait()
    assert session.credentials is None


async def test_key_that_lives_on_is_looked_at_again(world: Any) -> None:
    """When the clock was set back, the session stays until the key's new end."""
    await world.user("ann", password=None)
    soon = dt.datetime.fromtimestamp(world.clock.time_ms() / 1000 + 0.1, dt.UTC)
    key = await world.call(
        "api_key.create", {"username": "ann", "name": "k", "expires": soon}
    )
    session = world.connect()
    assert await session.context.call("auth.login_with_api_key", key["key"])
    world.clock.advance(-0.1)
    ended = anyio.Event()
    session.on_logout(ended.set)
    began = time.monotonic()
    with anyio.move_on_after(0.15):
        await ended.wait()
    assert session.credentials is not None
    world.clock.advance(1)
    with anyio.fail_after(10):
        await ended.wait()
    assert time.monotonic() - began >= 0.15


async def test_session_ends_when_its_account_does(world: Any) -> None:
    """An account with an end is logged out then, whatever it logged in with."""
    number = await world.user("ann")
    key = await world.call("api_key.create", {"username": "ann", "name": "k"})
    by_key, by_password = world.connect(), await world.log_in("ann")
    assert await by_key.context.call("auth.login_with_api_key", key["key"])
    token = await by_password.context.call("auth.generate_token")
    soon = dt.datetime.fromtimestamp(world.clock.time_ms() / 1000 + 0.1, dt.UTC)
    await world.call("user.update", number, {"expires": soon})
    assert by_key.credentials is not None
    ended = anyio.Event()
    by_password.on_logout(ended.set)
    world.clock.advance(1)
    with anyio.fail_after(10):
        await ended.wait()
    assert (by_key.credentials, by_password.credentials) == (None, None)
    session = world.connect()
    assert not await session.context.call("auth.login_with_token", token)
    login = {"mechanism": "API_KEY_PLAIN", "username": "ann", "api_key": key["key"]}
    answer = await session.context.call("auth.login_ex", login)
    assert answer == {"response_type": "EXPIRED"}
    shown = await world.call("user.query", [], {"get": True})
    assert shown["expired"] is True
    await world.call("user.update", number, {"expires": None})
    await world.log_in("ann")


async def test_gone_sessions_cost_nothing(world: Any) -> None:
    """The plugin does not keep a session whose connection is gone."""
    await world.user("ann")
    session = await world.log_in("ann")
    session.close()
    reference = weakref.ref(session)
    world.drop(session)
    del session
    gc.collect()
    assert reference() is None
