"""How the dialects spell ids and times; pure."""

import base64
import binascii
import datetime as dt
import re
import uuid

from middlewared import Date

__all__ = [
    "duration_ms",
    "elapsed",
    "iso",
    "job_uid",
    "read_webex_id",
    "webex_id",
]

_WEBEX = re.compile(r"ciscospark://us/([A-Z_]+)/([0-9a-f-]{36})")


def webex_id(kind: str, number: str) -> str:
    """Spell an id as Webex does: URL-safe base64 of a URI, without padding.

    Args:
        kind: JOB_ID, PEOPLE or ORGANIZATION.
        number: a uuid.
    """
    uri = f"ciscospark://us/{kind}/{number}"
    return base64.urlsafe_b64encode(uri.encode()).decode().rstrip("=")


def read_webex_id(text: str) -> tuple[str, str] | None:
    """Read such an id; None when it is none."""
    try:
        uri = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    found = _WEBEX.fullmatch(uri)
    return None if found is None else (found[1], found[2])


def job_uid(text: str) -> str | None:
    """Read the uuid of a job in any dialect's spelling; None when it is none."""
    webex = read_webex_id(text)
    if webex is not None:
        return webex[1] if webex[0] == "JOB_ID" else None
    try:
        return str(uuid.UUID(text.removeprefix("j")))
    except ValueError:
        return None


def iso(date: Date) -> str:
    """Spell a time as ``2016-03-03T09:46:06.357Z``."""
    moment = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(milliseconds=date.ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration_ms(start: Date | None, end: Date | None, now: int) -> int:
    """Count the milliseconds from a start to an end, or until now; 0 before it."""
    if start is None:
        return 0
    return max(0, (now if end is None else end.ms) - start.ms)


def elapsed(milliseconds: int) -> str:
    """Spell a length of time as ISO 8601 does, in seconds: ``PT10.3S``."""
    seconds, rest = divmod(milliseconds, 1000)
    fraction = f".{rest:03d}".rstrip("0").rstrip(".")
    return f"PT{seconds}{fraction}S"
