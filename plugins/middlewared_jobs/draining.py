"""Draining: nothing new begins, what runs ends in peace, and everybody is served."""

from typing import TYPE_CHECKING

import anyio
import msgspec

from middlewared import Context, Example, Plugin
from middlewared.shutdown import Shutdown
from middlewared_jobs.roster import Roster

if TYPE_CHECKING:
    from middlewared_jobs.attempts import Attempts

__all__ = ["Draining", "add_draining"]

#: Seconds between two looks at what runs.
LOOK_SECONDS = 0.5


class DrainOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of ``job.drain``.

    Attributes:
        wait: answer once nothing runs, or the server accepts jobs again.
        exit: stop the server then, as SIGTERM does.
    """

    wait: bool = False
    exit: bool = False


class DrainState(msgspec.Struct, frozen=True):
    """How far draining is.

    Attributes:
        draining: no jobs are accepted.
        running: jobs that have not ended.
        waiting: jobs that wait until the server accepts jobs again, or starts.
    """

    draining: bool
    running: int
    waiting: int


class Draining:
    """Lets a server accept nothing new while it serves.

    Waiting jobs stay waiting. Jobs that running ones start are accepted, and so is
    waiting for jobs. It ends with the process.

    Args:
        roster: the jobs that there are.
        attempts: starts them.
        shutdown: knows that the server drains, and can stop it.
    """

    def __init__(
        self, roster: Roster, attempts: "Attempts", shutdown: Shutdown
    ) -> None:
        self._roster = roster
        self._attempts = attempts
        self._shutdown = shutdown

    @property
    def state(self) -> DrainState:
        """How far it is."""
        running, waiting = len(self._roster.running), self._attempts.count_waiting()
        helpers = len(self._roster.helpers)
        return DrainState(self._roster.draining, running, waiting - helpers)

    def begin(self) -> None:
        """Accept nothing new from now on."""
        self._roster.draining = self._shutdown.draining = True

    def end(self) -> None:
        """Accept jobs again, and start those that waited."""
        self._roster.draining = self._shutdown.draining = False
        self._attempts.start_next()

    async def wait_idle(self) -> bool:
        """Wait until nothing runs; False when jobs are accepted again.

        Safe to cancel: it goes on draining.
        """
        while self._roster.draining and not self._attempts.idle:
            await self._roster.wait_idle(LOOK_SECONDS)
        return self._roster.draining

    async def stop_when_idle(self, grace: float) -> None:
        """Stop the server once nothing runs, unless jobs are accepted again."""
        while await self.wait_idle():
            # Whoever waits for the same is answered first.
            await anyio.sleep(LOOK_SECONDS)
            if self._roster.draining and self._attempts.idle:
                self._shutdown.request(grace)
                return


def add_draining(plugin: Plugin) -> None:
    """Declare the methods on the plugin."""

    @plugin.method(
        namespace="job",
        examples=[
            Example(
                "for an upgrade, once what runs has ended",
                [{"exit": True}],
                {"draining": True, "running": 2, "waiting": 7},
            )
        ],
    )
    async def drain(
        ctx: Context,
        options: DrainOptions = DrainOptions(),  # noqa: B008 - frozen
    ) -> DrainState:
        """Accept and start no jobs any more; those that run go on to their end.

        Calls are answered as before, but job methods with EBUSY. Jobs that wait stay
        waiting. ``/healthz`` answers 503. It lasts until ``job.undrain``, or a restart.
        """
        draining = ctx.get(Draining)
        draining.begin()
        if options.exit:
            grace = ctx.settings.shutdown_grace
            ctx.tasks.start(draining.stop_when_idle(grace), name="end of draining")
        if options.wait:
            await draining.wait_idle()
        return draining.state

    @plugin.method(
        namespace="job",
        examples=[
            Example("after all", [], {"draining": False, "running": 2, "waiting": 7})
        ],
    )
    async def undrain(ctx: Context) -> DrainState:
        """Accept jobs again, and start those that waited."""
        draining = ctx.get(Draining)
        draining.end()
        return draining.state
