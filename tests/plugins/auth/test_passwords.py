"""Passwords: who changes them, and when they are over."""

import datetime as dt
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from middlewared import CallError, Origin, ValidationErrors
from middlewared.errors import validation_extra
from middlewared.session import ClientSession


def refusal(info: pytest.ExceptionInfo[BaseException]) -> Any:
    """Give the one ``[attribute, text, errno]`` of a validation error."""
    extra = validation_extra(info.value)
    assert extra is not None
    assert len(extra) == 1
    return extra[0]


def login(word: str) -> dict[str, str]:
    """Build the params of a login of ann."""
    return {"mechanism": "PASSWORD_PLAIN", "username": "ann", "password": word}


async def test_own_password_needs_the_old_one(world: Any) -> None:
    """Nobody changes their own password without the old one, not even an admin."""
    await world.user("ann", "FULL_ADMIN")
    session = await world.log_in("ann")
    for old in ({}, {"old_password": "wrong"}):
        with pytest.raises(ValidationErrors) as info:
            await session.context.call(
                "user.set_password", {"username": "ann", "new_password": "new", **old}
            )
        assert refusal(info)[0] == "data.old_password"
    await session.context.call(
        "user.set_password",
        {"username": "ann", "new_password": "new", "old_password": "pw"},
    )
    assert session.credentials is not None
    await world.log_in("ann", "new")
    assert not await world.connect().context.call("auth.login", "ann", "pw")


async def test_guessing_the_old_password_is_limited(world: Any) -> None:
    """A stolen session cannot guess the password faster than a login can."""
    await world.user("ann")
    session = await world.log_in("ann")
    change = {"username": "ann", "new_password": "n", "old_password": "x"}
    for _ in range(5):
        with pytest.raises(ValidationErrors):
            await session.context.call("user.set_password", change)
    with pytest.raises(CallError, match="Rate Limit Exceeded"):
        await session.context.call("user.set_password", change)


async def test_admin_sets_the_password_of_another(world: Any) -> None:
    """A full admin needs no old password for others; it logs them out."""
    await world.user("root", "FULL_ADMIN")
    await world.user("ann")
    admin, ann = await world.log_in("root"), await world.log_in("ann")
    token = await ann.context.call("auth.generate_token")
    await admin.context.call(
        "user.set_password", {"username": "ann", "new_password": "new"}
    )
    assert ann.credentials is None
    assert admin.credentials is not None
    assert not await ann.context.call("auth.login_with_token", token)
    await world.log_in("ann", "new")


async def test_password_of_another_is_not_for_users(world: Any) -> None:
    """A limited user learns nothing of other accounts, not even whether they exist."""
    await world.user("ann")
    await world.user("bob")
    session = await world.log_in("ann")
    for name in ("bob", "nobody"):
        with pytest.raises(CallError, match="Not authorized"):
            await session.context.call(
                "user.set_password", {"username": name, "new_password": "new"}
            )
    with pytest.raises(ValidationErrors, match="there is no account 'nobody'"):
        await world.call(
            "user.set_password", {"username": "nobody", "new_password": "new"}
        )


async def test_key_cannot_give_its_account_a_first_password(world: Any) -> None:
    """A narrow API key does not become its whole account by setting a password."""
    await world.user("ann", "POOL_READ", password=None)
    key = await world.call(
        "api_key.create", {"username": "ann", "name": "k", "roles": []}
    )
    session = world.connect()
    assert await session.context.call("auth.login_with_api_key", key["key"])
    with pytest.raises(CallError, match="Not authorized"):
        await session.context.call(
            "user.set_password", {"username": "ann", "new_password": "new"}
        )


async def test_one_of_two_new_passwords_wins(world: Any) -> None:
    """Two changes that start from the same password do not both succeed."""
    await world.user("ann", "FULL_ADMIN")
    sessions = [await world.log_in("ann") for _ in range(2)]
    outcomes: list[str] = []

    async def change(session: ClientSession, word: str) -> None:
        data = {"username": "ann", "old_password": "pw", "new_password": word}
        try:
            await session.context.call("user.set_password", data)
        except (CallError, ValidationErrors) as exc:
            outcomes.append(str(exc))
        else:
            outcomes.append(f"set {word}")

    async with anyio.create_task_group() as group:
        for number, session in enumerate(sessions):
            group.start_soon(change, session, f"new{number}")
    won, lost = sorted(outcomes, reverse=True)
    assert "meanwhile" in lost or "is not the password" in lost
    await world.log_in("ann", won.removeprefix("set "))


async def test_password_of_an_account_that_goes_meanwhile(world: Any) -> None:
    """A password that is set while its account is removed is refused."""
    number = await world.user("ann")
    outcomes: list[str] = []

    async def change() -> None:
        data = {"username": "ann", "new_password": "new"}
        try:
            await world.call("user.set_password", data)
        except ValidationErrors as exc:
            outcomes.append(exc.errors[0].text)

    async with anyio.create_task_group() as group:
        group.start_soon(change)
        await anyio.lowlevel.checkpoint()
        await world.call("user.delete", number)
    assert outcomes == ["there is no account 'ann'"]


async def test_password_is_over_after_its_days(run: Any) -> None:
    """The right one then answers EXPIRED; before a login it only sets a new one."""
    async with run(password_days=30) as world:
        await world.user("ann")
        open_session = await world.log_in("ann")
        world.clock.advance(30 * 86_400)
        session = world.connect(Origin())
        answer = await session.context.call("auth.login_ex", login("pw"))
        assert answer == {"response_type": "EXPIRED"}
        assert await session.context.call("auth.login", "ann", "pw") is False
        wrong = await session.context.call("auth.login_ex", login("no"))
        assert wrong == {"response_type": "AUTH_ERR"}
        change = {"username": "ann", "old_password": "pw", "new_password": "new"}
        await session.context.call("user.set_password", change)
        assert session.credentials is None
        assert open_session.credentials is None
        answer = await session.context.call("auth.login_ex", login("new"))
        assert answer["response_type"] == "SUCCESS"


async def test_administrator_asks_for_a_new_password(world: Any) -> None:
    """An account may have to change its password at the next login."""
    number = await world.user("ann")
    await world.call("user.update", number, {"must_change_password": True})
    session = world.connect(Origin())
    assert await session.context.call("auth.login", "ann", "pw") is False
    change = {"username": "ann", "old_password": "pw", "new_password": "pw"}
    with pytest.raises(ValidationErrors) as info:
        await session.context.call("user.set_password", change)
    assert refusal(info)[:2] == ("data.new_password", "is the old password")
    await session.context.call("user.set_password", change | {"new_password": "new"})
    await world.log_in("ann", "new")
    shown = await world.call("user.query", [], {"get": True})
    assert shown["must_change_password"] is False


async def test_passwords_are_not_sent_in_clear(world: Any) -> None:
    """Over plain HTTP from elsewhere no password is taken, right or wrong."""
    await world.user("ann")
    session = world.connect(Origin(address="192.0.2.1", secure=False))
    change = {"username": "ann", "old_password": "pw", "new_password": "new"}
    with pytest.raises(CallError, match="plain HTTP"):
        await session.context.call("user.set_password", change)
    await world.log_in("ann")


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_stranger_learns_nothing_of_a_wrong_password(
    world: Any, name: str
) -> None:
    """Before a login a wrong old password reads the same for every name."""
    await world.user("ann")
    change = {"username": name, "old_password": "x", "new_password": "new"}
    for given in (change, {"username": name, "new_password": "new"}):
        with pytest.raises(ValidationErrors) as info:
            await world.connect().context.call("user.set_password", given)
        assert refusal(info) == (
            "data.old_password",
            "is not the password of this account",
            22,
        )


@pytest.mark.parametrize("change", [{"locked": True}, {"expires": "past"}])
async def test_closed_account_changes_no_password(
    world: Any, change: dict[str, Any]
) -> None:
    """Who is locked or over does not get in through a new password."""
    number = await world.user("ann")
    if "expires" in change:
        ends = dt.datetime.fromtimestamp(world.clock.time_ms() / 1000 - 1, dt.UTC)
        change = {"expires": ends}
    await world.call("user.update", number, change)
    data = {"username": "ann", "old_password": "pw", "new_password": "new"}
    with pytest.raises(CallError, match="Not authorized"):
        await world.connect().context.call("user.set_password", data)
    answer = await world.connect().context.call("auth.login_ex", login("pw"))
    expected = "DENIED" if "locked" in change else "EXPIRED"
    assert answer == {"response_type": expected}
