-- The whole record: what dialects and callers need beyond the wire's item.
ALTER TABLE jobs ADD COLUMN phase TEXT NOT NULL DEFAULT 'pending';
ALTER TABLE jobs ADD COLUMN exit TEXT NOT NULL DEFAULT 'null';
ALTER TABLE jobs ADD COLUMN instance INTEGER;
ALTER TABLE jobs ADD COLUMN is_restart INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN restart_of INTEGER;
ALTER TABLE jobs ADD COLUMN parent INTEGER;
ALTER TABLE jobs ADD COLUMN schedule INTEGER;
ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN run_at INTEGER;
ALTER TABLE jobs ADD COLUMN key TEXT;
ALTER TABLE jobs ADD COLUMN tracking_id TEXT;
ALTER TABLE jobs ADD COLUMN app_id TEXT;
ALTER TABLE jobs ADD COLUMN time_modified INTEGER;
ALTER TABLE jobs ADD COLUMN node TEXT;
-- Steps, messages, counts and so on, as one JSON object; null when there are none.
ALTER TABLE jobs ADD COLUMN details TEXT;

UPDATE jobs SET
    instance = id,
    phase = CASE state
        WHEN 'WAITING' THEN 'pending' WHEN 'RUNNING' THEN 'running'
        WHEN 'ABORTED' THEN 'aborted' ELSE 'finished' END,
    exit = CASE state
        WHEN 'SUCCESS' THEN '{"kind":"COMPLETED","code":"OK","message":null}'
        WHEN 'FAILED' THEN json_object('kind', 'FAILED', 'code', 'ERROR', 'message', error)
        WHEN 'ABORTED' THEN '{"kind":"STOPPED","code":"ABORTED","message":null}'
        ELSE 'null' END,
    time_modified = ifnull(time_finished, ifnull(time_started, time_created));

CREATE UNIQUE INDEX jobs_key ON jobs (ifnull(owner, -1), method, key) WHERE key IS NOT NULL;
CREATE INDEX jobs_instance ON jobs (instance, id) WHERE is_restart;
CREATE INDEX jobs_parent ON jobs (parent, id) WHERE parent IS NOT NULL;
CREATE INDEX jobs_schedule ON jobs (schedule, id) WHERE schedule IS NOT NULL;
CREATE INDEX jobs_tracking_id ON jobs (tracking_id, id) WHERE tracking_id IS NOT NULL;

-- Items that a job could not do, while it went on with the others.
CREATE TABLE job_item_errors (
    job      INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    item     TEXT NOT NULL,
    code     TEXT NOT NULL,
    text     TEXT NOT NULL,
    key      TEXT NOT NULL,
    location TEXT,
    severity TEXT NOT NULL,
    time     INTEGER,
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;
