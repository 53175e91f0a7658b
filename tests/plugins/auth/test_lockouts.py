"""The lock-out of names after wrong passwords."""

import errno
from typing import Any

import pytest

from middlewared import CallError, Origin, ValidationErrors
from middlewared_auth.lockouts import MAX_STRANGERS, Lockouts

UNIX = Origin()  # not limited by address


def lockouts(clock: Any, failures: int = 3, *, known: str = "ann") -> Lockouts:
    return Lockouts(failures, 60.0, clock, lambda name: name == known)


async def guess(world: Any, name: str, times: int = 3) -> None:
    """Try wrong passwords, each from an address of its own."""
    for number in range(times):
        session = world.connect(Origin(address=f"192.0.2.{number}"))
        assert not await session.context.call("auth.login", name, "wrong")


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_name_is_locked_out_after_wrong_passwords(run: Any, name: str) -> None:
    """Wherever they come from; then nothing is tried, right or wrong, for a while."""
    async with run(lockout_failures=3, lockout_seconds=60) as world:
        await world.user("ann")
        await guess(world, name)
        session = world.connect(UNIX)
        for word in ("pw", "wrong"):
            with pytest.raises(CallError) as info:
                await session.context.call("auth.login", name, word)
            assert info.value.errno == errno.EBUSY
            assert info.value.text == "Too many failed logins with this name, wait 60 s"
        world.clock.advance(61)
        assert await session.context.call("auth.login", name, "pw") is (name == "ann")


async def test_lock_out_leaves_other_ways_in(run: Any) -> None:
    """Keys, tokens, open sessions and other names go on; the list shows it."""
    async with run(lockout_failures=3) as world:
        number = await world.user("ann")
        await world.user("bob")
        session = await world.log_in("ann")
        key = await world.call("api_key.create", {"username": "ann", "name": "k"})
        token = await session.context.call("auth.generate_token")
        await guess(world, "ann")
        shown = await world.call("user.query", [["id", "=", number]], {"get": True})
        assert (shown["locked_out"], shown["locked"]) == (True, False)
        assert session.credentials is not None
        other = world.connect()
        assert await other.context.call("auth.login_with_api_key", key["key"])
        assert await other.context.call("auth.login_with_token", token)
        await world.log_in("bob")


async def test_administrator_ends_it(run: Any) -> None:
    """Unlocking the account forgives."""
    async with run(lockout_failures=3) as world:
        number = await world.user("ann")
        await guess(world, "ann")
        after = await world.call("user.update", number, {"locked": False})
        assert after["locked_out"] is False
        await world.log_in("ann")


async def test_right_password_forgives(run: Any) -> None:
    """Who mistypes now and then is never locked out."""
    async with run(lockout_failures=3) as world:
        await world.user("ann")
        for _ in range(4):
            await guess(world, "ann", 2)
            await world.log_in("ann", origin=UNIX)


async def test_old_password_is_guessed_no_faster(run: Any) -> None:
    """Changing a password counts like a login, before a login and after."""
    async with run(lockout_failures=2) as world:
        await world.user("ann")
        session = await world.log_in("ann", origin=UNIX)
        change = {"username": "ann", "old_password": "x", "new_password": "new"}
        for context in (session.context, world.connect(UNIX).context):
            with pytest.raises(ValidationErrors, match="is not the password"):
                await context.call("user.set_password", change)
        for context in (session.context, world.connect(UNIX).context):
            with pytest.raises(CallError, match="Too many failed logins"):
                await context.call("user.set_password", change | {"old_password": "pw"})


async def test_it_can_be_turned_off(run: Any) -> None:
    """With 0 nothing is counted."""
    async with run(lockout_failures=0) as world:
        await world.user("ann")
        await guess(world, "ann", 12)
        await world.log_in("ann", origin=UNIX)


def test_attempts_count_before_they_are_answered(clock: Any) -> None:
    """Guesses side by side are not worth more than one after the other."""
    found = lockouts(clock)
    for _ in range(3):
        found.begin("ann")
    with pytest.raises(CallError, match="wait 60 s"):
        found.begin("ann")
    clock.advance(59.5)
    with pytest.raises(CallError, match="wait 1 s"):
        found.begin("ann")


def test_old_failures_are_forgotten(clock: Any) -> None:
    """What is longer ago than a lock-out takes does not count."""
    found = lockouts(clock)
    for _ in range(10):
        found.begin("ann")
        found.begin("ann")
        clock.advance(61)


def test_memory_for_names_is_bounded(clock: Any) -> None:
    """Of names that nobody has the oldest give way; an account's never does."""
    found = lockouts(clock, 1)
    found.begin("ann")
    for number in range(MAX_STRANGERS + 1):
        found.begin(f"name{number}")
    assert found.seconds_left("name0") == 0
    assert found.seconds_left(f"name{MAX_STRANGERS}") == 60
    assert found.seconds_left("ann") == 60


def test_name_that_becomes_an_account(clock: Any) -> None:
    """Failures count for what the name is when they happen."""
    names: set[str] = set()
    found = Lockouts(2, 60.0, clock, names.__contains__)
    found.begin("ann")
    names.add("ann")
    found.begin("ann")
    assert found.seconds_left("ann") == 0
    found.begin("ann")
    assert found.seconds_left("ann") == 60
    names.clear()
    found.forgive("ann")
    found.begin("ann")
    assert found.seconds_left("ann") == 0
