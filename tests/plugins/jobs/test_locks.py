"""Locks: one at a time, in order; and when a call shares a job that waits."""

import errno

import pytest
from jobs_stage import World, running_world
from jobs_wire import Wire


async def test_lock_runs_one_at_a_time_in_order(world: World, admin: Wire) -> None:
    """Jobs with one lock run one after the other, in the order they came."""
    names = [f"n{i}" for i in range(5)]
    jobs = [await admin.start("t.locked", name) for name in names]
    for name, job in zip(names, jobs, strict=True):
        await world.stage[name].wait_entered()
        assert world.stage.inside == [name]
        world.stage.open(name)
        await admin.final(job)
    assert world.stage.ran == names


async def test_pipelined_calls_keep_their_order(world: World, admin: Wire) -> None:
    """Calls that arrive together run in the order they were sent."""
    names = [f"n{i:02}" for i in range(40)]
    world.stage.open(*names)
    numbers = await admin.send_many([("t.locked", [name]) for name in names])
    for number in numbers:
        await admin.result(number)
    assert world.stage.ran == names
    jobs = [await admin.started(number) for number in numbers]
    assert jobs == sorted(jobs)


async def test_different_locks_run_together(world: World, admin: Wire) -> None:
    """A lock holds up only its own jobs."""
    await admin.start("t.locked", "a", "x")
    waiting = await admin.start("t.locked", "b", "x")
    await admin.start("t.locked", "c", "y")
    await world.stage["c"].wait_entered()
    assert world.stage.inside == ["a", "c"]
    assert admin.states(waiting) == ["WAITING"]


async def test_lock_is_shared_by_methods(world: World, admin: Wire) -> None:
    """The same lock string in another method is the same lock."""
    await admin.start("t.shared", "a")
    waiting = await admin.start("t.neighbour", "b")
    await admin.call("core.ping")
    assert admin.states(waiting) == ["WAITING"]
    world.stage.open("a", "b")
    assert (await admin.final(waiting))["result"] == "b"


async def test_lock_is_released_by_a_failure() -> None:
    """However a job ends, the next one of its lock runs."""
    async with running_world() as world, world.admin() as wire:
        first = await wire.start("t.locked", "first")
        second = await wire.start("t.locked", "second")
        await world.stage["first"].wait_entered()
        await wire.call("core.job_abort", first)
        await world.stage["second"].wait_entered()
        world.stage.open("second")
        assert (await wire.final(second))["state"] == "SUCCESS"


async def test_any_number_may_wait_by_default(world: World, admin: Wire) -> None:
    """Without a queue size every call gets a job of its own, equal or not."""
    numbers = await admin.send_many([("t.locked", ["same"])] * 20)
    jobs = {await admin.started(number) for number in numbers}
    assert len(jobs) == 20


async def test_lockless_jobs_never_merge(world: World, admin: Wire) -> None:
    """A burst of different calls without locks makes as many jobs (weakness W12)."""
    calls = [(method, [f"{method} {i}"]) for i in range(25) for method in BURST]
    numbers = await admin.send_many(calls)
    jobs = [await admin.started(number) for number in numbers]
    assert len(set(jobs)) == 50
    for job, number, (method, params) in zip(jobs, numbers, calls, strict=True):
        item = admin.events(job)[0]["fields"]
        assert item["message_ids"] == [number]
        assert (item["method"], item["arguments"]) == (method, params)
    for _, (name,) in calls:
        world.stage.open(name)
    for number, (_, (name,)) in zip(numbers, calls, strict=True):
        assert await admin.result(number) == name


BURST = ("t.hold", "t.fixed")


async def test_equal_lockless_calls_do_not_merge_either(admin: Wire) -> None:
    """Equal calls without a lock are jobs of their own as well."""
    numbers = await admin.send_many([("t.echo", [1])] * 50)
    assert len({await admin.started(number) for number in numbers}) == 50


# lock_queue_size=0: nobody may wait.


async def test_size_0_refuses_while_one_runs(world: World, admin: Wire) -> None:
    """While one runs, another call is EBUSY and makes no job."""
    job = await admin.start("t.alone", "a")
    await world.stage["a"].wait_entered()
    error = await admin.fail("t.alone", "a")
    assert (error.code, error.errno) == (-32001, errno.EBUSY)
    assert "already being performed" in error.reason
    assert await admin.call("core.get_jobs", [], {"count": True}) == 1
    world.stage.open("a")
    await admin.final(job)
    assert (await admin.run("t.alone", "a"))["state"] == "SUCCESS"


async def test_size_0_refuses_while_one_waits() -> None:
    """One that waits for a slot refuses others, too, also in the same breath."""
    async with running_world(async_jobs=1) as world, world.admin() as wire:
        await wire.start("t.hold", "slot")
        numbers = await wire.send_many([("t.alone", ["a"])] * 3)
        job = await wire.started(numbers[0])
        assert wire.states(job) == ["WAITING"]
        for number in numbers[1:]:
            error = (await wire.answer(number))["error"]
            assert error["data"]["error"] == errno.EBUSY
        world.stage.open("slot", "a")
        assert await wire.result(numbers[0]) == "a"
        assert world.stage.ran == ["slot", "a"]


# lock_queue_size=n: the call joins.


async def test_call_joins_the_waiting_job(world: World, admin: Wire) -> None:
    """With its queue full an equal call shares the job that waits, and is told so."""
    await admin.start("t.shared", "a")
    first = await admin.send("t.shared", ["b"])
    job = await admin.started(first)
    second = await admin.send("t.shared", ["b"])
    assert await admin.started(second) == job
    joined = admin.events(job)[-1]
    assert joined["msg"] == "changed"
    assert joined["fields"]["state"] == "WAITING"
    assert joined["fields"]["message_ids"] == [first, second]
    world.stage.open("a", "b")
    assert await admin.result(first) == await admin.result(second) == "b"
    assert world.stage.ran == ["a", "b"]
    final = await admin.final(job)
    assert final["message_ids"] == [first, second]
    record = await admin.call("job.get", job)
    assert record["message_ids"] == [first, second]


async def test_joined_call_is_told_before_its_answer(world: World) -> None:
    """In the old style, CHANGED with the new message id precedes the shared id."""
    async with world.admin(new_style=False) as wire:
        await wire.call("t.shared", "a")
        job = await wire.call("t.shared", "b")
        number = await wire.send("t.shared", ["b"])
        assert await wire.result(number) == job
        told = wire.place(
            lambda f: (
                f.get("method") == "collection_update"
                and number in f["params"]["fields"]["message_ids"]
            )
        )
        assert told < wire.place(lambda f: f.get("id") == number)


async def test_calls_in_one_breath_join_as_well(world: World, admin: Wire) -> None:
    """Calls join a job that is not even written yet, and none is lost."""
    numbers = await admin.send_many([("t.shared", ["a"])] * 12)
    jobs = [await admin.started(number) for number in numbers]
    assert len(set(jobs)) == 2
    assert jobs[1:] == [jobs[1]] * 11
    world.stage.open("a")
    for number in numbers:
        assert await admin.result(number) == "a"
    assert world.stage.ran == ["a", "a"]
    assert (await admin.final(jobs[1]))["message_ids"] == numbers[1:]


async def test_defaults_count_as_given(world: World, admin: Wire) -> None:
    """A param that was left out equals one that was sent with its default."""
    await admin.start("t.shared", "a")
    job = await admin.start("t.shared", "b")
    assert await admin.start("t.shared", "b", 3) == job
    assert await admin.start("t.shared", name="b", depth=3) == job


@pytest.mark.parametrize(
    "call", [("t.shared", "other"), ("t.shared", "b", 4), ("t.neighbour", "b")]
)
async def test_unequal_calls_do_not_join(
    world: World, admin: Wire, call: tuple[str, ...]
) -> None:
    """Other arguments or another method: EBUSY, and the waiting job is untouched."""
    await admin.start("t.shared", "a")
    job = await admin.start("t.shared", "b")
    error = await admin.fail(*call)
    assert (error.code, error.errno) == (-32001, errno.EBUSY)
    assert len(admin.events(job)) == 1


async def test_last_equal_one_is_joined(world: World, admin: Wire) -> None:
    """Of several that wait, the last one with equal arguments is shared."""
    await admin.start("t.pair", "a")
    first = await admin.start("t.pair", "b")
    last = await admin.start("t.pair", "c")
    assert await admin.start("t.pair", "b") == first
    assert await admin.start("t.pair", "c") == last
    assert (await admin.fail("t.pair", "d")).errno == errno.EBUSY


async def test_queue_with_room_makes_a_job(world: World, admin: Wire) -> None:
    """As long as fewer wait, equal calls are jobs of their own."""
    await admin.start("t.pair", "a")
    jobs = {await admin.start("t.pair", "b") for _ in range(2)}
    assert len(jobs) == 2


async def test_running_job_is_never_joined(world: World, admin: Wire) -> None:
    """A job that runs already is not shared: its call came too late."""
    first = await admin.start("t.shared", "a")
    await world.stage["a"].wait_entered()
    assert await admin.start("t.shared", "a") != first


async def test_users_share_only_own_jobs(world: World) -> None:
    """A user joins no job of another; a full admin joins anybody's."""
    await world.add_user("ann")
    await world.add_user("bob")
    async with (
        world.admin() as admin,
        world.user("ann") as ann,
        world.user("bob") as bob,
    ):
        await ann.start("t.shared", "a")
        job = await ann.start("t.shared", "b")
        assert await ann.start("t.shared", "b") == job
        assert (await bob.fail("t.shared", "b")).errno == errno.EBUSY
        assert bob.events() == []
        assert await admin.start("t.shared", "b") == job


async def test_joined_job_is_aborted_by_its_owner_only(world: World) -> None:
    """Who joined cannot abort for others; all who wait are told of the abort."""
    await world.add_user("ann")
    async with world.admin() as admin, world.user("ann") as ann:
        holder = await ann.start("t.shared", "a")
        first = await ann.send("t.shared", ["b"])
        job = await ann.started(first)
        second = await admin.send("t.shared", ["b"])
        assert await admin.started(second) == job
        await ann.call("core.job_abort", job)
        for wire, number in ((ann, first), (admin, second)):
            error = (await wire.answer(number))["error"]
            assert error["data"]["error"] == errno.ECANCELED
        assert (await admin.call("job.get", holder))["state"] == "RUNNING"


async def test_too_many_waiting_jobs_are_refused() -> None:
    """Over ``max_waiting`` a call is EBUSY; none that waits is lost."""
    async with (
        running_world(max_waiting=2, async_jobs=1) as world,
        world.admin() as wire,
    ):
        await wire.start("t.hold", "a")
        jobs = [await wire.start("t.hold", name) for name in ("b", "c")]
        assert (await wire.fail("t.hold", "d")).errno == errno.EBUSY
        world.stage.open("a", "b", "c")
        for job in jobs:
            assert (await wire.final(job))["state"] == "SUCCESS"


async def test_slots_are_given_in_order() -> None:
    """Jobs over the limit wait, and start by their ids."""
    async with (
        running_world(async_jobs=2, thread_jobs=1) as world,
        world.admin() as wire,
    ):
        names = [f"n{i}" for i in range(6)]
        jobs = [await wire.start("t.hold", name) for name in names]
        thread = await wire.start("t.attentive", "thread")
        await wire.event(thread, "RUNNING")
        second = await wire.start("t.attentive", "second")
        await wire.call("core.ping")
        assert wire.states(second) == ["WAITING"]
        assert wire.states(jobs[2]) == ["WAITING"]
        for name, job in zip(names, jobs, strict=True):
            world.stage.open(name)
            await wire.final(job)
        assert world.stage.ran == names
