-- The events of jobs, for clients that were away. What a job was like at an event is
-- its row, with what had changed by then; null: as it is in its row now.
CREATE TABLE job_events (
    seq    INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    job    INTEGER NOT NULL,
    msg    TEXT NOT NULL,
    change TEXT,
    -- About how many bytes the event has on the wire.
    size   INTEGER NOT NULL,
    -- Of removed jobs, which have no row: who may know of them.
    owner  INTEGER,
    method TEXT
) STRICT;

CREATE INDEX job_events_removed ON job_events (job) WHERE msg = 'removed';
