"""Waiting for a job at a terminal."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from middlewared.cli.output import print_value
from middlewared.cli.progress import make_display
from middlewared.cli.target import Target

if TYPE_CHECKING:
    from middlewared.client import Client, JobHandle

__all__ = ["Follower", "follow_options"]


class Follower:
    """Shows a job until it ends, prints its result, knows what Ctrl-C means."""

    def __init__(
        self, target: Target, *, style: str, quiet: bool, give_up_after: float
    ) -> None:
        self._target = target
        self._give_up_after = give_up_after
        self._display = make_display(style, quiet=quiet or target.as_json)
        self._item: Mapping[str, Any] | None = None

    def run(self, start: Callable[["Client"], "JobHandle"]) -> NoReturn:
        """Start or find a job, follow it, and leave with its exit code."""

        async def body(client: "Client") -> None:
            await self._follow(start(client))

        self._run(body)

    def run_started(
        self, start: Callable[["Client"], Awaitable["JobHandle"]]
    ) -> NoReturn:
        """Do the same with a job that takes its time to be started."""

        async def body(client: "Client") -> None:
            await self._follow(await start(client))

        self._run(body)

    def _run(self, body: Callable[["Client"], Awaitable[None]]) -> NoReturn:
        self._target.run(
            body,
            on_interrupt=self.describe_interrupt,
            reconnect=True,
            give_up_after=self._give_up_after,
        )

    async def _follow(self, handle: "JobHandle") -> None:
        from middlewared.client import NotAJob, ResultUnavailable  # noqa: PLC0415

        try:
            await handle.wait_accepted()
        except NotAJob as error:
            # It was answered all the same, and that answer was asked for.
            print_value(error.result, as_json=self._target.as_json)
            return
        with self._display as display:
            async for item in handle:
                self._item = item
                display.show(item)
        try:
            result = await handle
        except ResultUnavailable as error:
            # The job did what it should: say so, and what is missing.
            click.echo(f"middlewared: {error}", err=True)
            result = None
        print_value(result, as_json=self._target.as_json)

    def describe_interrupt(self) -> str | None:
        """Say what became of the job that nobody waits for any more."""
        if self._item is None:
            return None
        job_id = self._item["id"]
        return (
            f"job {job_id} goes on without you\n"
            f"  middlewared job abort {job_id}  stops it\n"
            f"  middlewared job wait {job_id}   waits for it again"
        )


def follow_options(command: Any) -> Any:
    """Add the options that say how a job is shown while it runs."""
    command = click.option(
        "-q", "--quiet", is_flag=True, help="Show no progress while waiting."
    )(command)
    command = click.option(
        "--give-up-after",
        metavar="SECONDS",
        type=click.FloatRange(0),
        default=60.0,
        show_default=True,
        help="How long to try to reach a lost server again.",
    )(command)
    return click.option(
        "-jp",
        "--job-print",
        type=click.Choice(["progressbar", "description"]),
        default="progressbar",
        help="How to show progress.",
    )(command)
