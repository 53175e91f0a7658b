"""Params of a job: an array in signature order, refused before an id is taken."""

from typing import Any

import msgspec
import pytest
from jobs_stage import USERS, World, running_world
from jobs_wire import Wire, open_wire

from middlewared import Plugin
from middlewared_jobs import Job, job


class Options(msgspec.Struct):
    """A param with members."""

    depth: int = 1
    name: str | None = None


def params_plugin() -> Plugin:
    """Declare a job that returns what it was given."""
    plugin = Plugin("p", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job(description="Take {a}, {b} and {d}")
    async def take(
        job: Job, a: int, b: int = 2, c: str = "x", *, d: bool = False, e: int = 5
    ) -> list[Any]:
        """Return the params."""
        return [a, b, c, d, e]

    @plugin.method(roles=USERS)
    @job(lock="p:{options.name}", lock_queue_size=0)
    async def nested(job: Job, options: Options) -> int:
        """Return a member of a param."""
        return options.depth

    @plugin.method(roles=USERS)
    @job(lock="{options.name.first}")
    async def unlockable(job: Job, options: Options) -> None:
        """Have a lock that no params can fill."""

    return plugin


PLUGIN = params_plugin()


#: Params, and the arguments and the result that they make.
TAKEN: list[tuple[Any, list[Any], list[Any]]] = [
    ([1], [1], [1, 2, "x", False, 5]),
    ([1, 3], [1, 3], [1, 3, "x", False, 5]),
    ([1, 3, "y", True], [1, 3, "y", True], [1, 3, "y", True, 5]),
    ([1, 3, "y", True, 9], [1, 3, "y", True, 9], [1, 3, "y", True, 9]),
    ({"a": 1}, [1], [1, 2, "x", False, 5]),
    ({"c": "y", "a": 1}, [1, 2, "y"], [1, 2, "y", False, 5]),
    ({"a": 1, "e": 9}, [1, 2, "x", False, 9], [1, 2, "x", False, 9]),
    ({"d": True, "a": 4}, [4, 2, "x", True], [4, 2, "x", True, 5]),
]


async def test_arguments_are_an_array() -> None:
    """Named params take their place, defaults are filled up to the last one given."""
    async with running_world(PLUGIN) as world, world.admin() as wire:
        for params, arguments, result in TAKEN:
            number = await wire.send("p.take", params)
            final = await wire.final(await wire.started(number))
            assert final["arguments"] == arguments
            assert final["result"] == result
            shown = f"Take {result[0]}, {result[1]} and {result[3]}"
            assert final["description"] == shown


#: Params, and the attribute and text of the error.
WRONG: list[tuple[Any, str, str]] = [
    ([], "a", "Field required"),
    ({}, "a", "Field required"),
    (["one"], "a", "Expected `int`, got `str`"),
    ([1, None], "b", "Expected `int`, got `null`"),
    ([1, 2, "x", 0], "d", "Expected `bool`, got `int`"),
    ({"a": 1, "z": 2}, "z", "Unknown parameter"),
    ([1, 2, "x", True, 5, 6], "", "Too many arguments (expected 5, found 6)"),
]


@pytest.mark.parametrize("new_style", [True, False])
async def test_wrong_params_make_no_job(new_style: bool) -> None:
    """Params that do not decode are refused in both styles; no id is taken."""
    async with (
        running_world(PLUGIN) as world,
        world.admin(new_style=new_style) as wire,
    ):
        for params, attribute, text in WRONG:
            answer = await wire.answer(await wire.send("p.take", params))
            error = answer["error"]
            assert (error["code"], error["message"]) == (-32602, "Invalid params")
            keys = {"error", "errname", "reason", "trace", "extra"}
            assert set(error["data"]) == keys
            assert error["data"]["error"] == 22
            ((found, message, number),) = error["data"]["extra"]
            assert (found, number) == (attribute, 22)
            assert text in message
        assert await wire.call("core.get_jobs") == []
        assert await wire.start("t.echo") == 1


async def test_wrong_member_is_named_by_its_path() -> None:
    """The attribute of an error leads into the param."""
    async with running_world(PLUGIN) as world, world.admin() as wire:
        error = await wire.fail("p.nested", {"depth": "deep"})
        assert error.data["extra"][0][0] == "options.depth"


async def test_lock_that_cannot_be_filled_makes_no_job() -> None:
    """A lock template that fails on its params is EINVAL, and no job exists."""
    async with running_world(PLUGIN) as world, world.admin() as wire:
        error = await wire.fail("p.unlockable", {"name": "x"})
        assert (error.code, error.errno) == (-32001, 22)
        assert "Error handling job lock" in error.reason
        assert await wire.call("core.get_jobs", [], {"count": True}) == 0


async def test_structs_are_shown_whole() -> None:
    """An argument that is a struct shows its members, defaults as well."""
    async with running_world(PLUGIN) as world, world.admin() as wire:
        final = await wire.run("p.nested", {"depth": 3})
        assert final["arguments"] == [{"depth": 3, "name": None}]
        assert final["result"] == 3


async def test_extended_values_come_through(admin: Wire) -> None:
    """Dates and sets of extended JSON reach the body and come back as they went."""
    value = {"when": {"$date": 1_790_000_000_000}, "tags": {"$set": [1]}}
    final = await admin.run("t.echo", value)
    assert final["arguments"] == [value]
    assert final["result"] == value


async def test_large_params_come_through(admin: Wire) -> None:
    """A param of a megabyte is an argument like any other."""
    value = "x" * 1_000_000
    final = await admin.run("t.echo", value)
    assert final["arguments"] == [value]
    assert final["result"] == value


async def test_unauthorized_call_makes_no_job(world: World) -> None:
    """Who may not call a job method gets EACCES, and nothing was started."""
    async with world.admin() as admin:
        made = await admin.call(
            "user.create", {"username": "eve", "password": "pw", "roles": []}
        )
        assert made["roles"] == []
        async with world.user("eve", watch=False) as wire:
            error = await wire.fail("t.echo", 1)
            assert (error.code, error.errno) == (-32001, 13)
        assert await admin.call("core.get_jobs", [], {"count": True}) == 0


async def test_unauthenticated_call_makes_no_job(world: World) -> None:
    """Before login a job method answers 207, whatever its params."""
    async with open_wire(world.server.ws_url) as wire:
        for params in ([1], ["x", "y", "z"]):
            error = await wire.fail("t.echo", *params)
            assert (error.code, error.errno) == (-32001, 207)
    async with world.admin() as admin:
        assert await admin.call("core.get_jobs", [], {"count": True}) == 0
