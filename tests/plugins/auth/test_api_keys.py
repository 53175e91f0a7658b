"""API keys, as administrators see them over the wire."""

import datetime as dt
import re
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from middlewared import CallError, ValidationErrors


async def create(world: Any, **data: Any) -> Any:
    """Make a key of account ann."""
    return await world.call("api_key.create", {"username": "ann", "name": "k", **data})


async def test_key_is_shown_once(run: Any) -> None:
    """The answer of create has the key in clear; nothing else ever has."""
    async with run() as world:
        await world.user("ann", password=None)
        made = await create(world, name="backup")
        assert made.keys() == {"id", "name", "key"}
        assert re.fullmatch(rf"{made['id']}-[a-zA-Z0-9]{{64}}", made["key"])
        (listed,) = await world.call("api_key.query")
        assert listed == {
            "id": made["id"],
            "name": "backup",
            "username": "ann",
            "roles": None,
            "created": {"$date": world.clock.time_ms()},
            "expires": None,
            "expired": False,
        }
        rows = await world.context.database.read("SELECT * FROM api_keys")
        assert made["key"].partition("-")[2] not in str(rows)
    async with run() as world:
        session = world.connect()
        assert await session.context.call("auth.login_with_api_key", made["key"])


async def test_revoked_key_is_gone_but_not_its_id(run: Any) -> None:
    """A revoked key is not listed; its verifier is erased and its id never reused."""
    async with run() as world:
        await world.user("ann", password=None)
        first = await create(world)
        assert await world.call("api_key.delete", first["id"]) is True
        assert await world.call("api_key.query") == []
        rows = await world.context.database.read(
            "SELECT name, stored_key, server_key FROM api_keys"
        )
        assert rows == [("k", b"", b"")]
        with pytest.raises(ValidationErrors, match="no API key with id 1"):
            await world.call("api_key.delete", first["id"])
    async with run() as world:
        assert (await create(world))["id"] > first["id"]


async def test_keys_go_with_their_account(run: Any) -> None:
    """Removing an account revokes its keys, in the table too."""
    async with run() as world:
        number = await world.user("ann", password=None)
        await world.user("bob", password=None)
        key = await create(world)
        other = await world.call("api_key.create", {"username": "bob", "name": "b"})
        await world.call("user.delete", number)
        assert [k["id"] for k in await world.call("api_key.query")] == [other["id"]]
    async with run() as world:
        assert [k["id"] for k in await world.call("api_key.query")] == [other["id"]]
        session = world.connect()
        assert not await session.context.call("auth.login_with_api_key", key["key"])


async def test_key_is_narrowed_to_roles(world: Any) -> None:
    """A key does what its roles say, and never more than its account."""
    number = await world.user("ann", "POOL_READ", "JOB_USER", password=None)
    key = await create(world, roles=["POOL_READ"])
    session = world.connect()
    assert await session.context.call("auth.login_with_api_key", key["key"])
    assert session.credentials.roles == {"POOL_READ"}
    await world.call("user.update", number, {"roles": ["JOB_USER"]})
    session = world.connect()
    assert await session.context.call("auth.login_with_api_key", key["key"])
    assert session.credentials.roles == set()


async def test_narrow_key_stays_narrow_after_a_restart(run: Any) -> None:
    """What a key was narrowed to is kept in the table."""
    async with run() as world:
        await world.user("ann", "POOL_READ", "JOB_USER", password=None)
        key = await create(world, roles=["JOB_USER"])
    async with run() as world:
        session = world.connect()
        assert await session.context.call("auth.login_with_api_key", key["key"])
        assert session.credentials.roles == {"JOB_USER"}
        assert (await world.call("api_key.query"))[0]["roles"] == ["JOB_USER"]


async def test_key_of_an_admin_may_be_limited(world: Any) -> None:
    """A full admin's key can have any role that exists, and then only that."""
    await world.user("ann", "FULL_ADMIN", password=None)
    key = await create(world, roles=["JOB_USER"])
    session = world.connect()
    assert await session.context.call("auth.login_with_api_key", key["key"])
    assert session.credentials.roles == {"JOB_USER"}


async def test_unfit_roles_are_refused(world: Any) -> None:
    """A key cannot have roles that nobody declares or that its account lacks."""
    await world.user("ann", "JOB_USER", password=None)
    with pytest.raises(ValidationErrors, match=r"data\.roles\.0: there is no role 'X'"):
        await create(world, roles=["X"])
    with pytest.raises(ValidationErrors, match="'ann' does not have POOL_READ"):
        await create(world, roles=["POOL_READ", "JOB_USER"])


async def test_key_for_an_account_that_goes_meanwhile(world: Any) -> None:
    """No key is made for an account that is removed while it is derived."""
    number = await world.user("ann", password=None)
    outcomes: list[str] = []

    async def make() -> None:
        try:
            await create(world)
        except ValidationErrors as exc:
            outcomes.append(exc.errors[0].text)

    async with anyio.create_task_group() as group:
        group.start_soon(make)
        await anyio.lowlevel.checkpoint()
        await world.call("user.delete", number)
    assert outcomes == ["there is no account 'ann'"]
    assert await world.context.database.read("SELECT * FROM api_keys") == []


async def test_update_changes_what_is_given(run: Any) -> None:
    """Name, roles and end of a key change; the key itself goes on working."""
    async with run() as world:
        await world.user("ann", "POOL_READ", "JOB_USER", password=None)
        key = await create(world)
        after = await world.call("api_key.update", key["id"], {"name": "new"})
        assert (after["name"], after["roles"], after["expires"]) == ("new", None, None)
        ends = dt.datetime.fromtimestamp(world.clock.time_ms() / 1000 + 10, dt.UTC)
        changes = {"roles": ["JOB_USER"], "expires": ends}
        after = await world.call("api_key.update", key["id"], changes)
    async with run() as world:
        assert await world.call("api_key.query", [], {"get": True}) == after
        assert (after["name"], after["roles"]) == ("new", ["JOB_USER"])
        assert after["expires"] == {"$date": world.clock.time_ms() + 10_000}
        session = world.connect()
        assert await session.context.call("auth.login_with_api_key", key["key"])
        back = {"roles": None, "expires": None}
        after = await world.call("api_key.update", key["id"], back)
        assert (after["roles"], after["expires"]) == (None, None)


async def test_update_reaches_sessions(world: Any) -> None:
    """Who came with a key gains its roles, and is logged out when it loses one."""
    await world.user("ann", "POOL_READ", "JOB_USER", password=None)
    key = await create(world, roles=["JOB_USER"])
    session = world.connect()
    assert await session.context.call("auth.login_with_api_key", key["key"])
    await world.call("api_key.update", key["id"], {"roles": None})
    assert session.credentials.roles == {"POOL_READ", "JOB_USER"}
    await world.call("api_key.update", key["id"], {"roles": []})
    assert session.credentials is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": ""}, "data.name: '': expected"),
        ({"roles": ["X"]}, "data.roles.0: there is no role 'X'"),
        ({"roles": ["POOL_READ"]}, "'ann' does not have POOL_READ"),
    ],
)
async def test_mistaken_update_changes_nothing(
    world: Any, change: dict[str, Any], text: str
) -> None:
    """A refused change leaves the key as it was."""
    await world.user("ann", "JOB_USER", password=None)
    key = await create(world)
    before = await world.call("api_key.query")
    with pytest.raises(ValidationErrors, match=re.escape(text)):
        await world.call("api_key.update", key["id"], change)
    assert await world.call("api_key.query") == before


async def test_key_that_goes_meanwhile_is_not_changed(world: Any) -> None:
    """A change that waits for a revocation finds no key."""
    await world.user("ann", password=None)
    key = await create(world)
    outcomes: list[str] = []

    async def change() -> None:
        try:
            await world.call("api_key.update", key["id"], {"name": "new"})
        except ValidationErrors as exc:
            outcomes.append(exc.errors[0].text)

    async with anyio.create_task_group() as group:
        group.start_soon(world.call, "api_key.delete", key["id"])
        await anyio.lowlevel.checkpoint()
        group.start_soon(change)
    assert outcomes == [f"there is no API key with id {key['id']}"]


async def test_own_keys_need_a_role_of_their_own(world: Any) -> None:
    """Who has API_KEY_WRITE makes, changes and revokes keys, for itself only."""
    await world.user("ann", "API_KEY_WRITE", "JOB_USER")
    await world.user("bob", "API_KEY_READ", password="pw")
    await create(world)
    ann, bob = await world.log_in("ann"), await world.log_in("bob")
    made = await ann.context.call("api_key.create", {"username": "ann", "name": "own"})
    assert len(await ann.context.call("api_key.query")) == 2
    assert await bob.context.call("api_key.query") == []
    changed = await ann.context.call("api_key.update", made["id"], {"name": "mine"})
    assert changed["name"] == "mine"
    other = await world.call("api_key.create", {"username": "bob", "name": "b"})
    for method, params in (
        ("api_key.update", [other["id"], {"name": "x"}]),
        ("api_key.delete", [other["id"]]),
    ):
        with pytest.raises(ValidationErrors, match="there is no API key with id"):
            await ann.context.call(method, *params)
    for name in ("bob", "nobody"):
        with pytest.raises(CallError, match="Not authorized"):
            await ann.context.call("api_key.create", {"username": name, "name": "x"})
    with pytest.raises(CallError, match="Not authorized"):
        await bob.context.call("api_key.delete", other["id"])
    assert await ann.context.call("api_key.delete", made["id"]) is True


async def test_keys_make_no_keys(world: Any) -> None:
    """A narrow key, or a token that came from it, does not widen itself."""
    await world.user("ann", "API_KEY_WRITE", "JOB_USER", password=None)
    key = await create(world, roles=["API_KEY_WRITE"])
    by_key, by_token = world.connect(), world.connect()
    assert await by_key.context.call("auth.login_with_api_key", key["key"])
    token = await by_key.context.call("auth.generate_token")
    assert await by_token.context.call("auth.login_with_token", token)
    for session in (by_key, by_token):
        with pytest.raises(CallError, match="Not authorized"):
            await session.context.call(
                "api_key.create", {"username": "ann", "name": "wide"}
            )
        with pytest.raises(ValidationErrors, match="there is no API key"):
            await session.context.call("api_key.update", key["id"], {"roles": None})


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256])
async def test_bad_name_is_refused(world: Any, name: str) -> None:
    """A key has a name of one line, so that lists stay readable."""
    await world.user("ann", password=None)
    with pytest.raises(ValidationErrors, match=r"data\.name"):
        await create(world, name=name)


async def test_key_for_nobody_is_refused(world: Any) -> None:
    """A key needs an account."""
    with pytest.raises(ValidationErrors, match="there is no account 'ann'"):
        await create(world)


async def test_expiry_is_shown(world: Any) -> None:
    """A key with an end shows it, and whether it is over."""
    await world.user("ann", password=None)
    ends = dt.datetime.fromtimestamp(world.clock.time_ms() / 1000 + 10, dt.UTC)
    await create(world, expires=ends)
    (listed,) = await world.call("api_key.query")
    assert listed["expires"] == {"$date": world.clock.time_ms() + 10_000}
    assert listed["expired"] is False
    world.clock.advance(10)
    (listed,) = await world.call("api_key.query")
    assert listed["expired"] is True
