"""A schedule in a real server, in whatever order things happen to it."""

import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schedules_stage import MIDNIGHT, ScheduleWorld, schedule_world

from middlewared.testing import ManualClock
from middlewared_schedules.rows import update_row

EXAMPLES = 300 if os.environ.get("SOAK") else 6
GRACE = 5
Missed = Literal["skip", "once", "all"]


class Act(msgspec.Struct, frozen=True):
    """Something that happens: what, and for how many seconds."""

    what: str
    seconds: int


ACTS = st.builds(
    Act,
    st.sampled_from(
        ["pass", "pass", "restart", "crash", "pause", "resume", "retime", "run", "back"]
    ),
    st.integers(0, 300),
)


class Oracle:
    """Says which times have a job, by going through every second.

    Attributes:
        ran: the times, in order.
        by_hand: how many jobs there are besides.
        smooth: the clock was never set back.
    """

    def __init__(self, missed: Missed, step: int) -> None:
        self.ran: list[int] = []
        self.by_hand = 0
        self.smooth = True
        self.enabled = True
        self.step = step
        self._missed = missed
        self._seen = 0

    def begin(self, now: int) -> None:
        """Count times from now on."""
        self._seen = now

    def look(self, now: int) -> None:
        """Do what is due."""
        if not self.enabled:
            return
        found = [n for n in range(self._seen + 1, now + 1) if n % self.step == 0]
        self._seen = max(now, self._seen)
        if self._missed == "all":
            self.ran += found
        elif found and (self._missed == "once" or now - found[-1] <= GRACE):
            self.ran.append(found[-1])


class Story:
    """One life of one schedule, over several servers."""

    def __init__(self, folder: Path, missed: Missed) -> None:
        self._folder = folder
        self._clock = ManualClock(MIDNIGHT)
        self._oracle = Oracle(missed, 60)
        self._missed = missed

    @property
    def now(self) -> int:
        """Seconds since the schedule was made."""
        return (self._clock.time_ms() - MIDNIGHT) // 1000

    def serve(self) -> Any:
        return schedule_world(data_dir=self._folder, clock=self._clock, grace=GRACE)

    async def tell(self, acts: list[Act]) -> None:
        """Let everything happen, one after the other."""
        left = list(acts)
        async with self.serve() as world:
            await world.create(missed=self._missed, interval=60)
        while True:
            async with self.serve() as world:
                await self.check(world)
                down = await self.live(world, left)
            if not left:
                return
            self._clock.advance(down)

    async def live(self, world: ScheduleWorld, left: list[Act]) -> int:
        """Let things happen until the server ends; give how long it is away."""
        while left:
            act = left.pop(0)
            if act.what == "restart":
                return act.seconds
            if act.what == "crash":
                await self.crash(world, act.seconds)
                return act.seconds
            await getattr(self, act.what if act.what != "pass" else "pass_time")(
                world, act.seconds
            )
            await self.check(world)
        return 0

    async def check(self, world: ScheduleWorld) -> None:
        """Compare the jobs that there are with those that there should be."""
        await world.idle()
        self._oracle.look(self.now)
        jobs = await world.jobs(1)
        times = await world.times(1)
        assert len(times) == len(set(times))
        assert len(jobs) - len(times) == self._oracle.by_hand
        if self._oracle.smooth:
            assert times == self._oracle.ran
        assert {job["state"] for job in jobs} <= {"SUCCESS"}

    async def pass_time(self, world: ScheduleWorld, seconds: int) -> None:
        self._clock.advance(seconds)

    async def crash(self, world: ScheduleWorld, seconds: int) -> None:
        """Let time pass, and lose what the schedule's row says of it."""
        entry = world.schedules.get(1)
        assert entry is not None
        before = update_row(entry.schedule)
        self._clock.advance(seconds)
        await self.check(world)
        await world.server.context.database.execute(before)

    async def pause(self, world: ScheduleWorld, seconds: int) -> None:
        await world.call("schedule.update", 1, {"enabled": False})
        self._oracle.enabled = False

    async def resume(self, world: ScheduleWorld, seconds: int) -> None:
        await world.call("schedule.update", 1, {"enabled": True})
        if not self._oracle.enabled:
            self._oracle.begin(self.now)
        self._oracle.enabled = True

    async def retime(self, world: ScheduleWorld, seconds: int) -> None:
        step = 10 + seconds % 60
        await world.call("schedule.update", 1, {"interval": step})
        self._oracle.step = step
        self._oracle.begin(self.now)

    async def run(self, world: ScheduleWorld, seconds: int) -> None:
        await world.call("schedule.run", 1)
        self._oracle.by_hand += 1

    async def back(self, world: ScheduleWorld, seconds: int) -> None:
        self._clock.set(self._clock.time_ms() - seconds * 1000)
        self._oracle.smooth = False


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["skip", "once", "all"]), st.lists(ACTS, max_size=15))
async def test_every_story(missed: Missed, acts: list[Act]) -> None:
    """Each time has the jobs that an oracle says, and never two."""
    with tempfile.TemporaryDirectory(prefix="mw-") as folder:
        await Story(Path(folder), missed).tell(acts)
