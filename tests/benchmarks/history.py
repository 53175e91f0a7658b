"""Data directories with a long history, made from jobs of the real server.

They are kept in the folder for temporary files, since a million rows take a while.
"""

import contextlib
import hashlib
import sqlite3
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.load import LoadClient, call_frame
from benchmarks.running import log_in, our_server
from server_process import ServerProcess

import middlewared
import middlewared_jobs
from middlewared_jobs.packs import PACK, unpacked

__all__ = ["DATABASE", "SAMPLE", "data_with"]

DATABASE = "middlewared.db"
#: Jobs that the real server runs; the others are like them, some time earlier.
SAMPLE = 1000
#: Events that are kept by default, and the days that the history covers.
KEPT_EVENTS, DAYS = 250_000, 20
#: Seconds after which a kept folder is made again: rows must not be due for removal.
FRESH_SECONDS = 5 * 86_400


async def data_with(jobs: int) -> Path:
    """Give a data directory with so many ended jobs, the sample for none."""
    folder = Path(tempfile.gettempdir()) / f"middlewared-bench-{_schema()}-{jobs}"
    data, done = folder / "data", folder / "done"
    with contextlib.suppress(FileNotFoundError):
        if time.time() - done.stat().st_mtime < FRESH_SECONDS:
            return data
    folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        _remove(data)
    with our_server(data=data) as server:
        await _run_sample(server)
    _multiply(data / DATABASE, jobs)
    done.touch()
    return data


def _schema() -> str:
    """Name what the tables look like."""
    found = hashlib.sha256()
    for package in (middlewared, middlewared_jobs):
        for path in sorted(Path(str(package.__file__)).parent.glob("migrations/*.sql")):
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


def _remove(data: Path) -> None:
    for path in sorted(data.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    data.rmdir()


async def _run_sample(server: ServerProcess) -> None:
    """Run jobs of several methods, of two owners, that end in several ways."""
    owned = (await log_in(server, 1))[0]
    system = await LoadClient.open(server.socket_path)
    for client, first in ((owned, 0), (system, 1)):
        await client.call("core.set_options", {"legacy_jobs": False})
        for number in range(first, SAMPLE, 2):
            if number % 20 < 2:
                method, params = "demo.fail", [f"disk {number} is gone", 5]
            elif number % 10 < 4:
                method, params = "bench.storm", [0.0, number]
            else:
                method, params = "demo.noop", [{"number": number, "of": "tank"}]
            client.write(call_frame(number, method, params))
    for client in (owned, system):
        # The answer to the options, and one for each job.
        await client.wait(partial(_answered, client))


def _answered(client: LoadClient) -> bool:
    return client.messages > SAMPLE // 2


def _multiply(path: Path, jobs: int) -> None:
    """Copy the sample's rows until there are so many."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        have = _count(database, "jobs")
        copies = max(0, jobs // have - 1)
        step = DAYS * 86_400_000 // (copies + 1)
        names = [row[1] for row in database.execute("PRAGMA table_info(jobs)")]
        shown = ", ".join(_shifted(name) for name in names)
        insert = f"INSERT INTO jobs SELECT {shown} FROM jobs WHERE id <= {have}"  # noqa: S608 - names of columns
        for copy in range(1, copies + 1):
            database.execute(insert, {"ids": copy * have, "ms": copy * step})
        # The sample is the oldest now; its times are today's.
        for name in filter(_is_time, names):
            back = DAYS * 86_400_000
            database.execute(f"UPDATE jobs SET {name} = {name} - {back}")  # noqa: S608 - the same
        found = database.execute("SELECT events FROM job_event_packs ORDER BY last")
        moves = [move for (events,) in found for move in unpacked(events)]
        events = moves[-1][0]
        kept = min(copies, KEPT_EVENTS // events)
        for copy in range(copies - kept + 1, copies + 1):
            on, up = copy * events, copy * have
            more = [(seq + on, at, job + up, *m) for seq, at, job, *m in moves]
            PACK.run(database, more)
        database.execute("UPDATE job_ids SET next = ?", ((copies + 2) * have,))
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _is_time(name: str) -> bool:
    return name.startswith("time_")


def _shifted(name: str) -> str:
    if name in ("id", "instance"):
        return f"{name} + :ids"
    if name == "uid":
        return "substr(uid, 1, 24) || printf('%012x', id + :ids)"
    return f"{name} + :ms" if _is_time(name) else name


def _count(database: sqlite3.Connection, table: str) -> int:
    rows = database.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names
    return int(rows.fetchone()[0])
