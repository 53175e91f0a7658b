"""Logs on the wire: live tail and pieces."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from jobs_logs import LINES, LogWorld, Tail, running_log_world


@pytest.fixture
async def world() -> AsyncIterator[LogWorld]:
    """Run a server with jobs that write logs."""
    async with running_log_world() as world:
        yield world


async def test_tail_gives_every_byte_once(world: LogWorld) -> None:
    """From its first byte to its end a log comes once, and then the stream ends."""
    async with world.admin() as wire:
        job = await wire.start("w.pieces")
        await wire.event(job, "RUNNING")
        tail = await Tail(wire, id=job, offset=0).subscribe()
        for piece in (b"one\n", b"tw", b"o\n", b"", b"three\n"):
            await world.writer.send.send(piece)
            await tail.wait_text(piece.decode())
        await world.writer.send.aclose()
        assert await tail.ended() is None
        assert tail.text() == "one\ntwo\nthree\n"
        offset = 0
        for chunk in tail.chunks():
            offset += len(chunk["data"].encode())
            assert (chunk["id"], chunk["offset"]) == (job, offset)
        assert (await wire.final(job))["logs_excerpt"] == "one\ntwo\nthree\n"


async def test_tail_waits_for_the_start(world: LogWorld) -> None:
    """A job that waits yet can be followed; its log comes when it runs."""
    async with world.admin() as wire:
        first = await wire.start("w.pieces")
        second = await wire.start("w.pieces")
        tail = await Tail(wire, id=second, offset=0).subscribe()
        await wire.event(first, "RUNNING")
        await wire.call("core.job_abort", first)
        await wire.event(second, "RUNNING")
        await world.writer.send.send(b"at last\n")
        await tail.wait_text("at last\n")
        await wire.call("core.job_abort", second)
        assert await tail.ended() is None


async def test_split_characters_come_whole(world: LogWorld) -> None:
    """A character that is written in two pieces is one character in the tail."""
    async with world.admin() as wire:
        job = await wire.start("w.pieces")
        await wire.event(job, "RUNNING")
        tail = await Tail(wire, id=job, offset=0).subscribe()
        first, second = "a\u20acb".encode()[:3], "a\u20acb".encode()[3:]
        await world.writer.send.send(first)
        await tail.wait_text("a")
        # What looks at the half character now must leave it for later.
        async with world.admin() as other:
            late = await Tail(other, id=job, offset=0).subscribe()
            await late.wait_text("a")
            assert (await other.call("job.read_log", job))["data"] == "a"
        await world.writer.send.send(second)
        await world.writer.send.aclose()
        assert await tail.ended() is None
        assert tail.text() == "a\u20acb"


async def test_tail_of_what_is_no_text_ends(world: LogWorld) -> None:
    """Bytes that are no text are replaced, counted, and do not stop the stream."""
    async with world.admin() as wire:
        job = await wire.start("w.pieces")
        tail = await Tail(wire, id=job, offset=0).subscribe()
        await world.writer.send.send(b"a\xff\xe2\x82")
        await world.writer.send.aclose()
        assert await tail.ended() is None
        assert tail.text().startswith("a\ufffd")
        assert tail.chunks()[-1]["offset"] == 4


@pytest.mark.parametrize("offset", [0, 7, 20, len(LINES.encode())])
async def test_tail_of_a_final_job(world: LogWorld, offset: int) -> None:
    """The log of a job that has ended comes from the offset, then the end."""
    async with world.admin() as wire:
        job = (await wire.run("w.text", LINES))["id"]
        tail = await Tail(wire, id=job, offset=offset).subscribe()
        assert await tail.ended() is None
        raw = LINES.encode()[offset:]
        assert tail.text() == raw.decode(errors="replace")


async def test_tail_without_an_offset_gives_the_last_lines(world: LogWorld) -> None:
    """Without an offset whole lines from near the end come, to the very last."""
    text = "".join(f"line {n}\n" for n in range(5000))
    async with world.admin() as wire:
        job = (await wire.run("w.text", text))["id"]
        tail = await Tail(wire, id=job).subscribe()
        assert await tail.ended() is None
        found = tail.text()
        assert text.endswith(found)
        assert found.startswith("line ")
        assert 0 < len(found) < len(text)
        assert tail.chunks()[-1]["offset"] == len(text)
        short = (await wire.run("w.text", "one\ntwo\n"))["id"]
        tail = await Tail(wire, id=short).subscribe()
        await tail.ended()
        assert tail.text() == "one\ntwo\n"


async def test_large_log_comes_whole(world: LogWorld) -> None:
    """A log of megabytes comes in order, in pieces, with matching offsets."""
    text = "".join(f"{n:07} \u20ac\n" for n in range(200_000))
    async with world.admin() as wire:
        job = await wire.call("core.get_jobs", [], {"count": True}) + 1
        await wire.send("w.text", [text[:1_000_000]])
        await wire.final(job)
        tail = await Tail(wire, id=job, offset=0).subscribe()
        assert await tail.ended() is None
        assert tail.text() == text[:1_000_000]


async def test_two_tails_are_independent(world: LogWorld) -> None:
    """Each subscription has its own place; unsubscribing ends only one."""
    async with world.admin() as one, world.admin() as two:
        job = await one.start("w.pieces")
        await one.event(job, "RUNNING")
        await world.writer.send.send(b"first\n")
        whole = await Tail(one, id=job, offset=0).subscribe()
        later = Tail(two, id=job, offset=6)
        ident = await two.call("core.subscribe", later.name)
        await whole.wait_text("first\n")
        await world.writer.send.send(b"second\n")
        await later.wait_text("second\n")
        assert later.text() == "second\n"
        assert await two.call("core.unsubscribe", ident) is None
        assert await later.ended() is None
        await world.writer.send.send(b"third\n")
        await whole.wait_text("third\n")
        assert later.text() == "second\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [({"id": 99}, "Job with id 99 does not exist"), ({}, "id"), ({"id": "x"}, "")],
)
async def test_tail_of_nothing_ends_with_an_error(
    world: LogWorld, arguments: dict[str, Any], code: str
) -> None:
    """An unknown job or bad arguments: an ident, and the end that says why."""
    async with world.admin() as wire:
        tail = await Tail(wire, **arguments).subscribe()
        error = await tail.ended()
        assert code in error["reason"]
        assert set(error) == {"error", "errname", "reason", "trace", "extra"}


async def test_failed_job_has_its_excerpt(world: LogWorld) -> None:
    """The log of a job that failed is there as well, with its level."""
    async with world.admin() as wire:
        final = await wire.run("w.fails")
        assert final["state"] == "FAILED"
        assert final["logs_excerpt"].endswith(" ERROR this goes wrong\n")


async def test_lines_from_threads_are_all_there(world: LogWorld) -> None:
    """Eight threads of a body log; every line is there, whole, once."""
    async with world.admin() as wire:
        final = await wire.run("w.crowd")
        lines = (await anyio.Path(final["logs_path"]).read_text()).splitlines()
        found = sorted(line.partition(" INFO ")[2] for line in lines)
        wanted = [f"thread {n} turn {t}" for n in range(8) for t in range(100)]
        assert found == sorted(wanted)


async def test_job_without_a_log(world: LogWorld) -> None:
    """It may log into nothing; it has no path, no file, nothing to read."""
    async with world.admin() as wire:
        final = await wire.run("w.silent")
        assert final["state"] == "SUCCESS"
        assert final["logs_path"] is final["logs_excerpt"] is None
        for method, more in (("core.job_download_logs", ["x"]), ("job.read_log", [])):
            error = await wire.fail(method, final["id"], *more)
            assert (error.code, error.errno) == (-32001, 14)
            assert error.reason == "[EFAULT] This job has no logs"
        final = await wire.run("w.wants_file")
        assert final["error"] == "[EFAULT] This job has no logs"


async def test_log_is_read_in_pieces(world: LogWorld) -> None:
    """`job.read_log` goes on from each offset, and says how far the log is."""
    async with world.admin() as wire:
        job = (await wire.run("w.text", LINES))["id"]
        whole = await wire.call("job.read_log", job)
        size = len(LINES.encode())
        assert whole == {"data": LINES, "offset": size, "size": size, "final": True}
        text, offset = "", 0
        while offset < size:
            piece = await wire.call("job.read_log", job, offset, 5)
            assert piece["offset"] > offset
            text, offset = text + piece["data"], piece["offset"]
        assert text == LINES
        beyond = await wire.call("job.read_log", job, size + 5)
        assert beyond["data"] == ""


async def test_log_of_a_running_job_is_read(world: LogWorld) -> None:
    """While a job runs its log is not final, and half a character stays back."""
    async with world.admin() as wire:
        job = await wire.start("w.pieces")
        await wire.event(job, "RUNNING")
        tail = await Tail(wire, id=job, offset=0).subscribe()
        await world.writer.send.send("one \u20ac".encode()[:-1])
        await tail.wait_text("one ")
        piece = await wire.call("job.read_log", job)
        assert piece == {"data": "one ", "offset": 4, "size": 6, "final": False}
        piece = await wire.call("job.read_log", job, 4)
        assert (piece["data"], piece["offset"]) == ("", 4)


@pytest.mark.parametrize("params", [(-1,), (0, 0), (0, 2**40), ("x",)])
async def test_wrong_pieces_are_refused(world: LogWorld, params: Any) -> None:
    """An offset below 0 and a limit out of bounds are errors of the caller."""
    async with world.admin() as wire:
        job = (await wire.run("w.text", LINES))["id"]
        error = await wire.fail("job.read_log", job, *params)
        assert error.code in (-32001, -32602)
