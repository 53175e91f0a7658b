"""Items of which only some keys are read."""

import sqlite3

from hypothesis import given
from hypothesis import strategies as st
from jobs_records import records

from middlewared_jobs import JobRecord
from middlewared_jobs.change import FIXED
from middlewared_jobs.condition import columns_of
from middlewared_jobs.narrowitem import NarrowItems
from middlewared_jobs.rows import VARYING, fixed_values, varying_values
from middlewared_jobs.views import ITEM, RECORD, View

DATABASE = sqlite3.connect(":memory:")


@given(
    record=records(3, final=True),
    view=st.sampled_from([ITEM, RECORD]),
    keys=st.sets(st.sampled_from([*RECORD.fields, "nothing"]), max_size=4),
)
def test_keys_are_those_of_the_item(
    record: JobRecord, view: View, keys: set[str]
) -> None:
    """Each key that the view has is there with its value, and no other."""
    items = NarrowItems(keys, columns_of(view), view.fields)
    values = (*fixed_values(record), *varying_values(record, None))
    columns = ", ".join(f"? AS {name}" for name in (*FIXED, *VARYING))
    sql = f"SELECT {items.columns} FROM (SELECT {columns})"  # noqa: S608 - our own names
    row = DATABASE.execute(sql, values).fetchone()
    plain = view.plain(record)
    assert items.item(row) == {key: plain[key] for key in keys & set(plain)}
    assert row[0] == 3
