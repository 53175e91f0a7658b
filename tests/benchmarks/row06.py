"""Row 6: queries, start and memory with a long history."""

import contextlib
import sqlite3
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
from benchmarks.byhand import read_by_hand
from benchmarks.history import DATABASE, SAMPLE, data_with
from benchmarks.load import LoadClient
from benchmarks.running import Bench, our_server, pid_of, resident, restart
from benchmarks.samples import sample
from benchmarks.tables import Goal, Table, at_most
from server_process import ServerProcess

JOBS = (10_000, 100_000, 1_000_000)
ASKED, LIMIT = 40, 50
#: Queries whose order or filter no index serves are slow, so they are asked less.
ASKED_SLOWLY = 2
GOAL_MS, GOAL_RATIO, START_RATIO = 20.0, 1.5, 1.3
REST_SECONDS = 2.0
_BY_ID = "ORDER BY id DESC LIMIT 50"


class Question(msgspec.Struct, frozen=True):
    """One query, and the SQL for the same.

    Attributes:
        name: what is asked.
        filters: of the query.
        options: of the query.
        sql: what follows ``WHERE``; empty when it is not judged.
        params: of the SQL.
        call: the method.
    """

    name: str
    filters: list[Any]
    options: dict[str, Any]
    sql: str = ""
    params: tuple[Any, ...] = ()
    call: str = "core.get_jobs"

    @property
    def indexed(self) -> bool:
        """Tell whether an index serves it."""
        return bool(self.sql)


_LAST = {"order_by": ["-id"], "limit": LIMIT}


def questions(span: tuple[int, int]) -> list[Question]:
    """Give the queries; *span* is a time range in milliseconds."""
    since, until = span
    times = [
        ["time_finished", ">=", {"$date": since}],
        ["time_finished", "<", {"$date": until}],
    ]
    by_time = {"order_by": ["time_finished"], "limit": LIMIT}
    return [
        Question(
            "by state",
            [["state", "=", "FAILED"]],
            _LAST,
            f"state = ? {_BY_ID}",
            ("FAILED",),
        ),
        Question(
            "by method",
            [["method", "=", "bench.storm"]],
            _LAST,
            f"method = ? {_BY_ID}",
            ("bench.storm",),
        ),
        Question(
            "by owner (`job.query`)",
            [["owner", "=", 1]],
            _LAST,
            f"owner = ? {_BY_ID}",
            (1,),
            "job.query",
        ),
        Question(
            "by time range",
            times,
            by_time,
            "time_finished >= ? AND time_finished < ? "
            "ORDER BY time_finished, id LIMIT 50",
            span,
        ),
        Question("the newest", [], _LAST, f"1 {_BY_ID}"),
        Question("count by state", [["state", "=", "FAILED"]], {"count": True}),
        Question("count of all", [], {"count": True}),
        Question("regex on the error", [["error", "~", "disk 1.0 is"]], _LAST),
        Question("unindexed order", [], {"order_by": ["description"], "limit": LIMIT}),
    ]


async def _ask(
    pid: int, client: LoadClient, question: Question, times: int
) -> tuple[float, float, str]:
    """Ask so often; give median ms, CPU ms of one, and why it is refused."""
    found, refused = [], set[str]()

    async def ask_all() -> int:
        for _ in range(times):
            began = time.perf_counter()
            asked = (question.call, question.filters, question.options)
            answer = await client.ask(*asked)
            found.append(1000 * (time.perf_counter() - began))
            if question.indexed:
                assert len(answer["result"]) == LIMIT, answer
            elif "error" in answer:
                refused.add(answer["error"]["data"]["reason"])
        return times

    if question.indexed:
        await ask_all()
        found.clear()
    cost = await sample([pid], ask_all)
    return statistics.median(found), 1000 * cost.cpu / times, "; ".join(refused)


def _span(path: Path) -> tuple[int, int]:
    """Give a time range in the middle of the history."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        sql = "SELECT min(time_finished), max(time_finished) FROM jobs "
        sql += "WHERE time_finished IS NOT NULL"
        first, last = database.execute(sql).fetchone()
    return (first + last) // 2, last


async def _queries(
    server: ServerProcess, jobs: int, *, judged: bool
) -> tuple[list[Sequence[str]], list[Goal]]:
    path = server.data_dir / DATABASE
    client = await LoadClient.open(server.socket_path)
    lines, goals = list[Sequence[str]](), list[Goal]()
    for question in questions(_span(path)):
        times = ASKED if question.indexed else ASKED_SLOWLY
        ours, cpu, refused = await _ask(pid_of(server), client, question, times)
        name = f"{question.name}: {refused}" if refused else question.name
        shown = (f"{jobs:,}", name, f"{ours:.2f}", f"{cpu:.2f}")
        if not question.indexed:
            lines.append((*shown, "", "", "", "", ""))
            continue
        sql = f"SELECT * FROM jobs WHERE {question.sql}"  # noqa: S608 - our own text
        hand = read_by_hand(path, sql, question.params, question.call, times)
        ratio, rest = cpu / hand.cpu, cpu / hand.with_json
        by_hand = (hand.ms, hand.cpu, ratio, hand.with_json, rest)
        lines.append((*shown, *(f"{figure:.2f}" for figure in by_hand)))
        if judged:
            goals.append(at_most(f"{question.name}, CPU beside SQL", ratio, GOAL_RATIO))
            goals.append(at_most(question.name, ours, GOAL_MS, "ms"))
    client.close()
    return lines, goals


async def _starts(server: ServerProcess, bench: Bench) -> tuple[float, float]:
    """Give milliseconds to start, and MiB at rest after it."""
    starts = [restart(server) for _ in range(bench.rounds)]
    await anyio.sleep(bench.lasting(REST_SECONDS))
    return statistics.median(starts), resident(server)


async def run(bench: Bench) -> list[Table]:
    """Measure, and judge."""
    lines, goals = list[Sequence[str]](), list[Goal]()
    rests: dict[int, tuple[float, float]] = {}
    with our_server() as server:
        rests[0] = await _starts(server, bench)
    for count in sorted({bench.sized(jobs, SAMPLE) for jobs in JOBS}):
        with our_server(data=await data_with(count)) as server:
            rests[count] = await _starts(server, bench)
            more, found = await _queries(server, count, judged=count == max(JOBS))
            lines += more
            goals += found
    starts = [
        (f"{jobs:,}", f"{ms:.0f}", f"{memory:.0f}")
        for jobs, (ms, memory) in rests.items()
    ]
    (empty_ms, empty), (full_ms, full) = rests[0], rests[max(rests)]
    return [
        Table(
            6,
            "Queries in a long history",
            "`core.get_jobs` with a limit of 50, from the request to the answer, "
            "medians; beside it the same rows, read through sqlite3 in the asking "
            "process, and the same with the JSON of the answer, which msgspec makes of "
            "them there. Ours crosses a socket and two threads besides, and looks at "
            "rights, and at the jobs in memory.",
            (
                "jobs",
                "query",
                "ms",
                "CPU ms",
                "by hand, ms",
                "CPU ms",
                "ours / it, CPU",
                "with JSON, CPU ms",
                "ours / it, CPU",
            ),
            lines,
            goals,
        ),
        Table(
            6,
            "Start with a long history",
            "From the start of the program to its listeners; memory at rest after it.",
            ("jobs", "ms to start", "resident MiB"),
            starts,
            [
                at_most(
                    "start beside an empty database", full_ms / empty_ms, START_RATIO
                ),
                at_most("memory beside an empty database", full / empty, 1.1),
            ],
        ),
    ]
