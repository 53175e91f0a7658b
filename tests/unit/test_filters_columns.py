"""Which column stores what a path leads to."""

from typing import Any

import pytest

from middlewared.filters import Column
from middlewared.filters.columns import (
    FoundColumn,
    Kind,
    column_table,
    find_column,
)

STATE = Column("j.state", "text")
STARTED = Column("j.started", "time_ms", nullable=True)
PERCENT = Column("j.percent", "int")
DOTTED = Column("j.dotted", "int")
TABLE = column_table(
    {
        "state": STATE,
        "started": STARTED,
        "progress.percent": PERCENT,
        r"a\.b": DOTTED,
    }
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("state",), FoundColumn(STATE, 1, is_ms=False)),
        (("started",), FoundColumn(STARTED, 1, is_ms=False)),
        (("started", "$date"), FoundColumn(STARTED, 1, is_ms=True)),
        (("progress", "percent"), FoundColumn(PERCENT, 2, is_ms=False)),
        (("a.b",), FoundColumn(DOTTED, 1, is_ms=False)),
        (("state", "$date"), None),
        (("progress",), None),
        (("started", "$date", "x"), None),
        (("nope",), None),
        ((), None),
    ],
)
def test_find_column(path: tuple[str, ...], expected: FoundColumn | None) -> None:
    """A path finds its own column; below a time it finds its milliseconds."""
    assert find_column(path, TABLE) == expected


@pytest.mark.parametrize(
    ("kind", "stored", "plain"),
    [
        ("int", 5, 5),
        ("text", "a", "a"),
        ("bool", 1, True),
        ("json", '{"a":[1]}', {"a": [1]}),
        ("json", "null", None),
        ("time_ms", 7, {"$date": 7}),
        ("time_ms", None, None),
    ],
)
def test_plain_values(kind: Kind, stored: Any, plain: Any) -> None:
    """What is stored stands for the value that the item has."""
    found = Column("x", kind, nullable=True).plain(stored)
    assert found == plain
    assert type(found) is type(plain)
