"""Where the jobs live: the data directory may be moved, and restored from a backup."""

from pathlib import Path

from middlewared.database import Database, Statement

__all__ = ["RESTORE_GAP", "settle_in"]

#: Ids that a restored server leaves out: the one that it was taken from has given some
#: of them to jobs that are not in the backup, and others may know these.
RESTORE_GAP = 100_000

_MOVE_LOGS = (
    "UPDATE jobs SET logs_path = ?1 || '/' || id || '.log' "
    "WHERE logs_path IS NOT NULL AND logs_path <> ?1 || '/' || id || '.log'"
)
_SKIP_IDS = "UPDATE job_ids SET next = next + ?"
#: The children that a backup knows are those of the server that it was taken from.
_FORGET_CHILDREN = (
    "UPDATE jobs SET child_pid = NULL, child_started = NULL "
    "WHERE state IN ('WAITING', 'RUNNING')"
)
_REMEMBER = "INSERT OR REPLACE INTO job_home VALUES (1, ?, ?)"


async def settle_in(database: Database, logs: Path) -> None:
    """Notice that the data directory was moved or restored, before ids are given out.

    The rows then say where logs are now. After a restore ids go on with a gap, and
    processes of the other server are left alone.

    Args:
        database: the database, with the tables of jobs.
        logs: the folder of logs.

    Raises:
        StoreError: it cannot be written.
    """
    rows = await database.read("SELECT logs, epoch FROM job_home")
    now = str(logs), database.epoch
    if rows and rows[0] == now:
        return
    statements: list[Statement] = [(_MOVE_LOGS, (now[0],)), (_REMEMBER, now)]
    if rows and rows[0][1] != database.epoch:
        statements += [(_SKIP_IDS, (RESTORE_GAP,)), (_FORGET_CHILDREN, ())]
    await database.execute(*statements)
