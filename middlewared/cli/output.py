"""What commands print: values, tables, times, errors."""

import json
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from middlewared.client.errors import JobAborted, JobFailed, RemoteError
from middlewared.errors import CallError, describe_error, validation_extra

__all__ = [
    "STATE_COLOURS",
    "clock",
    "describe",
    "dumps",
    "elapsed",
    "error_object",
    "percent",
    "plain",
    "print_error",
    "print_json",
    "print_table",
    "print_value",
    "seconds",
    "styled_state",
    "what",
]

#: How a state looks, in words that click and rich share.
STATE_COLOURS = {
    "WAITING": "yellow",
    "RUNNING": "cyan",
    "SUCCESS": "green",
    "FAILED": "red",
    "ABORTED": "magenta",
}

ENOTAUTHENTICATED = 207
METHOD_NOT_FOUND = -32601


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Write a value as JSON, on one line unless *indent* is given."""
    separators = (",", ":") if indent is None else None
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)


def print_json(value: Any) -> None:
    """Print a JSON document on one line, and let a reader have it at once."""
    click.echo(dumps(value))


def print_value(value: Any, *, as_json: bool) -> None:
    """Print a result: text as it is, anything else as JSON."""
    if as_json:
        print_json(value)
    elif isinstance(value, str):
        click.echo(value)
    else:
        click.echo(dumps(value, indent=2))


# Jobs


def milliseconds(moment: Any) -> int | None:
    """Read ``{"$date": milliseconds}``, None where there is no date."""
    return moment["$date"] if isinstance(moment, dict) and "$date" in moment else None


def clock(moment: Any) -> str:
    """Show a date of the wire in local time; empty where there is none."""
    ms = milliseconds(moment)
    if ms is None:
        return ""
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def elapsed(item: Mapping[str, Any]) -> float | None:
    """Give the seconds a job ran, or runs until now; None before it started."""
    start = milliseconds(item.get("time_started"))
    if start is None:
        return None
    end = milliseconds(item.get("time_finished"))
    # The clocks of two machines differ: a job never ran less than no time.
    return max(0.0, (time.time() * 1000 if end is None else end) - start) / 1000


def seconds(span: float | None) -> str:
    """Show a length of time: ``0.42s``, ``12s``, ``3m05s``, ``2h07m``."""
    if span is None:
        return ""
    if span < 10:  # noqa: PLR2004 - below, tenths matter
        return f"{span:.1f}s"
    minutes, rest = divmod(int(span), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def percent(item: Mapping[str, Any]) -> str:
    """Show how far a job is; empty where it cannot say."""
    value = item["progress"]["percent"]
    return "" if value is None else f"{int(value)}%"


def what(item: Mapping[str, Any]) -> str:
    """Say in one line what a job does, or why it failed."""
    error = str(item.get("error") or "").strip()
    if error:
        return plain(error.splitlines()[0])
    text = item["progress"]["description"] or item.get("description") or ""
    return " ".join(plain(str(text)).split())


def plain(text: str) -> str:
    """Replace what a terminal could take for a command; lines and tabs stay."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def describe(item: Mapping[str, Any]) -> str:
    """Say in one line where a job is: id, method, state, progress, words."""
    parts = [f"job {item['id']}", item["method"], item["state"]]
    if item["state"] == "RUNNING":
        parts.append(percent(item))
    elif item["time_finished"] is not None and elapsed(item) is not None:
        parts.append(f"after {seconds(elapsed(item))}")
    parts.append(what(item))
    return " ".join(part for part in parts if part)


def styled_state(state: str, width: int = 0) -> str:
    """Colour the name of a state; where the output is no terminal, click undoes it."""
    return click.style(state.ljust(width), fg=STATE_COLOURS.get(state))


# Tables


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns; the last one is cut to the width of a terminal.

    Off a terminal nothing is cut and there is no header, so that lines can be
    processed by other programs.
    """
    table = [list(row) for row in rows]
    terminal = sys.stdout.isatty()
    if terminal:
        table.insert(0, list(headers))
    if not table:
        return
    widths = [max(len(row[n]) for row in table) for n in range(len(headers))]
    width = shutil.get_terminal_size().columns
    for number, row in enumerate(table):
        line = _line(row, widths, width if terminal else None)
        header = terminal and number == 0
        click.echo(click.style(line, bold=True) if header else line)


def _line(row: Sequence[str], widths: Sequence[int], width: int | None) -> str:
    *cells, last = row
    padded = [
        cell.rjust(size) if cell.isdigit() else cell.ljust(size)
        for cell, size in zip(cells, widths, strict=False)
    ]
    room = sys.maxsize if width is None else width - sum(len(c) + 2 for c in padded)
    if len(last) > room:
        last = last[: max(0, room - 1)] + "…"
    coloured = [
        click.style(cell, fg=STATE_COLOURS.get(cell.strip())) for cell in padded
    ]
    return "  ".join([*coloured, last]).rstrip()


# Errors


def error_object(error: Exception) -> dict[str, Any]:
    """Describe an error for programs; the table of keys is in docs/terminal.md."""
    described: dict[str, Any] = {
        "kind": type(error).__name__,
        "message": str(error).strip(),
    }
    if isinstance(error, CallError):
        data = describe_error(error, with_trace=False)
        described |= {
            "code": error.code,
            "errno": data.error,
            "errname": data.errname,
            "extra": data.extra,
        }
    if isinstance(error, RemoteError):
        described |= {"errname": error.errname, "extra": error.extra}
    if isinstance(error, JobFailed | JobAborted):
        described |= {"job": error.job_id, "state": error.item["state"]}
    if isinstance(error, JobFailed):
        described["exception"] = error.exception
    return described


def print_error(error: Exception, *, as_json: bool) -> None:
    """Tell on standard error what went wrong."""
    if as_json:
        click.echo(dumps({"error": error_object(error)}), err=True)
        return
    for line in error_lines(error):
        click.echo(line, err=True)


def error_lines(error: Exception) -> list[str]:
    """Say what went wrong: one sentence, then its details, indented."""
    rows = validation_extra(error)
    if rows:
        job = f"job {error.job_id}: " if isinstance(error, JobFailed) else ""
        lines = [f"middlewared: {job}the server does not accept these params"]
        lines += [f"  {where or 'params'}: {text}" for where, text, _ in rows]
        return lines
    if isinstance(error, JobFailed):
        return [
            f"middlewared: job {error.job_id} failed: {error}",
            f"  middlewared job show {error.job_id}  shows its traceback and log",
        ]
    first, *rest = str(error).splitlines() or [type(error).__name__]
    lines = [f"middlewared: {first}", *(f"  {line}" for line in rest)]
    if isinstance(error, CallError):
        if error.extra is not None:
            lines += [f"  {line}" for line in dumps(error.extra, indent=2).splitlines()]
        if error.code == METHOD_NOT_FOUND:
            lines.append("  middlewared methods  lists those that do")
        if error.errno == ENOTAUTHENTICATED:
            lines.append("  log in with --user, --api-key or --token")
    return lines
