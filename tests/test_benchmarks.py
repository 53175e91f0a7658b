"""The benchmarks run: each row, on our server alone, at a tiny size."""

import importlib
import tempfile
from pathlib import Path

import anyio
import pytest
from benchmarks.counts import judge
from benchmarks.page import write_page
from benchmarks.running import Bench
from benchmarks.tables import Goal, Table, markdown

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
