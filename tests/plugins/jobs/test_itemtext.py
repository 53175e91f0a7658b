"""Items that SQLite writes as text are those that the encoder writes."""

import sqlite3
from typing import Any

import msgspec
import pytest
from hypothesis import given
from jobs_records import EPOCH, make_record, records

from middlewared import Date
from middlewared_jobs import JobRecord, State
from middlewared_jobs.change import FIXED
from middlewared_jobs.itemtext import decode_details, item_text
from middlewared_jobs.record import DETAILS
from middlewared_jobs.rows import STORED, VARYING, fixed_values, varying_values
from middlewared_jobs.views import ITEM, RECORD, View

DATABASE = sqlite3.connect(":memory:")


def written(record: JobRecord, fields: tuple[str, ...]) -> bytes:
    """Give a job as SQLite writes it."""
    item = item_text(fields)
    assert item is not None
    values = (*fixed_values(record), *varying_values(record, None))
    columns = ", ".join(f"? AS {name}" for name in (*FIXED, *VARYING))
    sql = f"SELECT {item.columns} FROM (SELECT {columns})"  # noqa: S608 - our own names
    rows = DATABASE.execute(sql, values).fetchall()
    assert len(rows[0]) == item.width
    (text,) = item.texts(rows)
    return text


@given(record=records(3))
def test_text_is_what_the_encoder_gives(record: JobRecord) -> None:
    """Byte for byte, for every kind of job, in both views."""
    for view in (ITEM, RECORD):
        assert written(record, view.fields) == view.encode(record)


#: What needs to be escaped, and what does not though one may think so.
HARD = "".join(map(chr, range(160))) + "'\"\\/%s\u2028\u2029\ufffe\U0001f600"


@pytest.mark.parametrize("view", [ITEM, RECORD])
def test_texts_are_escaped_alike(view: View) -> None:
    """Control characters, quotes, percent signs and what is beyond ASCII."""
    texts: dict[str, Any] = dict.fromkeys(
        ("method", "description", "error", "exception", "logs_excerpt", "logs_path"),
        HARD,
    )
    more: dict[str, Any] = dict.fromkeys(("lock", "key", "node", "app_id"), HARD)
    record = make_record(2**62, **texts, **more, owner=-1, priority=-(2**63))
    assert written(record, view.fields) == view.encode(record)


def test_raw_parts_stay_as_they_are() -> None:
    """Numbers are not read: none of their digits is lost."""
    raw = msgspec.Raw(b'[1.10, 1e400, 123456789012345678901234567890, {"$date": 1}]')
    record = make_record(1, arguments=raw, result=raw)
    assert written(record, ("result", "arguments")) == (
        b'{"result":%b,"arguments":%b}' % (raw, raw)
    )


def test_chosen_keys_come_in_their_order() -> None:
    """A selection has its own order; times have their wire form."""
    record = make_record(7, state=State.SUCCESS, time_finished=Date(EPOCH))
    assert written(record, ("time_finished", "id", "transient", "time_started")) == (
        b'{"time_finished":{"$date":%d},"id":7,"transient":false,"time_started":null}'
        % EPOCH
    )


@pytest.mark.parametrize("fields", [(), ("steps",), ("id", "nothing"), DETAILS])
def test_other_keys_are_not_read_so(fields: tuple[str, ...]) -> None:
    """Details come all together, after something else."""
    assert item_text(fields) is None


def test_details_have_their_defaults() -> None:
    """What is not stored is what a job has at first."""
    found = decode_details('{"counts":{"a":1}}')
    assert (bytes(found.counts), bytes(found.steps)) == (b'{"a":1}', b"[]")
    assert bytes(decode_details(None).timeout) == b"null"
    assert set(STORED) - {"details"} <= set(RECORD.fields)
