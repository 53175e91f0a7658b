"""The benchmarks run: each row, on our server alone, at a tiny size."""

import contextlib
import importlib
import re
import sqlite3
import tempfile
from pathlib import Path

import anyio
import msgspec
import pytest
from benchmarks.counts import judge
from benchmarks.load import call_text
from benchmarks.page import write_page
from benchmarks.running import Bench
from benchmarks.sketch import Sketch
from benchmarks.tables import Goal, Table, markdown

from middlewared_jobs.change import fixed_of, record_at
from middlewared_jobs.record import CoreGetJobsItem, encode_item
from middlewared_jobs.rows import STORED, record_of

TINY = Bench(rounds=1, scale=0.001, rivals=False)


@pytest.mark.parametrize("number", range(1, 13))
async def test_row_runs(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row measures our server, and shows what it found."""
    module = importlib.import_module(f"benchmarks.row{number:02}")
    # A folder of pytest's own may be too deep for the path of a unix socket.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        tables: list[Table] = await module.run(TINY)
    await anyio.wait_all_tasks_blocked()  # connections see the end of their server
    assert tables
    for table in tables:
        assert table.number == number
        assert table.lines
        assert all(len(line) == len(table.head) for line in table.lines)
        assert markdown(table).startswith(f"### {number}. ")


async def test_sketch_does_the_work(tmp_path: Path) -> None:
    """The floor of row 4 answers, tells and keeps what a job of ours does."""
    sent, ended = bytearray(), anyio.Event()

    def send(data: bytes) -> None:
        sent.extend(data)
        if sent.count(b'"state":"SUCCESS"') == 100:
            ended.set()

    with contextlib.closing(Sketch(tmp_path / "sketch.db")) as sketch:
        sketch.take(call_text(1, "core.subscribe", ["core.get_jobs"]), send)
        for number in range(2, 102):
            sketch.take(call_text(number, "demo.noop", [number]), send)
        with anyio.fail_after(10):
            await ended.wait()
    assert b'{"jsonrpc":"2.0","result":7,"id":8}' in sent
    told = re.findall(rb'"id":7,"fields":(.*?)}}(?=\x81|$)', sent, re.DOTALL)
    items = [msgspec.json.decode(text, type=CoreGetJobsItem) for text in told]
    assert [item.state for item in items] == ["WAITING", "RUNNING", "SUCCESS"]
    with contextlib.closing(sqlite3.connect(tmp_path / "sketch.db")) as database:
        select = f"SELECT {', '.join(STORED)} FROM jobs"  # noqa: S608 - our own names
        records = list(map(record_of, database.execute(select)))
        sql = "SELECT change FROM job_events WHERE job = 7 ORDER BY seq"
        kept = [row[0] for row in database.execute(sql)]
    assert {(one.state, one.phase) for one in records} == {("SUCCESS", "finished")}
    assert encode_item(records[6]) == told[2]
    assert bytes(records[6].result) == b"8"
    fixed = fixed_of(records[6])
    states = [record_at(fixed, change).state for change in kept[:2]]
    assert (states, kept[2]) == (["WAITING", "RUNNING"], None)


def test_page_is_written_between_its_marks(tmp_path: Path) -> None:
    """What stands around the marks stays, what is between them is new."""
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    table = Table(7, "Title", "How.", ("a", "b"), [("x", "1")])
    table.goals.append(Goal("small: at most 2", "1", met=True))
    write_page(page, [table])
    write_page(page, [table])
    text = page.read_text()
    assert text.startswith("before\n<!-- bench -->\n")
    assert text.endswith("<!-- /bench -->\nafter\n")
    assert "old" not in text
    assert text.count("### 7. Title") == 1
    assert "| 7 | small: at most 2 | 1 | met |" in text


def test_only_what_grew_by_a_tenth_is_told() -> None:
    """A tenth more is noise or a price, more than that is a regression."""
    committed = {"ping": 1000, "job": 1000}
    assert judge({"ping": 1100, "job": 900}, committed) == []
    (text,) = judge({"ping": 1000, "job": 1200}, committed)
    assert "1,200 instructions, +20% to the committed 1,000" in text
