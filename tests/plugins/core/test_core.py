"""ping, set_options, subscribe, unsubscribe."""

import uuid
from typing import Any

import pytest
from jobs_stage import World, running_world
from jobs_wire import Wire

STRANGERS = {"legacy_jobs": True, "private_methods": False, "py_exceptions": False}


async def test_ping(admin: Wire, stranger: Wire) -> None:
    """Everybody is answered, logged in or not."""
    for wire in (admin, stranger):
        assert await wire.call("core.ping") == "pong"


async def test_ping_takes_nothing(stranger: Wire) -> None:
    """A param too many is told as such."""
    error = await stranger.fail("core.ping", 1)
    assert error.code == -32602
    text = "Too many arguments (expected 0, found 1)"
    assert error.data["extra"] == [["", text, 22]]


async def test_options_have_their_defaults(stranger: Wire) -> None:
    """Changing nothing gives all three, as they are."""
    await stranger.call("core.set_options", {"legacy_jobs": True})
    assert await stranger.call("core.set_options", {}) == STRANGERS


async def test_options_change_one_by_one(stranger: Wire) -> None:
    """What is not named stays, what is unknown is ignored; all three come back."""
    set_options = "core.set_options"
    await stranger.call(set_options, {"legacy_jobs": False})
    found = await stranger.call(set_options, {"private_methods": True, "more": 1})
    assert found == {**STRANGERS, "legacy_jobs": False, "private_methods": True}
    found = await stranger.call(set_options, {"legacy_jobs": True})
    assert found == {**STRANGERS, "private_methods": True}


async def test_pickles_never_cross_the_wire(stranger: Wire) -> None:
    """``py_exceptions`` is accepted and answered with false."""
    found = await stranger.call("core.set_options", {"py_exceptions": True})
    assert found["py_exceptions"] is False


@pytest.mark.parametrize("options", [{"legacy_jobs": 1}, [], None, "x"])
async def test_wrong_options_are_refused(stranger: Wire, options: Any) -> None:
    """Options of another type change nothing."""
    before = await stranger.call("core.set_options", {})
    error = await stranger.fail("core.set_options", options)
    assert error.code == -32602
    assert await stranger.call("core.set_options", {}) == before


async def test_options_belong_to_a_connection(world: World, admin: Wire) -> None:
    """What one connection sets, another does not have."""
    async with world.admin(new_style=False, watch=False) as other:
        assert await other.call("core.set_options", {}) == STRANGERS
        assert (await admin.call("core.set_options", {}))["legacy_jobs"] is False


async def test_subscription_has_an_ident(admin: Wire) -> None:
    """An ident is a uuid, each time another one."""
    one, two = [await admin.call("core.subscribe", "core.get_jobs") for _ in range(2)]
    assert uuid.UUID(one) != uuid.UUID(two)


async def test_last_unsubscribe_ends_the_events(admin: Wire) -> None:
    """Events come until the last of several subscriptions is ended."""
    one, two = [await admin.watch() for _ in range(2)]
    await admin.call("core.unsubscribe", one)
    await admin.run("t.echo")
    count = len(admin.events())
    assert count == 3
    await admin.call("core.unsubscribe", two)
    await admin.call("t.echo")
    assert len(admin.events()) == count


async def test_unknown_ident_is_ignored(admin: Wire) -> None:
    """Ending what does not exist is no error."""
    assert await admin.call("core.unsubscribe", "nothing") is None
    ident = await admin.watch()
    for _ in range(2):
        assert await admin.call("core.unsubscribe", ident) is None


@pytest.mark.parametrize("method", ["core.subscribe", "core.unsubscribe"])
async def test_strangers_do_not_subscribe(stranger: Wire, method: str) -> None:
    """Before login it is error 207, which the official client waits for."""
    error = await stranger.fail(method, "core.get_jobs")
    assert (error.code, error.errno) == (-32001, 207)
    assert error.data["errname"] == "ENOTAUTHENTICATED"
    assert error.reason == "[ENOTAUTHENTICATED] Not authenticated"


async def test_star_gives_all_collections(admin: Wire) -> None:
    """A full admin may listen to everything."""
    await admin.call("core.subscribe", "*")
    await admin.run("t.echo")
    assert [e["msg"] for e in admin.events()] == ["added", "changed", "changed"]


async def test_users_do_not_listen_to_everything(world: World) -> None:
    """Star and unknown names are for full admins; unknown ones never fire."""
    await world.add_user("ann")
    async with world.user("ann", watch=False) as ann, world.admin() as admin:
        for name in ("*", "no.such", "auth.sessions"):
            assert (await ann.fail("core.subscribe", name)).errno == 13
        assert await admin.call("core.subscribe", "no.such")
        assert await ann.watch()


async def test_too_many_subscriptions_are_refused() -> None:
    """Over the limit of a connection it is EDQUOT; ending one makes room."""
    kernel = {"max_subscriptions": 3}
    async with running_world(kernel=kernel) as world, world.admin() as wire:
        idents = [await wire.watch() for _ in range(2)]
        assert (await wire.fail("core.subscribe", "core.get_jobs")).errno == 122
        await wire.call("core.unsubscribe", idents[0])
        assert await wire.watch()


async def test_logout_ends_the_events(world: World) -> None:
    """After logout no event comes any more, also not after another login."""
    await world.add_user("ann")
    async with world.user("ann") as ann, world.admin() as admin:
        assert await ann.call("auth.logout") is True
        await admin.run("t.echo")
        assert (await ann.fail("core.get_jobs")).errno == 207
        assert ann.events() == []
