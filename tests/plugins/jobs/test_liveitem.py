"""A job in memory as an item."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs_records import make_record, records

from middlewared.filters import parse_filters
from middlewared.filters.tree import Incomparable
from middlewared_jobs import JobRecord
from middlewared_jobs.liveitem import MAX_LIVE, LiveItem, choose
from middlewared_jobs.views import ITEM, RECORD, View


@given(record=records(3), view=st.sampled_from([ITEM, RECORD]))
def test_item_is_what_the_view_shows(record: JobRecord, view: View) -> None:
    """The same keys in the same order, the same values, the same text."""
    item = LiveItem(record, view)
    assert dict(item) == view.plain(record)
    assert list(item) == list(view.fields)
    assert len(item) == len(view.fields)
    assert item.text(view.fields) == view.encode(record)


def test_other_keys_are_missing() -> None:
    """The wire's item lacks what only the record has."""
    item = LiveItem(make_record(4), ITEM)
    assert item.id == 4
    assert item.get("uid", "missing") == "missing"
    with pytest.raises(KeyError):
        item["uid"]


def test_chosen_keys_come_in_their_order() -> None:
    """A selection is encoded as it was asked for."""
    text = LiveItem(make_record(4), ITEM).text(("state", "id"))
    assert text == b'{"state":"WAITING","id":4}'
    assert msgspec.json.decode(text) == {"state": "WAITING", "id": 4}


def chosen(count: int | None, *filters: Any, newest: bool, live: int = 9) -> Any:
    """Choose among so many jobs; give their ids."""
    jobs = [make_record(number) for number in range(live, 0, -1)]
    found = choose(jobs, parse_filters(filters), ITEM, count, newest=newest)
    return None if found is None else [item.id for item in found]


def test_what_is_needed_is_chosen() -> None:
    """Matches only, from the end that is needed, and no more than that."""
    assert chosen(3, newest=True) == [9, 8, 7]
    assert chosen(3, ["id", "in", [2, 5, 6, 7]], newest=False) == [2, 5, 6]
    assert chosen(None, ["id", "<", 3], newest=False) == [1, 2]
    assert chosen(5, ["id", "<", 3], newest=True) == [2, 1]
    with pytest.raises(Incomparable):
        chosen(1, ["id", ">", "x"], newest=False)


def test_only_so_many_are_looked_at() -> None:
    """Whoever asks has to go another way then."""
    many = MAX_LIVE + 1
    assert chosen(None, newest=False, live=many) is None
    assert chosen(1, ["id", "=", 1], newest=True, live=many) is None
    assert chosen(1, ["id", "=", 1], newest=True, live=MAX_LIVE) == [1]
    assert chosen(2, newest=True, live=many) == [many, many - 1]
