"""What a start makes of the jobs that an earlier one left."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from jobs_records import EPOCH, make_record

from middlewared import Credentials, Date, Plugin, Secret
from middlewared.registry import Registry
from middlewared.testing import ManualClock
from middlewared_jobs import Job, JobRecord, State, job
from middlewared_jobs.journal import Journal
from middlewared_jobs.memory_store import MemoryStore
from middlewared_jobs.record import Attempt, CoreGetJobsItemCredentials, LoginData
from middlewared_jobs.recovery import Recovered, recover, rights_of
from middlewared_jobs.seal import Seal
from middlewared_jobs.settings import JobSettings

NOW = EPOCH + 1000


def make_plugin() -> Plugin:
    """Declare the methods of the next start."""
    plugin = Plugin("pool", version="1.2")

    @plugin.method
    @job
    async def scrub(job: Job, pool: str, repair: bool = True) -> None:
        """Read every block."""

    @plugin.method
    @job
    async def unlock(job: Job, pool: str, key: Secret[str]) -> None:
        """Open a pool with its key."""

    @plugin.method
    async def names(ctx: Any) -> list[str]:
        """List the pools; no job."""
        return []

    return plugin


class Start:
    """One start of the server, on a store that an earlier one has filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.seal = Seal(folder / "jobs.key")
        self.registry = Registry([make_plugin()])

    def leave(self, record: JobRecord, params: bytes | None) -> None:
        """Leave a job as an earlier start would."""
        self.store.save(record, params, None)

    async def run(self) -> list[Recovered]:
        """Recover."""
        settings = JobSettings()
        kept = await self.store.kept_range()
        journal = Journal(self.store, self.registry, ManualClock(), settings, kept)
        return await recover(
            self.store,
            journal,
            self.registry,
            self.seal,
            settings,
            self.folder,
            now=NOW,
        )

    async def ended(self, number: int) -> JobRecord:
        """Give a job that this start has ended."""
        record = await self.store.get(number)
        assert record is not None
        assert record.final
        return record


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path)


async def test_waiting_jobs_wait_again_in_order(start: Start) -> None:
    """What waited is bound again, by id, with its defaults left open."""
    for number in (5, 2, 9):
        start.leave(make_record(number, method="pool.scrub"), b'["p%d"]' % number)
    found = await start.run()
    assert [r.stored.record.id for r in found] == [2, 5, 9]
    assert [r.values for r in found] == [["p2"], ["p5"], ["p9"]]
    assert all(r.stored.record.state is State.WAITING for r in found)


async def test_sealed_params_are_opened(start: Start) -> None:
    """Secret params of a waiting job come back in clear, for its body only."""
    sealed = start.seal.close(b'["tank","hunter2"]')
    start.leave(make_record(1, method="pool.unlock"), sealed)
    (found,) = await start.run()
    assert found.values == ["tank", Secret("hunter2")]
    assert "hunter2" not in repr(found.stored.record)


async def test_running_jobs_have_lost_their_worker(start: Start) -> None:
    """What ran when the server died ends FAILED with type WorkerLost."""
    record = make_record(1, method="pool.scrub", state=State.RUNNING, attempt=1)
    start.leave(record, b'["tank"]')
    assert await start.run() == []
    ended = await start.ended(1)
    assert ended.state is State.FAILED
    assert ended.exc_info is not None
    assert ended.exc_info.type == "WorkerLost"
    assert ended.error
    assert ended.exception
    assert ended.time_finished is not None
    assert ended.time_finished.ms == NOW
    assert ended.attempt == 1


async def test_the_attempt_that_was_lost_is_listed_with_the_others(
    start: Start,
) -> None:
    """After an attempt that failed, the one that lost its worker is on record too."""
    failed = Attempt(1, None, Date(EPOCH), "told to", "", None)
    record = make_record(
        1, method="pool.scrub", state=State.RUNNING, attempt=2, attempts=[failed]
    )
    start.leave(record, b'["tank"]')
    await start.run()
    first, last = (await start.ended(1)).attempts
    assert (first.number, last.number) == (1, 2)
    assert last.exc_info is not None
    assert last.exc_info.type == "WorkerLost"


async def test_excerpt_is_made_of_the_surviving_log(
    start: Start, tmp_path: Path
) -> None:
    """The log that a killed job left is in its record, cut like any other."""
    path = tmp_path / "1.log"
    path.write_text("".join(f"line {n}\n" for n in range(50)))
    record = make_record(
        1, method="pool.scrub", state=State.RUNNING, logs_path=str(path)
    )
    start.leave(record, b'["tank"]')
    await start.run()
    excerpt = (await start.ended(1)).logs_excerpt
    assert excerpt is not None
    assert "... 30 more lines ...\n" in excerpt


async def test_unreadable_log_does_not_stop_the_start(
    start: Start, tmp_path: Path
) -> None:
    """A log that cannot be read costs its excerpt, not the start of the server."""
    for number, path in enumerate((tmp_path, tmp_path / "gone"), 1):
        record = make_record(
            number, method="pool.scrub", state=State.RUNNING, logs_path=str(path)
        )
        start.leave(record, b'["tank"]')
    await start.run()
    for number in (1, 2):
        assert (await start.ended(number)).state is State.FAILED


@pytest.mark.parametrize(
    ("method", "params", "named"),
    [
        ("pool.gone", b'["tank"]', ["pool.gone", "pool 1.2"]),
        ("vanished.run", b"[]", ["vanished.run", "'vanished'"]),
        ("pool.names", b"[]", ["pool.names", "pool 1.2"]),
        ("pool.scrub", b"[]", ["pool.scrub", "pool 1.2", "Field required"]),
        ("pool.scrub", b"[1]", ["pool.scrub", "pool 1.2", "Expected `str`"]),
        ("pool.scrub", b'["a",true,3]', ["pool.scrub", "pool 1.2", "Too many"]),
        ("pool.scrub", b"{broken", ["pool.scrub", "pool 1.2"]),
        ("pool.unlock", b"sealed by another key", ["pool.unlock", "pool 1.2"]),
        ("pool.unlock", None, ["pool.unlock", "pool 1.2"]),
    ],
)
async def test_what_no_longer_fits_fails(
    start: Start, method: str, params: bytes | None, named: list[str]
) -> None:
    """A job whose method vanished or changed ends FAILED, saying which and why."""
    start.leave(make_record(1, method=method), params)
    start.leave(make_record(2, method="pool.scrub"), b'["tank"]')
    assert [r.stored.record.id for r in await start.run()] == [2]
    ended = await start.ended(1)
    assert ended.state is State.FAILED
    assert ended.error is not None
    assert all(text in ended.error for text in named), ended.error
    assert ended.time_started is None


async def test_history_is_left_alone(start: Start) -> None:
    """What has ended is not touched, whatever became of its method."""
    record = make_record(
        1, method="vanished.run", state=State.SUCCESS, result=msgspec.Raw(b"5")
    )
    start.leave(record, None)
    assert await start.run() == []
    assert await start.store.get(1) == record


async def test_params_are_erased_with_the_end(start: Start) -> None:
    """A job that the start ends keeps no params, in clear or sealed."""
    start.leave(make_record(1, method="pool.unlock", state=State.RUNNING), b"sealed")
    await start.run()
    assert await start.store.unfinished() == []


def test_rights_are_those_of_today() -> None:
    """A job goes on as who started it, with the roles that they hold now."""
    assert rights_of(make_record(1), frozenset({"FULL_ADMIN"})) is None
    login = LoginData("ann", "login", Date(7))
    record = make_record(
        1, owner=4, credentials=CoreGetJobsItemCredentials("API_KEY", login)
    )
    found = rights_of(record, frozenset({"JOB_USER"}))
    assert found == Credentials(
        type="API_KEY",
        account_id=4,
        username="ann",
        roles=frozenset({"JOB_USER"}),
        login_id="login",
        login_at=7,
    )
