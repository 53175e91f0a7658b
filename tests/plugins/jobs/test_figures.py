"""What is counted of jobs."""

from jobs_stage import World
from jobs_wire import Wire

from middlewared_jobs import Jobs, State, count_live


async def test_ended_jobs(world: World, admin: Wire) -> None:
    """Each final state counts once, with the time that it took."""
    figures = world.server.context.get(Jobs).figures
    await admin.run("t.echo")
    await admin.run("t.echo")
    await admin.final(await admin.start("demo.fail", "no"))
    held = await admin.start("t.hold", "a")
    await world.stage["a"].wait_entered()
    await admin.call("core.job_abort", held)
    await admin.final(held)
    assert figures.ended == {
        ("t.echo", State.SUCCESS): 2,
        ("demo.fail", State.FAILED): 1,
        ("t.hold", State.ABORTED): 1,
    }
    assert sum(figures.durations["t.echo"].counts) == 2
    assert sum(figures.waits.counts) == 4


async def test_job_that_never_started(world: World, admin: Wire) -> None:
    """It counts as ended, and has no duration."""
    figures = world.server.context.get(Jobs).figures
    await admin.start("t.locked", "a")
    await world.stage["a"].wait_entered()
    waiting = await admin.start("t.locked", "b")
    await admin.call("core.job_abort", waiting)
    await admin.final(waiting)
    assert figures.ended == {("t.locked", State.ABORTED): 1}
    assert figures.durations == {}


async def test_live_jobs(world: World, admin: Wire) -> None:
    """Those that run are told by where they do; those that have ended are not."""
    jobs = world.server.context.get(Jobs)
    await admin.run("t.echo")
    for name in ("a", "b", "c"):
        await admin.start("t.locked", name)
    await admin.start("t.deaf", "d")
    await admin.final(await admin.start("demo.transient", 0))
    for name in ("a", "d"):
        await world.stage[name].wait_entered()
    live = count_live(list(jobs.live.values()))
    assert live.states == {
        ("t.locked", State.RUNNING): 1,
        ("t.locked", State.WAITING): 2,
        ("t.deaf", State.RUNNING): 1,
    }
    assert live.running == {"loop": 1, "thread": 1}
    assert live.waiting == 2
