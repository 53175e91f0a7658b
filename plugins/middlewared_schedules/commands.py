"""``middlewared schedule``: list, make, change, run and remove schedules."""

import datetime as dt
import errno
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from middlewared import CallError
from middlewared.cli.follow import Follower, follow_options
from middlewared.cli.output import clock, dumps, plain, print_json, print_table
from middlewared.cli.params import NamedValue, ParamCommand, parse_param, parse_params
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client, JobHandle

__all__ = ["schedule"]

F = TypeVar("F", bound=Callable[..., Any])
Item = Mapping[str, Any]

#: Columns of the names on the left of ``schedule show``.
LABEL = 10
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Span(click.ParamType[int]):
    """A length of time: ``90``, ``90s``, ``10m``, ``12h``, ``7d``."""

    name = "SPAN"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read the option."""
        found = re.fullmatch(r"(\d+)([smhd]?)", str(value), re.ASCII)
        if found is None:
            self.fail(f"{value!r} is no length of time, as in 90s, 10m, 12h or 7d")
        return int(found[1]) * _SECONDS[found[2]]


class _Moment(click.ParamType[dict[str, int] | str]):
    """A date or a time of this host's zone, or ``none``."""

    name = "WHEN"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, int] | str:
        """Read the option."""
        if value == "none":
            return "none"
        try:
            moment = dt.datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(f"{value!r} is no date, as in 2027-01-31 or 2027-01-31T18:00")
        return {"$date": round(moment.timestamp() * 1000)}


@click.group(short_help="List, make, change, run and remove schedules.")
@connection_options()
def schedule() -> None:
    """List, make, change, run and remove schedules: jobs that start by themselves."""


def timing_options(command: F) -> F:
    """Add the options that say when a schedule is due, and what of its jobs."""
    options = [
        click.option("--cron", metavar="EXPR", help="As in '0 2 * * *' or @daily."),
        click.option("--every", type=_Span(), help="An interval, as in 90s or 12h."),
        click.option("--timezone", metavar="ZONE", help="Of the expression."),
        click.option("--start", type=_Moment(), help="No time before counts."),
        click.option("--end", type=_Moment(), help="No time after counts."),
        click.option("--jitter", type=_Span(), help="Put its times off, by chance."),
        click.option(
            "--missed",
            type=click.Choice(["skip", "once", "all"]),
            help="What becomes of times at which nothing could run.",
        ),
        click.option(
            "--overlap/--no-overlap",
            default=None,
            help="Start a job while an earlier one has not ended.",
        ),
        click.option(
            "--option",
            "options",
            type=NamedValue(),
            multiple=True,
            help="Of each job, as in timeout=600; may be repeated.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _data(
    *, every: int | None, options: tuple[tuple[str, Any], ...], **chosen: Any
) -> dict[str, Any]:
    """Give what the options say, in the words of the methods."""
    found = {name: value for name, value in chosen.items() if value is not None}
    for name in ("start", "end"):
        if found.get(name) == "none":
            found[name] = None
    if every is not None:
        found["interval"] = every
    if options:
        found["options"] = dict(options)
    return found


async def _find(client: "Client", which: str) -> Item:
    """Find a schedule by its id or its name.

    Raises:
        CallError: there is none, or several people have one of this name.
    """
    if which.isdecimal():
        by_id: Item = await client.call("schedule.get", int(which))
        return by_id
    found = await client.call("schedule.query", [["name", "=", which]])
    if not found:
        raise CallError(f"there is no schedule {which!r}", errno.ENOENT)
    if len(found) > 1:
        ids = ", ".join(f"{item['id']} of {item['username']}" for item in found)
        raise CallError(f"there are several schedules {which!r}: {ids}")
    one: Item = found[0]
    return one


@schedule.command("ls", short_help="List schedules.")
@connection_options()
@click.pass_obj
def ls(target: Target) -> None:
    """List schedules: when they start a job next, and how the last one ended."""

    async def body(client: "Client") -> None:
        found = await client.call("schedule.query", [], {"order_by": ["name"]})
        if target.as_json:
            print_json(found)
            return
        head = ["ID", "NAME", "NEXT", "LAST", "JOB", "STATE", "METHOD"]
        print_table(head, map(_row, found))

    target.run(body)


def _row(item: Item) -> list[str]:
    return [
        str(item["id"]),
        plain(item["name"]),
        _next(item),
        clock(item["last_run"]),
        "" if item["last_job"] is None else str(item["last_job"]),
        _state(item),
        f"{item['method']}  {plain(item['last_error'] or item['when'])}",
    ]


def _next(item: Item) -> str:
    if not item["enabled"]:
        return "disabled"
    return clock(item["next_run"]) or "never"


def _state(item: Item) -> str:
    """Say how the last job ended."""
    if item["last_job"] is None:
        return ""
    return item["last_state"] or "unfinished"


@schedule.command("show", short_help="Show everything about a schedule.")
@click.argument("which", metavar="SCHEDULE")
@connection_options()
@click.pass_obj
def show(target: Target, which: str) -> None:
    """Show everything about SCHEDULE, which is an id or a name."""

    async def body(client: "Client") -> None:
        _print(target, await _find(client, which))

    target.run(body)


def _print(target: Target, item: Item) -> None:
    if target.as_json:
        print_json(item)
        return
    title = f"schedule {item['id']}  {plain(item['name'])}"
    click.echo(click.style(title, bold=True))
    for label, text in _facts(item):
        if text:
            click.echo(f"  {label.ljust(LABEL)}{plain(text)}")


def _facts(item: Item) -> list[tuple[str, str]]:
    options = {
        name: value
        for name, value in item["options"].items()
        if value is not None and value != {}
    }
    rule = item["cron"] or f"{item['interval']} seconds"
    return [
        ("method", item["method"]),
        ("params", dumps(item["arguments"]) if item["arguments"] else ""),
        ("options", dumps(options) if options else ""),
        ("rule", f"{rule}  {item['timezone'] or ''}".rstrip()),
        ("when", item["when"]),
        ("start", clock(item["start"])),
        ("end", clock(item["end"])),
        ("jitter", f"up to {item['jitter']:g} s" if item["jitter"] else ""),
        ("missed", item["missed"]),
        ("overlap", "yes" if item["overlap"] else "no"),
        ("next", _next(item)),
        ("last", f"{clock(item['last_run'])}  {_job_words(item)}".strip()),
        ("skipped", clock(item["last_skipped"])),
        ("error", item["last_error"] or ""),
        ("owner", item["username"]),
        ("created", clock(item["created"])),
        ("modified", clock(item["modified"])),
    ]


def _job_words(item: Item) -> str:
    job = item["last_job"]
    return "" if job is None else f"job {job} {_state(item)}"


@schedule.command("create", cls=ParamCommand, short_help="Make a schedule.")
@click.argument("name")
@click.argument("method")
@click.argument("args", nargs=-1)
@timing_options
@click.option("--disabled", is_flag=True, help="Do not start jobs yet.")
@connection_options()
@click.pass_obj
def create(
    target: Target,
    /,
    name: str,
    method: str,
    args: tuple[str, ...],
    *,
    disabled: bool,
    **chosen: Any,
) -> None:
    """Make schedule NAME that starts jobs of METHOD with ARGS.

    Each of ARGS is read as JSON; what is no JSON is a string.

    \b
    middlewared schedule create nightly demo.checksum /usr --cron '0 2 * * *'
    middlewared schedule create often demo.sleep 5 --every 10m --missed skip
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    data = {"name": name, "method": method, "params": parse_params(args)}
    data |= _data(**chosen) | {"enabled": not disabled}

    async def body(client: "Client") -> None:
        made = await client.call("schedule.create", data)
        _confirm(target, "created", made)

    target.run(body)


def _confirm(target: Target, done: str, item: Item) -> None:
    if target.as_json:
        print_json(item)
    else:
        due = f", next {_next(item)}" if item["enabled"] else ""
        click.echo(f"{done} schedule {item['id']} {plain(item['name'])}{due}")


@schedule.command("update", short_help="Change a schedule.")
@click.argument("which", metavar="SCHEDULE")
@click.option("--rename", metavar="NAME", help="Give it another name.")
@click.option("--method", metavar="NAME", help="Another method; its params, too.")
@click.option("--params", metavar="JSON", help="An array or an object: all params.")
@timing_options
@connection_options()
@click.pass_obj
def update(
    target: Target,
    /,
    which: str,
    *,
    rename: str | None,
    method: str | None,
    params: str | None,
    **chosen: Any,
) -> None:
    """Change SCHEDULE; what is not given stays, but --option gives all options."""
    data = _data(**chosen)
    changes = {
        "name": rename,
        "method": method,
        "params": None if params is None else parse_param(params),
    }
    data |= {name: value for name, value in changes.items() if value is not None}
    _change(target, which, data, "changed")


def _change(target: Target, which: str, data: dict[str, Any], done: str) -> None:
    async def body(client: "Client") -> None:
        found = await _find(client, which)
        changed = await client.call("schedule.update", found["id"], data)
        _confirm(target, done, changed)

    target.run(body)


@schedule.command("enable", short_help="Let a schedule start jobs.")
@click.argument("which", metavar="SCHEDULE")
@connection_options()
@click.pass_obj
def enable(target: Target, which: str) -> None:
    """Let SCHEDULE start jobs again, from its next time on."""
    _change(target, which, {"enabled": True}, "enabled")


@schedule.command("disable", short_help="Pause a schedule.")
@click.argument("which", metavar="SCHEDULE")
@connection_options()
@click.pass_obj
def disable(target: Target, which: str) -> None:
    """Let SCHEDULE start no jobs; one that runs goes on."""
    _change(target, which, {"enabled": False}, "disabled")


@schedule.command("rm", short_help="Remove a schedule.")
@click.argument("which", metavar="SCHEDULE")
@connection_options()
@click.pass_obj
def remove(target: Target, which: str) -> None:
    """Remove SCHEDULE; its jobs go on and stay."""

    async def body(client: "Client") -> None:
        found = await _find(client, which)
        await client.call("schedule.delete", found["id"])
        if target.as_json:
            print_json(found)
        else:
            click.echo(f"removed schedule {found['id']} {found['name']}")

    target.run(body)


@schedule.command("run", short_help="Start a job of a schedule now.")
@click.argument("which", metavar="SCHEDULE")
@click.option("-j", "--job", is_flag=True, help="Wait for the job: progress, result.")
@follow_options
@connection_options()
@click.pass_obj
def run(
    target: Target,
    which: str,
    *,
    job: bool,
    job_print: str,
    quiet: bool,
    give_up_after: float,
) -> None:
    """Start a job of SCHEDULE now, and print its id; with -j, wait for its result."""

    async def ask(client: "Client") -> "JobHandle":
        found = await _find(client, which)
        return client.attach(await client.call("schedule.run", found["id"]))

    if job:
        follower = Follower(
            target, style=job_print, quiet=quiet, give_up_after=give_up_after
        )
        follower.run_started(ask)

    async def body(client: "Client") -> None:
        found = await _find(client, which)
        print_json(await client.call("schedule.run", found["id"]))

    target.run(body)
