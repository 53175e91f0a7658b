"""How ``middlewared job show`` prints the record of a job."""

from collections.abc import Mapping
from typing import Any

import click

from middlewared.cli.output import (
    clock,
    dumps,
    elapsed,
    percent,
    plain,
    seconds,
    styled_state,
)

__all__ = ["print_record", "record_lines"]

#: Columns of the names on the left.
LABEL = 12
#: How many of a job's messages are shown: the newest.
MESSAGES = 20


def print_record(record: Mapping[str, Any]) -> None:
    """Print the record of a job for people."""
    for line in record_lines(record):
        click.echo(line)


def record_lines(record: Mapping[str, Any]) -> list[str]:
    """Write the record of a job: a line per fact, then result, log and traceback."""
    title = f"job {record['id']}  {record['method']}"
    lines = [f"{click.style(title, bold=True)}  {styled_state(record['state'])}"]
    lines += [f"  {label.ljust(LABEL)}{text}" for label, text in _facts(record) if text]
    if record["state"] == "SUCCESS":
        lost = record.get("result_encoding_error")
        result = dumps(record["result"], indent=2)
        lines += _block("result", f"cannot be sent: {lost}" if lost else result)
    messages = record.get("messages") or []
    if messages:
        lines += _block("messages", "\n".join(map(_message, messages[-MESSAGES:])))
    for label, key in (("log", "logs_excerpt"), ("exception", "exception")):
        if record.get(key):
            lines += _block(label, record[key])
    return lines


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    progress = record["progress"]
    words = [percent(record), progress["description"] or ""]
    took = seconds(elapsed(record))
    ended = clock(record.get("time_finished"))
    extra = progress.get("extra")
    return [
        ("description", record.get("description") or ""),
        ("params", dumps(record["arguments"]) if record["arguments"] else ""),
        ("progress", "  ".join(word for word in words if word)),
        ("extra", "" if extra is None else dumps(extra)),
        ("owner", _owner(record)),
        ("schedule", str(record.get("schedule") or "")),
        ("created", clock(record.get("time_created"))),
        ("started", clock(record.get("time_started"))),
        ("ended", f"{ended}  (took {took})" if ended and took else ended),
        ("attempt", _attempt(record)),
        ("exit", _exit(record)),
        ("error", (record.get("error") or "").strip().replace("\n", "; ")),
        ("abortable", "yes" if record.get("abortable") else "no"),
        ("uid", str(record.get("uid") or "")),
    ]


def _exit(record: Mapping[str, Any]) -> str:
    """Say how a job came out, where its state does not."""
    found = record.get("exit") or {}
    if not str(found.get("kind")).startswith("COMPLETED_"):
        return ""
    message = plain(found.get("message") or "")
    return f"{found['code']}: {message}" if message else str(found["code"])


def _message(message: Mapping[str, Any]) -> str:
    code = message["code"]
    words = [message["severity"], "" if code is None else str(code), message["text"]]
    return "  ".join(word for word in words if word)


def _attempt(record: Mapping[str, Any]) -> str:
    attempt = record.get("attempt") or 1
    return str(attempt) if attempt > 1 else ""


def _owner(record: Mapping[str, Any]) -> str:
    owner = record.get("owner")
    if isinstance(owner, Mapping):
        owner = owner.get("username") or owner.get("name")
    if owner:
        return str(owner)
    data = (record.get("credentials") or {}).get("data") or {}
    return str(data.get("username") or "")


def _block(label: str, text: str) -> list[str]:
    lines = plain(text).rstrip("\n").split("\n")
    return [f"  {label}", *(f"    {line}" for line in lines)]
