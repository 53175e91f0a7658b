"""A server with schedules whose clock a test drives."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
from jobs_stage import Stage, World, stage_plugin
from jobs_wire import PATIENCE

from middlewared import Plugin
from middlewared.testing import ManualClock, RunningServer, running_server
from middlewared_schedules import Schedules
from middlewared_schedules.clockwork import Clockwork

#: 2026-11-26 00:00 UTC.
MIDNIGHT = 1_795_651_200_000
MINUTE, HOUR, DAY = 60, 3600, 86_400


class ScheduleWorld(World):
    """A running server with the jobs of a stage, and its clock.

    Attributes:
        clock: stands still until it is told to go on.
    """

    def __init__(self, server: RunningServer, stage: Stage, clock: ManualClock) -> None:
        super().__init__(server, stage)
        self.clock = clock
        self.schedules = server.context.get(Schedules)
        self.clockwork = server.context.get(Clockwork)

    async def call(self, method: str, *params: Any) -> Any:
        """Call as the server itself, which may do everything."""
        return await self.server.context.call(method, *params)

    async def create(self, name: str = "s", method: str = "t.echo", **data: Any) -> int:
        """Make a schedule as the server itself and give its id."""
        timing = {} if "cron" in data else {"interval": MINUTE}
        made = await self.call(
            "schedule.create", {"name": name, "method": method} | timing | data
        )
        return int(made["id"])

    async def get(self, number: int) -> dict[str, Any]:
        """Give a schedule as clients see it."""
        found: dict[str, Any] = await self.call("schedule.get", number)
        return found

    async def jobs(self, number: int) -> list[dict[str, Any]]:
        """Give the jobs of a schedule."""
        found: list[dict[str, Any]] = await self.call(
            "job.query", [["schedule", "=", number]]
        )
        return found

    async def times(self, number: int) -> list[int]:
        """Give the times that have a job, in seconds since `MIDNIGHT`."""
        keys = [job["key"] for job in await self.jobs(number)]
        return [seconds_of(key) for key in keys if key is not None]

    async def pass_time(self, seconds: float) -> None:
        """Let time pass at once, and what is due then be done."""
        self.clock.advance(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Wait until everything is done that is due; bodies may still run."""
        with anyio.fail_after(PATIENCE):
            while True:
                await self.clockwork.look()
                if not any(
                    entry.attended or entry.lock.locked()
                    for entry in self.schedules.entries.values()
                ):
                    return
                await anyio.sleep(0.001)

    async def idle(self) -> None:
        """Wait until no job of a schedule runs and nothing is due."""
        with anyio.fail_after(PATIENCE):
            while True:
                await self.settle()
                entries = self.schedules.entries.values()
                if not any(entry.running for entry in entries):
                    return
                await anyio.sleep(0.001)


def seconds_of(key: str) -> int:
    """Give the time in the key of a job, in seconds since `MIDNIGHT`."""
    moment = dt.datetime.fromisoformat(key.split(":", 2)[2])
    return round(moment.timestamp()) - MIDNIGHT // 1000


@contextlib.asynccontextmanager
async def schedule_world(
    *plugins: Plugin,
    data_dir: Path | None = None,
    clock: ManualClock | None = None,
    stage: Stage | None = None,
    **settings: Any,
) -> AsyncIterator[ScheduleWorld]:
    """Run a server with the stage's jobs and *plugins*.

    Args:
        plugins: declared in the test.
        data_dir: a temporary folder by default.
        clock: by default one that stands at `MIDNIGHT`.
        stage: of the plugins that have gates; a new one by default.
        settings: of the table ``schedules``.
    """
    clock, stage = clock or ManualClock(MIDNIGHT), stage or Stage()
    async with running_server(
        stage_plugin(stage),
        *plugins,
        clock=clock,
        data_dir=data_dir,
        tables={"schedules": settings},
        interrupt_grace=0.05,
    ) as server:
        try:
            yield ScheduleWorld(server, stage, clock)
        finally:
            stage.open()
