"""``middlewared job``: list, show, follow and abort jobs."""

from typing import TYPE_CHECKING, Any

import click

from middlewared.cli.exits import Exit
from middlewared.cli.files import STREAM, output_file, transfer_bar
from middlewared.cli.follow import Follower, follow_options
from middlewared.cli.output import (
    clock,
    describe,
    elapsed,
    percent,
    print_json,
    print_table,
    seconds,
    what,
)
from middlewared.cli.show import print_record
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client

__all__ = ["job", "make_filters"]

#: Jobs per request of a long list; the server answers with at most 1000.
PAGE = 1000

STATES = ["WAITING", "RUNNING", "SUCCESS", "FAILED", "ABORTED"]


@click.group(short_help="List, show, follow and abort jobs.")
@connection_options()
def job() -> None:
    """List, show, follow and abort jobs."""


@job.command("ls", short_help="List jobs, newest first.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES, case_sensitive=False),
    help="Only jobs in this state; may be repeated.",
)
@click.option("--method", metavar="NAME", help="Only this method; demo.* for several.")
@click.option("--limit", type=click.IntRange(1), default=50, help="How many.")
@click.option("--all", "everything", is_flag=True, help="The whole history.")
@connection_options()
@click.pass_obj
def ls(
    target: Target,
    states: tuple[str, ...],
    method: str | None,
    limit: int,
    *,
    everything: bool,
) -> None:
    """List jobs, newest first: the last 50, unless told otherwise."""
    filters = make_filters(states, method)

    async def body(client: "Client") -> None:
        jobs = await _list(client, filters, None if everything else limit)
        if target.as_json:
            print_json(jobs)
        else:
            print_table(
                ["ID", "STATE", "%", "STARTED", "TIME", "METHOD", ""], map(_row, jobs)
            )

    target.run(body)


def make_filters(states: tuple[str, ...], method: str | None) -> list[Any]:
    """Write the filters of ``core.get_jobs`` for the options of ``job ls``."""
    filters: list[Any] = []
    if states:
        filters.append(["state", "in", list(states)])
    if method is not None and method.endswith("*"):
        filters.append(["method", "^", method.removesuffix("*")])
    elif method is not None:
        filters.append(["method", "=", method])
    return filters


async def _list(client: "Client", filters: list[Any], limit: int | None) -> list[Any]:
    """Read jobs page by page; jobs that are added meanwhile do not shift the pages."""
    jobs: list[Any] = []
    while limit is None or len(jobs) < limit:
        size = PAGE if limit is None else min(PAGE, limit - len(jobs))
        older = [["id", "<", jobs[-1]["id"]]] if jobs else []
        page = await client.call(
            "core.get_jobs", filters + older, {"order_by": ["-id"], "limit": size}
        )
        jobs += page
        if len(page) < size:
            break
    return jobs


def _row(item: Any) -> list[str]:
    return [
        str(item["id"]),
        item["state"],
        percent(item),
        clock(item["time_started"]),
        seconds(elapsed(item)),
        item["method"],
        what(item),
    ]


@job.command("show", short_help="Show everything about a job.")
@click.argument("job_id", metavar="ID", type=int)
@connection_options()
@click.pass_obj
def show(target: Target, job_id: int) -> None:
    """Show everything about job ID: params, times, result, log, traceback."""

    async def body(client: "Client") -> None:
        record = await client.call("job.get", job_id)
        if target.as_json:
            print_json(record)
        else:
            print_record(record)

    target.run(body)


@job.command("logs", short_help="Print the log of a job.")
@click.argument("job_id", metavar="ID", type=int)
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@connection_options()
@click.pass_obj
def logs(target: Target, job_id: int, *, follow: bool) -> None:
    """Print the log of job ID; with -f also what is added until the job has ended.

    With --json each piece is a line with the keys data and offset.
    """

    def write(data: str, offset: int) -> None:
        if target.as_json:
            print_json({"data": data, "offset": offset})
        else:
            click.echo(data, nl=False)

    async def body(client: "Client") -> None:
        if follow:
            async with client.tail_log(job_id, offset=0) as chunks:
                async for chunk in chunks:
                    write(chunk.data, chunk.offset)
            return
        offset, size = 0, 1
        while offset < size:
            part = await client.call("job.read_log", job_id, offset)
            if part["offset"] == offset:
                break
            offset, size = part["offset"], part["size"]
            write(part["data"], offset)

    target.run(body, reconnect=follow)


@job.command("result", short_help="Write the result of a job to a file.")
@click.argument("job_id", metavar="ID", type=int)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="File to write; standard output without it, or with -.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@connection_options()
@click.pass_obj
def result(target: Target, job_id: int, *, output: str | None, quiet: bool) -> None:
    """Write what job ID returned, as JSON, however large it is."""

    async def body(client: "Client") -> None:
        words, silent = f"job {job_id}", quiet or target.as_json
        with (
            output_file(output or STREAM) as file,
            transfer_bar(words, None, quiet=silent) as moved,
        ):
            async with client.download_result(job_id) as found:
                async for data in found:
                    file.write(data)
                    moved(found.received)

    target.run(body)


@job.command("abort", short_help="Stop a job.")
@click.argument("job_id", metavar="ID", type=int)
@click.option("--force", is_flag=True, help="Even one that is not abortable.")
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@connection_options()
@click.pass_obj
def abort(target: Target, job_id: int, *, force: bool, wait: bool) -> None:
    """Stop job ID, waiting or running.

    A running job ends when its body does, which may take a while: --wait waits for
    that, and fails (exit code 1) if the job ended in another way.
    """

    async def body(client: "Client") -> int:
        handle = client.attach(job_id)
        await handle.wait_accepted()
        ended_before = handle.ended
        await handle.abort(force=force)
        if wait:
            await handle.wait_ended()
        else:
            # A waiting job ends at once: read how things stand after the request.
            handle = client.attach(job_id)
            await handle.wait_accepted()
        item = handle.item or {}
        if target.as_json:
            print_json(item)
        elif ended_before:
            click.echo(f"{describe(item)}: it had ended before")
        elif handle.ended:
            click.echo(describe(item))
        else:
            click.echo(f"{describe(item)}: asked to stop")
        done = item["state"] == "ABORTED" or not (wait or ended_before)
        return Exit.SUCCESS if done else Exit.FAILED

    target.run(body)


@job.command("wait", short_help="Wait for a job and print its result.")
@click.argument("job_id", metavar="ID", type=int)
@follow_options
@connection_options()
@click.pass_obj
def wait(
    target: Target, job_id: int, *, job_print: str, quiet: bool, give_up_after: float
) -> None:
    """Wait until job ID has ended and print its result.

    The exit code is that of the job: 0 SUCCESS, 1 FAILED, 4 ABORTED.
    """
    follower = Follower(
        target, style=job_print, quiet=quiet, give_up_after=give_up_after
    )
    follower.run(lambda client: client.attach(job_id))
