"""What a logged-in connection asks about itself."""

from typing import Any

import pytest
from msgspec.structs import replace

from middlewared import CallError, Origin, ValidationErrors
from middlewared.access import SYSTEM

ME = {
    "pw_name",
    "pw_gecos",
    "pw_dir",
    "pw_shell",
    "pw_uid",
    "pw_gid",
    "grouplist",
    "sid",
    "source",
    "local",
    "attributes",
    "two_factor_config",
    "privilege",
    "account_attributes",
}


async def test_me_has_the_keys_of_the_protocol(world: Any) -> None:
    """auth.me describes a limited user in the words that clients read."""
    number = await world.user("ann", "POOL_READ", "JOB_USER")
    session = await world.log_in("ann")
    me = await session.context.call("auth.me")
    assert me.keys() == ME
    assert (me["pw_name"], me["pw_uid"]) == ("ann", number)
    privilege = me["privilege"]
    assert sorted(privilege.pop("roles")["$set"]) == ["JOB_USER", "POOL_READ"]
    assert privilege == {"allowlist": [], "web_shell": False, "webui_access": True}
    assert me["attributes"] == {}


async def test_attributes_belong_to_the_account(run: Any) -> None:
    """What clients keep shows in auth.me of every login, also after a restart."""
    preferences = {"lifetime": 300, "since": {"$date": 1}}
    async with run() as world:
        await world.user("ann")
        await world.user("bob")
        session = await world.log_in("ann")
        call = session.context.call
        await call("auth.set_attribute", "preferences", preferences)
        assert await call("auth.set_attribute", "theme", "dark") is None
        assert await call("auth.set_attribute", "theme", None) is None
    async with run() as world:
        me = await (await world.log_in("ann")).context.call("auth.me")
        assert me["attributes"] == {"preferences": preferences, "theme": None}
        me = await (await world.log_in("bob")).context.call("auth.me")
        assert me["attributes"] == {}


async def test_attributes_are_limited(world: Any) -> None:
    """Nobody fills the memory of the server, and who has no account keeps nothing."""
    await world.user("ann")
    session = await world.log_in("ann")
    with pytest.raises(ValidationErrors, match="value: the attributes have 655"):
        await session.context.call("auth.set_attribute", "x", "y" * 65_536)
    assert (await session.context.call("auth.me"))["attributes"] == {}
    with pytest.raises(CallError, match="has no account"):
        await world.call("auth.set_attribute", "x", 1)


async def test_me_of_an_admin_allows_everything(world: Any) -> None:
    """A full admin's allow-list is everything."""
    await world.user("root", "FULL_ADMIN")
    me = await (await world.log_in("root")).context.call("auth.me")
    assert me["privilege"]["roles"] == {"$set": ["FULL_ADMIN"]}
    assert me["privilege"]["allowlist"] == [{"method": "*", "resource": "*"}]


async def test_me_on_the_unix_socket_is_the_peer(world: Any) -> None:
    """Who has no account is described by name and user id of the system."""
    session = world.connect(Origin(uid=4711))
    session.login(replace(SYSTEM, type="UNIX_SOCKET", username="op"))
    me = await session.context.call("auth.me")
    assert (me["pw_name"], me["pw_uid"]) == ("op", 4711)


async def test_logout_leaves_the_connection_open_to_log_in(world: Any) -> None:
    """After logging out, a connection is as if it were new."""
    await world.user("ann")
    session = await world.log_in("ann")
    assert await session.context.call("auth.logout") is True
    for method in ("auth.me", "auth.logout", "auth.generate_token"):
        with pytest.raises(CallError, match="Not authenticated") as info:
            await session.context.call(method)
        assert info.value.errno == 207
    assert await session.context.call("auth.login", "ann", "pw")


async def test_peer_without_account_logs_out(world: Any) -> None:
    """Root on the unix socket may drop its rights; calls from inside have none."""
    session = world.connect(Origin(uid=0))
    session.login(replace(SYSTEM, type="UNIX_SOCKET"))
    assert await session.context.call("auth.logout") is True
    assert session.credentials is None
    with pytest.raises(CallError, match="Only a connection"):
        await world.call("auth.logout")


async def test_link_logs_in_once_within_an_hour(world: Any) -> None:
    """A link works once, from any address, and for an hour."""
    await world.user("ann", "JOB_USER", password=None)
    links = [await world.call("auth.login_link", "ann") for _ in range(2)]
    tokens = [link.removeprefix("/ui/#token=") for link in links]
    session = world.connect(Origin(address="2001:db8::1"))
    assert await session.context.call("auth.login_with_token", tokens[0])
    assert session.credentials.username == "ann"
    assert not await session.context.call("auth.login_with_token", tokens[0])
    world.clock.advance(3601)
    assert not await session.context.call("auth.login_with_token", tokens[1])


async def test_link_is_for_the_caller_or_the_first_admin(world: Any) -> None:
    """Without a name the link is one's own; without an account, the first admin's."""
    await world.user("bob", "JOB_USER", password=None)
    await world.user("root", "FULL_ADMIN", password=None)
    await world.user("ann", "FULL_ADMIN")
    ann = await world.log_in("ann")
    for context, name in ((ann.context, "ann"), (world.context, "root")):
        link = await context.call("auth.login_link")
        session = world.connect()
        token = link.removeprefix("/ui/#token=")
        assert await session.context.call("auth.login_with_token", token)
        assert session.credentials.username == name


async def test_link_for_nobody_is_refused(world: Any) -> None:
    """A link for an unknown or locked account is refused by name."""
    number = await world.user("ann", password=None)
    await world.call("user.update", number, {"locked": True})
    with pytest.raises(ValidationErrors, match="there is no account 'bob'"):
        await world.call("auth.login_link", "bob")
    with pytest.raises(CallError, match="account 'ann' is locked"):
        await world.call("auth.login_link", "ann")
