"""``middlewared audit``: who did what."""

import datetime as dt
from typing import Any

import click
from msgspec import to_builtins

from middlewared.cli.administration import (
    MOMENT,
    Call,
    NoMoment,
    run_administration,
)
from middlewared.cli.output import clock, dumps, plain, print_json, print_table
from middlewared.cli.target import Target, connection_options

__all__ = ["audit"]

EVENTS = ["LOGIN", "LOGOUT", "CALL", "JOB", "LOST"]


@click.command("audit", short_help="List who did what.")
@click.option(
    "--account", "username", metavar="NAME", help="Only what this account did."
)
@click.option("--method", metavar="NAME", help="Only this method; user.* for several.")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice(EVENTS, case_sensitive=False),
    help="Only this; may be repeated.",
)
@click.option("--failed", is_flag=True, help="Only what was refused or failed.")
@click.option("--since", type=MOMENT, help="Only from then on.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, help="How many.")
@connection_options()
@click.pass_obj
def audit(
    target: Target,
    username: str | None,
    method: str | None,
    events: tuple[str, ...],
    since: dt.datetime | NoMoment | None,
    limit: int,
    *,
    failed: bool,
) -> None:
    """List logins and calls that changed something, the newest last.

    The server may run or not.
    """
    filters: list[Any] = []
    if username is not None:
        filters.append(["username", "=", username])
    if method is not None and method.endswith("*"):
        filters.append(["method", "^", method.removesuffix("*")])
    elif method is not None:
        filters.append(["method", "=", method])
    if events:
        filters.append(["event", "in", list(events)])
    if failed:
        filters.append(["outcome", "!=", "OK"])
    if isinstance(since, dt.datetime):
        filters.append(["time.$date", ">=", since.astimezone(dt.UTC).isoformat()])

    async def body(call: Call) -> None:
        options = {"order_by": ["-id"], "limit": limit}
        found = to_builtins(await call("audit.query", filters, options))[::-1]
        if target.as_json:
            print_json(found)
        else:
            print_table(
                ["TIME", "EVENT", "OUTCOME", "USER", "FROM", "JOB", "WHAT"],
                map(_row, found),
            )

    run_administration(target, body)


def _row(item: dict[str, Any]) -> list[str]:
    job = item["job_id"]
    return [
        clock(item["time"]),
        item["event"],
        item["outcome"],
        plain(item["username"] or "-"),
        item["origin"] or "-",
        "" if job is None else str(job),
        plain(_what(item)),
    ]


def _what(item: dict[str, Any]) -> str:
    """Say on one line what was called, with its params, or how."""
    params = item["params"]
    shown = "" if params is None else f"({', '.join(map(dumps, params))})"
    parts = [f"{item['method'] or ''}{shown}", item["detail"] or ""]
    return " ".join(part for part in parts if part)
