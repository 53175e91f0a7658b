"""The logins on open connections: who sees them, and who ends them."""

from typing import Any

import pytest
from msgspec.structs import replace

from middlewared import CallError, Origin
from middlewared.access import SYSTEM

FAR = Origin(address="192.0.2.1")


async def root(world: Any) -> Any:
    """Make a peer of the unix socket that may do everything."""
    session = world.connect(Origin(uid=0))
    session.login(replace(SYSTEM, type="UNIX_SOCKET", username="root", login_id="u"))
    return session


async def test_sessions_are_described(world: Any) -> None:
    """A login is shown with where it comes from, how it got in, and as whom."""
    await world.user("ann")
    session = await world.log_in("ann", origin=FAR)
    login = session.credentials
    now = {"$date": world.clock.time_ms()}
    assert await session.context.call("auth.sessions") == [
        {
            "id": session.id,
            "current": True,
            "internal": False,
            "origin": "192.0.2.1",
            "credentials": "LOGIN_PASSWORD",
            "credentials_data": {
                "username": "ann",
                "login_id": login.login_id,
                "login_at": now,
                "api_key": None,
            },
            "created_at": now,
            "secure_transport": True,
        }
    ]


async def test_everybody_sees_the_own_and_admins_see_all(world: Any) -> None:
    """Connections that nobody is logged in on are never listed."""
    await world.user("ann")
    await world.user("bob")
    await world.user("eve", "READONLY_ADMIN")
    world.connect()
    local = await root(world)
    ann = await world.log_in("ann")
    key = await world.call("api_key.create", {"username": "ann", "name": "k"})
    by_key = world.connect()
    assert await by_key.context.call("auth.login_with_api_key", key["key"])
    bob, eve = await world.log_in("bob"), await world.log_in("eve")

    async def seen(session: Any) -> set[str]:
        listed = await session.context.call("auth.sessions")
        return {item["id"] for item in listed}

    assert await seen(ann) == await seen(by_key) == {ann.id, by_key.id}
    assert await seen(bob) == {bob.id}
    everybody = {local.id, ann.id, by_key.id, bob.id, eve.id}
    assert await seen(local) == await seen(eve) == everybody
    filters = [["credentials", "=", "API_KEY"], ["internal", "=", False]]
    (found,) = await local.context.call("auth.sessions", filters)
    assert found["credentials_data"]["api_key"] == key["id"]


async def test_own_session_is_terminated_for_good(run: Any) -> None:
    """It is logged out at once, and no token that it made logs in again."""
    async with run() as world:
        await world.user("ann")
        lost, mine = await world.log_in("ann"), await world.log_in("ann")
        tokens = [
            await lost.context.call("auth.generate_token", *params)
            for params in ([], [600, {}, True, True])
        ]
        kept = await mine.context.call("auth.generate_token")
        assert await mine.context.call("auth.terminate_session", lost.id) is True
        assert lost.credentials is None
        assert mine.credentials is not None
        with pytest.raises(CallError, match="Not authenticated"):
            await lost.context.call("auth.me")
        for token in tokens:
            assert not await lost.context.call("auth.login_with_token", token)
        assert await mine.context.call("auth.terminate_session", lost.id) is False
    async with run() as world:
        session = world.connect()
        assert not await session.context.call("auth.login_with_token", tokens[0])
        assert await session.context.call("auth.login_with_token", kept)


@pytest.mark.parametrize("role", ["JOB_USER", "READONLY_ADMIN"])
async def test_sessions_of_others_are_for_full_admins(world: Any, role: str) -> None:
    """To everybody else they are as if they were not there."""
    await world.user("ann")
    await world.user("eve", role)
    ann, eve, local = (
        await world.log_in("ann"),
        await world.log_in("eve"),
        await root(world),
    )
    for target in (ann, local):
        found = await eve.context.call("auth.terminate_session", target.id)
        assert found is False
    assert await eve.context.call("auth.terminate_session", "nobody") is False
    assert await eve.context.call("auth.terminate_other_sessions") is True
    assert None not in (ann.credentials, local.credentials, eve.credentials)
    assert await local.context.call("auth.terminate_session", ann.id) is True
    assert ann.credentials is None


async def test_all_others_are_terminated(world: Any) -> None:
    """One's own; a full admin ends everybody's, but for those on the unix socket."""
    await world.user("ann")
    await world.user("bob")
    local = await root(world)
    first, second = await world.log_in("ann"), await world.log_in("ann")
    bob = await world.log_in("bob")
    assert await second.context.call("auth.terminate_other_sessions") is True
    assert (first.credentials, bob.credentials is None) == (None, False)
    other = await root(world)
    assert await local.context.call("auth.terminate_other_sessions") is True
    assert (second.credentials, bob.credentials) == (None, None)
    assert None not in (local.credentials, other.credentials)
