"""What ``middlewared doctor`` looks at of jobs."""

from collections.abc import Iterator

from middlewared.examination import Examined, Finding

__all__ = ["check_jobs"]

#: Jobs that are named; of more, how many.
NAMED = 5


def check_jobs(examined: Examined) -> Iterator[Finding]:
    """Look at ids, at jobs that have not ended, and at the files of jobs."""
    yield from _check_ids(examined)
    yield from _check_unfinished(examined)
    yield from _check_files(examined)


def _check_ids(examined: Examined) -> Iterator[Finding]:
    rows = examined.rows("SELECT (SELECT max(id) FROM jobs), next FROM job_ids")
    for newest, mark in rows:
        if newest is not None and newest >= mark:
            text = f"there is a job {newest}, but ids go on at {mark}"
            advice = f"Stop the server, and set next in job_ids to {newest + 1}"
            yield Finding("problem", "ids", text, advice)
        else:
            yield Finding("ok", "ids", f"they go on at {mark} at the latest")


def _check_unfinished(examined: Examined) -> Iterator[Finding]:
    sql = "SELECT state, count(*) FROM jobs WHERE state IN ('RUNNING', 'WAITING') "
    counts = dict(examined.rows(f"{sql} GROUP BY state"))
    running, waiting = counts.get("RUNNING", 0), counts.get("WAITING", 0)
    text = f"{running} run, {waiting} wait"
    if running and not examined.served:
        advice = "The server died. The next start fails them, or runs them again"
        yield Finding("note", "jobs", f"{text}, without a server", advice)
    else:
        yield Finding("ok", "jobs", text)


def _check_files(examined: Examined) -> Iterator[Finding]:
    sql = "SELECT id, logs_path IS NOT NULL, time_started IS NOT NULL, "
    sql += "result_encoding_error LIKE '%TooLarge%job.result%' FROM jobs"
    jobs = examined.rows(sql)
    ids = {row[0] for row in jobs}
    logs = {int(name[:-4]) for name in examined.names("logs", "[1-9]*.log")}
    results = {int(name[:-5]) for name in examined.names("results", "[1-9]*.json")}
    stray = (logs | results) - ids
    if stray and not examined.served:
        text = f"files of {_named(stray)} without a row"
        yield Finding("note", "files", text, "The server removes them once a day")
    lost = {row[0] for row in jobs if row[1]} - logs
    if lost:
        text = f"{_named(lost)} lost the log"
        advice = "Somebody removed them, or a backup without logs was restored"
        yield Finding("note", "files", text, advice)
    gone = {row[0] for row in jobs if row[3]} - results
    if gone:
        text = f"{_named(gone)} lost the result"
        yield Finding("problem", "files", text, "Run them again, or restore a backup")
    if not (stray or lost or gone):
        yield Finding("ok", "files", f"{len(logs)} logs, {len(results)} results")


def _named(numbers: set[int]) -> str:
    if len(numbers) > NAMED:
        return f"{len(numbers)} jobs"
    word = "jobs" if len(numbers) > 1 else "job"
    return f"{word} {', '.join(map(str, sorted(numbers)))}"
