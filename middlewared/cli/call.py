"""``middlewared call``: any method, and jobs with a live progress bar."""

from typing import TYPE_CHECKING

import click

from middlewared.cli.follow import Follower, follow_options
from middlewared.cli.output import print_value
from middlewared.cli.params import ParamCommand, parse_params
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client

__all__ = ["call"]


@click.command(cls=ParamCommand, short_help="Call a method; -j waits for a job.")
@click.argument("method")
@click.argument("args", nargs=-1)
@click.option("-j", "--job", is_flag=True, help="Wait for the job: progress, result.")
@follow_options
@connection_options()
@click.pass_obj
def call(
    target: Target,
    method: str,
    args: tuple[str, ...],
    *,
    job: bool,
    job_print: str,
    quiet: bool,
    give_up_after: float,
) -> None:
    """Call METHOD with ARGS and print its result.

    Each of ARGS is read as JSON; what is no JSON is a string. A single - stands for
    what is on standard input. Without -j a job method prints the id of its job.

    \b
    middlewared call -j demo.checksum /usr/lib/python3
    middlewared call core.get_jobs '[["state", "=", "FAILED"]]' '{"limit": 5}'
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    params = parse_params(args)
    if job:
        follower = Follower(
            target, style=job_print, quiet=quiet, give_up_after=give_up_after
        )
        follower.run(lambda client: client.job(method, *params))

    async def body(client: "Client") -> None:
        print_value(await client.call(method, *params), as_json=target.as_json)

    target.run(body, legacy_jobs=True)
