"""The record of a job, and the item of the wire that is cut from it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs_records import make_record, records

from middlewared import Credentials
from middlewared_jobs import JobRecord
from middlewared_jobs.record import (
    DETAILS,
    encode_item,
    item_of,
    snapshot_credentials,
)
from middlewared_jobs.views import ITEM, RECORD

#: Protocol page, 5.1, in wire order.
KEYS = [
    *("id", "message_ids", "method", "arguments", "transient", "description"),
    *("abortable", "logs_path", "logs_excerpt", "progress", "result"),
    *("result_encoding_error", "error", "exception", "exc_info", "state"),
    *("time_started", "time_finished", "credentials"),
]


@given(records(7))
def test_item_has_the_keys_of_the_wire(record: JobRecord) -> None:
    """The item has exactly the documented keys, in their order."""
    item = msgspec.json.decode(encode_item(record))
    assert list(item) == KEYS
    assert list(item["progress"]) == ["percent", "description", "extra"]
    assert item == msgspec.to_builtins(msgspec.json.decode(encode_item(record)))
    for key in ("exc_info", "result_encoding_error", "credentials"):
        assert item[key] is None or isinstance(item[key], dict)


@given(records(7), st.sampled_from((None, *DETAILS)))
def test_details_are_there_or_not(record: JobRecord, name: str | None) -> None:
    """Any one of them is enough, whatever it is."""
    fresh = make_record(7)
    if name is not None:
        setattr(fresh, name, getattr(record, name))
    for looked_at in (fresh, record):
        found = [getattr(looked_at, detail) for detail in DETAILS]
        none = [getattr(make_record(1), detail) for detail in DETAILS]
        assert looked_at.has_details() == (found != none)


@given(records(7))
def test_views_agree(record: JobRecord) -> None:
    """Both shapes show the same values; the record has more of them."""
    item, whole = ITEM.plain(record), RECORD.plain(record)
    assert item == {key: whole[key] for key in KEYS}
    assert tuple(item) == ITEM.fields
    assert tuple(whole) == RECORD.fields
    extra = {"uid", "time_created", "owner", "attempt", "lock", "abort"}
    assert set(whole) >= set(KEYS) | extra


@given(records(7), st.integers())
def test_clear_result_is_only_in_its_own_encoding(record: JobRecord, n: int) -> None:
    """A result put in for one reader leaves the record as it was."""
    before = encode_item(record)
    shown = msgspec.json.decode(ITEM.encode_clear(record, b"%d" % n))
    assert shown["result"] == n
    assert encode_item(record) == before


def test_parts_have_their_keys() -> None:
    """The item's fields and the credentials inside are as documented."""
    assert list(item_of(make_record(1)).__struct_fields__) == KEYS
    credentials = Credentials(
        type="LOGIN_PASSWORD",
        account_id=3,
        username="ann",
        roles=frozenset({"JOB_USER"}),
        login_id="x",
        login_at=5,
    )
    shown: Any = msgspec.to_builtins(snapshot_credentials(credentials))
    assert shown == {
        "type": "LOGIN_PASSWORD",
        "data": {"username": "ann", "login_id": "x", "login_at": {"$date": 5}},
    }
    assert snapshot_credentials(None) is None


@pytest.mark.parametrize(
    ("state", "final"),
    [("WAITING", False), ("RUNNING", False), ("SUCCESS", True), ("ABORTED", True)],
)
def test_final_states_are_final(state: str, final: bool) -> None:
    """A record knows whether its job has ended."""
    found: Any = make_record(1, state=state)
    assert found.final is final
