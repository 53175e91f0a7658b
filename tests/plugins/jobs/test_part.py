"""Which of the matches of a query are given."""

from typing import Any

import pytest

from middlewared.filters import QueryOptions
from middlewared_jobs.part import DEFAULT_LIMIT, Part, part_of


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({}, Part(0, DEFAULT_LIMIT, newest=True)),
        ({"limit": 5}, Part(0, 5, newest=False)),
        ({"offset": 7}, Part(7, DEFAULT_LIMIT, newest=False)),
        ({"order_by": ["-id"]}, Part(0, DEFAULT_LIMIT, newest=False)),
        ({"get": True}, Part(0, 1, newest=False)),
        ({"get": True, "limit": 1}, Part(0, 1, newest=False)),
        ({"offset": 2, "limit": 3}, Part(2, 3, newest=False)),
    ],
)
def test_part_of(options: dict[str, Any], part: Part) -> None:
    """Without any wish the newest matches are given, else those that are asked for."""
    assert part_of(QueryOptions(**options)) == part


def test_cut() -> None:
    """The piece is cut from where it starts, or from the end."""
    assert Part(1, 2, newest=False).cut("abcd") == "bc"
    assert Part(0, 3, newest=True).cut("abcd") == "bcd"
    assert Part(3, 9, newest=False).cut("abcd") == "d"
    assert Part(1, 2, newest=False).needed == 3
    assert Part(2**63 - 1, 5, newest=False).needed == 2**62
    assert Part(2**63 - 1, 5, newest=False).cut("abcd") == ""
