"""First promise: who started a job is written down."""

import sqlite3
from typing import Any

from benchmarks.commits import Write, Writer
from benchmarks.sketch import Sketch

from middlewared import Credentials
from middlewared.access import SYSTEM
from middlewared.audit import OK
from middlewared.inserts import Insert
from middlewared_audit.item import UNIX_SOCKET

__all__ = ["WHO", "Audited", "AuditingWriter"]

#: Columns of an entry that are not NULL.
ENTRY = Insert(
    "audit",
    (
        "time", "event", "outcome", "username", "credentials", "login_id", "origin",
        "method", "params", "job_id",
    ),
)  # fmt: skip
WHO = Credentials(
    type="UNIX_SOCKET",
    account_id=None,
    username="root",
    roles=SYSTEM.roles,
    login_id="594d3c04-e41d-4826-a260-64c183090dbd",
    login_at=0,
)


class AuditingWriter(Writer):
    """Writes entries of the audit log with what they are about."""

    tables = ("jobs", "audit")

    def insert(self, database: sqlite3.Connection, group: list[Write]) -> None:
        """Write the rows of a group; in the thread."""
        super().insert(database, group)
        ENTRY.run(database, [one.audit for one in group if one.audit is not None])


class Audited(Sketch):
    """Who started a job is in the audit log, in the transaction of its first row."""

    writer: type[Writer] = AuditingWriter

    def write_new(self, write: Write) -> None:
        """Write the first row of a job, and who started it."""
        job = write.job
        who = self.rights(job.caller)
        write.audit = (
            job.created, "JOB", OK, who.username, who.type, who.login_id, UNIX_SOCKET,
            job.item.method, str(job.item.arguments, "utf-8"), job.id,
        )  # fmt: skip
        super().write_new(write)

    def rights(self, caller: Any) -> Credentials:
        """Say whose calls a client makes."""
        return WHO
