"""What the doctor says of jobs."""

import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import anyio
import pytest
from jobs_records import EPOCH, make_record

from middlewared import Date
from middlewared.database import Database
from middlewared.doctor import examine
from middlewared.examination import Finding
from middlewared_jobs import JobRecord, State
from middlewared_jobs.outcome import TOO_LARGE
from middlewared_jobs.record import EncodingFailure
from middlewared_jobs.sqlite_store import SqliteStore


@pytest.fixture(autouse=True)
def private(tmp_path: Path) -> None:
    """Keep others out of the directory."""
    tmp_path.chmod(0o700)


LOG = "/data/logs/1.log"
LARGE = EncodingFailure(TOO_LARGE, "large; job.result gives it as a download")
DONE = {"state": State.SUCCESS, "time_finished": Date(EPOCH)}


async def saved(path: Path, records: Sequence[JobRecord], mark: int) -> list[Finding]:
    """Save jobs, and say what is not in order with them."""
    async with Database.open(path / "middlewared.db") as database:
        await database.migrate("jobs", files("middlewared_jobs") / "migrations")
        store = SqliteStore(database)
        for record in records:
            store.save(record, None, None)
        done = anyio.Event()
        store.reserve_ids(mark, lambda _: done.set())
        await done.wait()
    found = examine(path, None, full=False)
    return [finding for finding in found if finding.level != "ok"]


async def test_all_is_well(tmp_path: Path) -> None:
    """Ended and waiting jobs, with the files that they have."""
    for name in ("logs/1.log", "results/2.json"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    records = [
        make_record(1, logs_path=LOG, **DONE),
        make_record(2, result_encoding_error=LARGE, **DONE),
        make_record(3),
    ]
    assert await saved(tmp_path, records, 4) == []


async def test_ids_that_would_be_given_out_again(tmp_path: Path) -> None:
    """A mark below a job that there is."""
    (found,) = await saved(tmp_path, [make_record(7)], 5)
    assert (found.level, found.subject) == ("problem", "ids")
    assert found.advice.endswith("to 8")


async def test_jobs_that_run_without_a_server(tmp_path: Path) -> None:
    """The server died; the next start sees to it."""
    (found,) = await saved(tmp_path, [make_record(1, state=State.RUNNING)], 5)
    assert (found.level, found.subject) == ("note", "jobs")


@pytest.mark.parametrize(("count", "named"), [(1, "job 1"), (9, "9 jobs")])
async def test_files_and_rows_that_do_not_fit(
    tmp_path: Path, count: int, named: str
) -> None:
    """Logs without rows, rows without logs, and results that are gone."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "99.log").touch()
    numbers = range(1, count + 1)
    records = [
        make_record(n, logs_path=LOG, result_encoding_error=LARGE, **DONE)
        for n in numbers
    ]
    found = await saved(tmp_path, records, 100)
    assert [(f.level, f.text) for f in found] == [
        ("note", "files of job 99 without a row"),
        ("note", f"{named} lost the log"),
        ("problem", f"{named} lost the result"),
    ]
    shutil.rmtree(tmp_path / "logs")
