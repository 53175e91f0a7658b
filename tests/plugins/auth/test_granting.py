"""Privileges: groups of roles that accounts hold."""

import datetime as dt
from typing import Any

import pytest

from middlewared import CallError, ValidationErrors
from middlewared.errors import validation_extra
from middlewared_auth.account import Privilege
from middlewared_auth.privileges import Privileges


async def grant(world: Any, name: str, *roles: str) -> int:
    """Make a privilege and return its id."""
    data = {"name": name, "roles": list(roles)}
    return int((await world.call("privilege.create", data))["id"])


async def hold(world: Any, number: int, *names: str) -> Any:
    """Give an account exactly these privileges."""
    return await world.call("user.update", number, {"privileges": list(names)})


async def test_holder_of_a_privilege_has_its_roles(run: Any) -> None:
    """An account may what its own roles and its privileges say."""
    async with run() as world:
        number = await world.user("ann", "JOB_USER")
        made = await world.call(
            "privilege.create", {"name": "operators", "roles": ["POOL_READ"]}
        )
        assert made == {
            "id": 1,
            "name": "operators",
            "roles": ["POOL_READ"],
            "users": [],
            "created": {"$date": world.clock.time_ms()},
        }
        after = await hold(world, number, "operators")
        assert (after["roles"], after["privileges"]) == (["JOB_USER"], ["operators"])
        assert after["all_roles"] == ["JOB_USER", "POOL_READ"]
        assert (await world.call("privilege.query"))[0]["users"] == ["ann"]
    async with run() as world:
        session = await world.log_in("ann")
        assert session.credentials.roles == {"JOB_USER", "POOL_READ"}
        assert await session.context.call("pool.names") == ["tank"]


async def test_changes_reach_holders_at_once(world: Any) -> None:
    """Holders gain a role on the open connection; who loses one is logged out."""
    number = await world.user("ann", "JOB_USER")
    key = await grant(world, "operators", "POOL_WATCH")
    await hold(world, number, "operators")
    bob = await world.user("bob", "JOB_USER")
    ann, other = await world.log_in("ann"), await world.log_in("bob")
    await world.call("privilege.update", key, {"roles": ["POOL_WATCH", "POOL_READ"]})
    assert await ann.context.call("pool.names") == ["tank"]
    await world.call("privilege.update", key, {"name": "readers", "roles": []})
    assert ann.credentials is None
    assert other.credentials is not None
    await hold(world, bob, "readers")
    assert await world.call("privilege.delete", key) is True
    assert await world.call("privilege.query") == []
    users = await world.call("user.query")
    assert [user["privileges"] for user in users] == [[], []]


async def test_keys_of_a_holder_follow(world: Any) -> None:
    """A key may be narrowed to a role of a privilege, and loses it with that."""
    number = await world.user("ann")
    grown = await grant(world, "operators", "POOL_READ", "JOB_USER")
    await hold(world, number, "operators")
    key = await world.call(
        "api_key.create", {"username": "ann", "name": "k", "roles": ["POOL_READ"]}
    )
    session = world.connect()
    assert await session.context.call("auth.login_with_api_key", key["key"])
    assert session.credentials.roles == {"POOL_READ"}
    await world.call("privilege.update", grown, {"roles": ["JOB_USER"]})
    assert session.credentials is None


async def test_last_admin_by_privilege_stays(world: Any) -> None:
    """The privilege that makes the only full admin is neither lowered nor removed."""
    number = await world.user("ann")
    admins = await grant(world, "admins", "FULL_ADMIN")
    await hold(world, number, "admins")
    for method, params in (
        ("privilege.delete", [admins]),
        ("privilege.update", [admins, {"roles": ["JOB_USER"]}]),
        ("user.update", [number, {"privileges": []}]),
        ("user.update", [number, {"expires": dt.datetime(2100, 1, 1, tzinfo=dt.UTC)}]),
        ("user.delete", [number]),
    ):
        with pytest.raises(CallError, match="'ann' is the last account with"):
            await world.call(method, *params)
    (privilege,) = await world.call("privilege.query")
    assert (privilege["roles"], privilege["users"]) == (["FULL_ADMIN"], ["ann"])
    await world.user("bob", "FULL_ADMIN")
    assert await world.call("privilege.delete", admins)


@pytest.mark.parametrize(
    ("method", "params", "attribute", "text"),
    [
        ("create", [{"name": "a", "roles": []}], "data.name", "'a' already"),
        ("create", [{"name": "", "roles": []}], "data.name", "1 to 255 printable"),
        ("create", [{"name": "c", "roles": ["X"]}], "data.roles.0", "no role 'X'"),
        ("update", [2, {"name": "a"}], "data.name", "'a' already"),
        ("update", [2, {"name": "\n"}], "data.name", "1 to 255 printable"),
        ("update", [2, {"roles": ["X"]}], "data.roles.0", "no role 'X'"),
        ("update", [9, {}], None, "no privilege with id 9"),
        ("delete", [9], None, "no privilege with id 9"),
    ],
)
async def test_mistakes_change_nothing(
    world: Any, method: str, params: list[Any], attribute: str | None, text: str
) -> None:
    """A refused change names the value, and leaves what there was."""
    for name in ("a", "b"):
        await grant(world, name, "JOB_USER")
    before = await world.call("privilege.query")
    with pytest.raises(ValidationErrors) as info:
        await world.call(f"privilege.{method}", *params)
    extra = validation_extra(info.value)
    assert extra is not None
    assert extra[0][0] == attribute
    assert text in extra[0][1]
    assert await world.call("privilege.query") == before


async def test_unknown_privilege_is_not_given(world: Any) -> None:
    """An account gets no privilege that does not exist."""
    await grant(world, "a")
    with pytest.raises(ValidationErrors, match=r"privileges\.1: there is no .* 'b'"):
        await world.call("user.create", {"username": "x", "privileges": ["a", "b"]})
    made = await world.call("user.create", {"username": "x", "privileges": ["a"]})
    assert made["privileges"] == ["a"]


async def test_ids_are_never_reused(run: Any) -> None:
    """A privilege that is gone never passes its id, and so its holders, to another."""
    async with run() as world:
        first = await grant(world, "a")
        assert await world.call("privilege.delete", first)
    async with run() as world:
        again = await grant(world, "a")
        assert again > first
        privileges = world.get(Privileges)
        assert privileges.get(again) == Privilege(
            id=again, name="a", roles=frozenset(), created=world.clock.time_ms()
        )
        assert privileges.get(first) is None


async def test_read_only_admin_sees_and_changes_nothing(world: Any) -> None:
    """READONLY_ADMIN reads every list, and changes none."""
    await grant(world, "a", "READONLY_ADMIN")
    await world.call(
        "user.create", {"username": "x", "privileges": ["a"], "password": "pw"}
    )
    session = await world.log_in("x")
    for method in ("privilege.query", "user.query", "api_key.query", "pool.names"):
        assert isinstance(await session.context.call(method), list)
    for method, *params in (
        ("privilege.delete", 1),
        ("user.delete", 1),
        ("user.create", {"username": "y"}),
        ("api_key.create", {"username": "x", "name": "k"}),
        ("auth.login_link",),
    ):
        with pytest.raises(CallError, match="Not authorized"):
            await session.context.call(method, *params)
