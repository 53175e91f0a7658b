-- One row per job. Times are milliseconds since 1970-01-01 UTC.
CREATE TABLE jobs (
    id                    INTEGER PRIMARY KEY,
    uid                   TEXT NOT NULL,
    method                TEXT NOT NULL,
    message_ids           TEXT NOT NULL,
    arguments             TEXT NOT NULL,
    description           TEXT,
    abortable             INTEGER NOT NULL,
    logs_path             TEXT,
    logs_excerpt          TEXT,
    progress              TEXT NOT NULL,
    result                TEXT NOT NULL,
    result_encoding_error TEXT NOT NULL,
    error                 TEXT,
    exception             TEXT,
    exc_info              TEXT NOT NULL,
    state                 TEXT NOT NULL,
    time_created          INTEGER NOT NULL,
    time_started          INTEGER,
    time_finished         INTEGER,
    credentials           TEXT NOT NULL,
    owner                 INTEGER,
    attempt               INTEGER NOT NULL,
    lock                  TEXT,
    abort                 TEXT NOT NULL,
    -- Params in clear, for a restart; sealed when one is a secret; null once final.
    params                BLOB
) STRICT;

CREATE INDEX jobs_state ON jobs (state, id);
CREATE INDEX jobs_method ON jobs (method, id);
CREATE INDEX jobs_owner ON jobs (owner, id);
CREATE INDEX jobs_time_created ON jobs (time_created);
CREATE INDEX jobs_time_started ON jobs (time_started);
CREATE INDEX jobs_time_finished ON jobs (time_finished);

-- Ids below this one may have been used.
CREATE TABLE job_ids (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    next INTEGER NOT NULL
) STRICT;
INSERT INTO job_ids VALUES (1, 1);
