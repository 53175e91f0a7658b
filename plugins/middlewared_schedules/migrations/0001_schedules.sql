-- One row per schedule. Times are milliseconds since 1970-01-01 UTC.
-- Jobs name their schedule, so an id is never used again.
CREATE TABLE schedules (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT NOT NULL,
    owner        INTEGER,
    username     TEXT NOT NULL,
    roles        TEXT NOT NULL,
    method       TEXT NOT NULL,
    arguments    BLOB NOT NULL,
    -- Params in clear, or sealed when one is a secret.
    params       BLOB NOT NULL,
    sealed       INTEGER NOT NULL,
    options      TEXT NOT NULL,
    cron         TEXT,
    timezone     TEXT,
    interval     INTEGER,
    "start"      INTEGER,
    "end"        INTEGER,
    jitter       REAL NOT NULL,
    delay        INTEGER NOT NULL,
    missed       TEXT NOT NULL,
    overlap      INTEGER NOT NULL,
    enabled      INTEGER NOT NULL,
    due          INTEGER,
    handled      INTEGER,
    last_run     INTEGER,
    last_job     INTEGER,
    last_state   TEXT,
    last_skipped INTEGER,
    last_error   TEXT,
    created      INTEGER NOT NULL,
    modified     INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX schedules_name ON schedules (ifnull(owner, -1), name);
