"""What RPC servers are asked to do, the same for ours and for its rivals."""

from typing import Any

import msgspec

__all__ = [
    "COLLECTION",
    "OWNED",
    "PARAMS",
    "PING",
    "TYPED",
    "Item",
    "Report",
    "Typed",
    "make_report",
    "make_thing",
]

PING = "core.ping"
TYPED = "bench.typed"
#: Lines of a report, so that it is 2 kB as JSON.
ITEMS = 20
#: What the events of row 3 are of.
COLLECTION = "bench.things"
#: The same for subscribers that see what their account owns.
OWNED = "bench.owned"


class Typed(msgspec.Struct):
    """Ten params of several types."""

    pool: str
    dataset: str
    recursive: bool
    count: int
    ratio: float
    tags: list[str]
    limits: dict[str, int]
    description: str | None
    started: int
    owner: str


class Item(msgspec.Struct):
    """A line of a report."""

    id: int
    name: str
    size: int
    used: float
    healthy: bool
    note: str | None


class Report(msgspec.Struct):
    """A result of 2 kB."""

    pool: str
    owner: str
    total: int
    items: list[Item]


#: What is sent.
PARAMS: dict[str, Any] = {
    "pool": "tank",
    "dataset": "tank/home/projects",
    "recursive": True,
    "count": 12,
    "ratio": 0.75,
    "tags": ["nightly", "offsite", "projects"],
    "limits": {"bandwidth": 1000, "snapshots": 30},
    "description": "Projects, before the night's run",
    "started": 1_790_000_000_000,
    "owner": "bernadette",
}


def make_report(pool: str, owner: str, count: int) -> Report:
    """Make the result of a call."""
    items = [
        Item(
            number,
            f"tank/home/projects/part-{number:04}",
            1_073_741_824 + number * count,
            0.5,
            number % 3 == 0,
            None,
        )
        for number in range(ITEMS)
    ]
    return Report(pool, owner, len(items), items)


def make_thing(number: int, version: int) -> bytes:
    """Encode an item of 1 kB, as the event of a job has."""
    lines = [f"{number:06} {version:06} {line:02} " + "." * 50 for line in range(13)]
    return msgspec.json.encode({"id": number, "version": version, "lines": lines})
