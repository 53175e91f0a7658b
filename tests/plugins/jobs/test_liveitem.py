"""A job in memory as an item."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs_records import make_record, records

from middlewared_jobs import JobRecord
from middlewared_jobs.liveitem import LiveItem
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
