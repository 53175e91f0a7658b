"""Jobs that write what a test hands them, and what a subscription to a log gives."""

import contextlib
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
from jobs_stage import USERS, World, running_world
from jobs_wire import Wire

from middlewared import Plugin
from middlewared_jobs import Job, job

LINES = "".join(f"line {n} \u20ac\n" for n in range(30))


class Writer:
    """A job that writes what the test hands it, piece by piece."""

    def __init__(self) -> None:
        self.send, self._receive = anyio.create_memory_object_stream[bytes](100)

    async def write(self, job: Job) -> None:
        """Write until there is no more."""
        async for piece in self._receive:
            job.logs_fd.write(piece)

    def close(self) -> None:
        """Forget what nobody writes any more."""
        self.send.close()
        self._receive.close()


def count(job: Job, number: int) -> None:
    """Log a hundred lines of one thread."""
    for turn in range(100):
        job.log.info("thread %d turn %d", number, turn)


def writing_plugin(writer: Writer) -> Plugin:
    """Declare jobs that write logs."""
    plugin = Plugin("w", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job(logs=True, lock="w", abortable=True)
    async def pieces(job: Job) -> None:
        """Write what the test says."""
        await writer.write(job)

    @plugin.method(roles=USERS)
    @job(logs=True)
    async def text(job: Job, text: str) -> None:
        """Write a text as it is."""
        job.logs_fd.write(text.encode())

    @plugin.method(roles=USERS)
    @job(logs=True)
    def crowd(job: Job) -> None:
        """Log from eight threads."""
        threads = [threading.Thread(target=count, args=(job, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @plugin.method(roles=USERS)
    @job(logs=True)
    async def fails(job: Job) -> None:
        """Log, then fail."""
        job.log.error("this goes wrong")
        raise ValueError("wrong")

    @plugin.method(roles=USERS)
    @job
    async def silent(job: Job) -> None:
        """Log without having a log."""
        job.log.info("nobody reads this")

    @plugin.method(roles=USERS)
    @job
    async def wants_file(job: Job) -> None:
        """Want a file without having a log."""
        job.logs_fd.write(b"x")

    return plugin


class LogWorld(World):
    """A world with a job that writes what the test hands it."""

    writer: Writer


class Tail:
    """What one subscription to a log received."""

    def __init__(self, wire: Wire, **arguments: Any) -> None:
        self.wire = wire
        self.name = f"job.logs:{json.dumps(arguments)}"
        self._since = len(wire.frames)

    async def subscribe(self) -> "Tail":
        """Subscribe; the answer is an ident."""
        assert isinstance(await self.wire.call("core.subscribe", self.name), str)
        return self

    def chunks(self) -> list[dict[str, Any]]:
        """Give the fields of what came so far."""
        return [
            frame["params"]["fields"]
            for frame in self.wire.frames[self._since :]
            if frame.get("method") == "collection_update"
            and frame["params"]["collection"] == self.name
        ]

    def text(self) -> str:
        """Give the text that came so far."""
        return "".join(chunk["data"] for chunk in self.chunks())

    async def wait_text(self, text: str) -> None:
        """Wait until the text so far ends so."""
        await self.wire.wait(
            lambda frame: self.text().endswith(text), since=self._since
        )

    async def ended(self) -> Any:
        """Wait for the end; give its error."""
        frame = await self.wire.wait(
            lambda f: (
                f.get("method") == "notify_unsubscribed"
                and f["params"]["collection"] == self.name
            ),
            since=self._since,
        )
        assert set(frame["params"]) == {"collection", "error"}
        return frame["params"]["error"]


@contextlib.asynccontextmanager
async def running_log_world() -> AsyncIterator[LogWorld]:
    """Run a server with jobs that write logs."""
    writer = Writer()
    async with running_world(writing_plugin(writer)) as running:
        found = LogWorld(running.server, running.stage)
        found.writer = writer
        yield found
        writer.close()
