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
    facts = [(label, plain(text)) for label, text in _facts(record) if text]
    lines += [f"  {label.ljust(LABEL)}{text}" for label, text in facts]
    if record["state"] == "SUCCESS":
        lost = record.get("result_encoding_error")
        result = dumps(record["result"], indent=2)
        lines += _block("result", f"cannot be sent: {lost}" if lost else result)
    for label, key, write in (
        ("steps", "steps", _step),
        ("attempts", "attempts", _failed_attempt),
    ):
        if record.get(key):
            lines += _block(label, "\n".join(map(write, record[key])))
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
        ("parent", str(record.get("parent") or "")),
        ("restarts", _restarts(record)),
        ("lock", record.get("lock") or ""),
        ("created", clock(record.get("time_created"))),
        ("started", clock(record.get("time_started"))),
        ("ended", f"{ended}  (took {took})" if ended and took else ended),
        ("attempt", _attempt(record)),
        ("phase", _phase(record)),
        ("aborted", _abort(record)),
        ("exit", _exit(record)),
        ("counts", _counts(record)),
        ("error", (record.get("error") or "").strip().replace("\n", "; ")),
        ("abortable", "yes" if record.get("abortable") else "no"),
        ("uid", str(record.get("uid") or "")),
    ]


def _restarts(record: Mapping[str, Any]) -> str:
    earlier = record.get("restart_of")
    return f"job {earlier}, where it ended" if earlier else ""


def _phase(record: Mapping[str, Any]) -> str:
    """Say what an unfinished job does, where its state does not."""
    told = record.get("phase") in ("pausing", "paused", "aborting", "retrying")
    when = clock(record.get("run_at"))
    words = [record["phase"] if told else "", f"not before {when}" if when else ""]
    return ", ".join(word for word in words if word)


def _abort(record: Mapping[str, Any]) -> str:
    abort = record.get("abort")
    if not abort:
        return ""
    words = f"asked by {abort['by']} at {clock(abort['at'])}"
    if abort.get("overdue"):
        words += ", overdue"
    return f"{words}: {abort['reason']}" if abort.get("reason") else words


def _counts(record: Mapping[str, Any]) -> str:
    counts = dict(record.get("counts") or {})
    if record.get("item_errors"):
        counts["item errors"] = record["item_errors"]
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def _step(step: Mapping[str, Any]) -> str:
    name = (
        step["name"] if step["scope"] is None else f"{step['name']} ({step['scope']})"
    )
    total = "" if step["total"] is None else f"/{step['total']}"
    done = f"{step['done']}{total}" if step["done"] or total else ""
    percent_ = "" if step["percent"] is None else f"{step['percent']}%"
    earlier = f"in job {step['ran_in']}" if step.get("ran_in") else ""
    words = [step["state"], name, percent_, done, step["doing"] or "", earlier]
    return "  ".join(word for word in words if word)


def _failed_attempt(attempt: Mapping[str, Any]) -> str:
    error = (attempt["error"] or "").strip().replace("\n", "; ")
    return f"{attempt['number']}  {clock(attempt['time_finished'])}  {error}"


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
