"""``middlewared job``: run jobs again, pause them, and forget them."""

from typing import TYPE_CHECKING, Any

import click

from middlewared.cli.follow import Follower, follow_options
from middlewared.cli.job import job
from middlewared.cli.output import print_json
from middlewared.cli.params import NamedValue
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client, JobHandle

__all__ = ["job"]


def _again(method: str, words: str, doc: str) -> click.Command:
    """Make a command that starts a job like another one."""

    @job.command(words, short_help=doc.partition(":")[0].partition(".")[0] + ".")
    @click.argument("job_id", metavar="ID", type=int)
    @click.option(
        "--param",
        "params",
        multiple=True,
        type=NamedValue(),
        help="A param that is another one now; secrets have to be given again.",
    )
    @click.option("--key", help="The same key names the same new job.")
    @click.option("-j", "--job", "follow", is_flag=True, help="Wait for the new job.")
    @follow_options
    @connection_options()
    @click.pass_obj
    def command(
        target: Target,
        job_id: int,
        params: tuple[tuple[str, Any], ...],
        key: str | None,
        *,
        follow: bool,
        job_print: str,
        quiet: bool,
        give_up_after: float,
    ) -> None:
        options: dict[str, Any] = {"params": dict(params)} if params else {}
        if key is not None:
            options["key"] = key

        async def ask(client: "Client") -> "JobHandle":
            return client.attach(await client.call(method, job_id, options))

        if follow:
            follower = Follower(
                target, style=job_print, quiet=quiet, give_up_after=give_up_after
            )
            follower.run_started(ask)

        async def body(client: "Client") -> None:
            print_json(await client.call(method, job_id, options))

        target.run(body)

    command.help = doc
    return command


def _simple(method: str, words: str, doc: str) -> click.Command:
    """Make a command that asks for something about jobs, and prints nothing."""

    @job.command(words, short_help=doc.partition(":")[0].partition(",")[0] + ".")
    @click.argument("job_ids", metavar="ID...", nargs=-1, required=True, type=int)
    @connection_options()
    @click.pass_obj
    def command(target: Target, job_ids: tuple[int, ...]) -> None:
        async def body(client: "Client") -> None:
            for job_id in job_ids:
                await client.call(method, job_id)

        target.run(body)

    command.help = doc
    return command


retry = _again(
    "job.retry",
    "retry",
    "Run an ended job again: prints the id of the new job.\n\nIt begins at the start.",
)
restart = _again(
    "job.restart",
    "restart",
    "Go on with a job that failed: prints the id of the new job.\n\n"
    "Steps that succeeded are left out; the job's method has to be restartable.",
)
pause = _simple("job.pause", "pause", "Hold running jobs before their next step.")
resume = _simple("job.resume", "resume", "Let paused jobs go on.")
remove = _simple("job.delete", "rm", "Forget jobs that have ended, with their logs.")
