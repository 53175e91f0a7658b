"""A job at one moment of its life, in few bytes."""

import msgspec
import pytest
from hypothesis import given
from jobs_records import make_record, records

from middlewared_jobs import JobRecord, State
from middlewared_jobs.change import FIXED, change_of, fixed_of, record_at
from middlewared_jobs.views import RECORD


@given(records(3))
def test_record_comes_back(record: JobRecord) -> None:
    """From what never changes and what has changed, whatever that is."""
    found = record_at(fixed_of(record), change_of(record))
    assert RECORD.plain(found) == RECORD.plain(record)


def test_new_job_has_changed_nothing() -> None:
    """So an event of it costs next to nothing."""
    assert change_of(make_record(1)) == b"{}"


def test_change_says_what_differs() -> None:
    """And nothing else."""
    record = make_record(1, state=State.RUNNING, attempt=1, message_ids=["a"])
    assert msgspec.json.decode(change_of(record)) == {
        "state": "RUNNING",
        "attempt": 1,
        "message_ids": ["a"],
    }


@given(records(3))
def test_change_names_what_a_new_job_has_not(record: JobRecord) -> None:
    """All that differs, in the order of the record, with details and without."""
    fresh = RECORD.plain(make_record(1))
    names = [n for n in RECORD.fields if n not in FIXED and n != "transient"]
    now = RECORD.plain(record)
    found = msgspec.json.decode(change_of(record))
    assert found == {name: now[name] for name in found}
    assert list(found) == [name for name in names if name in found]
    assert found.keys() >= {name for name in names if now[name] != fresh[name]}


@pytest.mark.parametrize("name", FIXED)
def test_what_never_changes_is_a_field(name: str) -> None:
    """Of the record, so that the store has a column for it."""
    assert name in JobRecord.__struct_fields__
