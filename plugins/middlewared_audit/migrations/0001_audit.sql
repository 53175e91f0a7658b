-- Who did what. Rows are added, and leave from the oldest end; nothing else happens to
-- them. Ids have no gaps, so that a missing row shows.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,        -- milliseconds
    event TEXT NOT NULL,
    outcome TEXT NOT NULL,
    username TEXT,
    account_id INTEGER,
    credentials TEXT,             -- how the login proved itself
    api_key INTEGER,
    login_id TEXT,
    origin TEXT,                  -- IP address or UNIX_SOCKET; NULL inside the server
    method TEXT,
    params TEXT CHECK (params IS NULL OR json_valid(params)),
    job_id INTEGER,
    detail TEXT
) STRICT;

CREATE INDEX audit_time ON audit (time);
CREATE INDEX audit_username ON audit (username, id) WHERE username IS NOT NULL;
CREATE INDEX audit_job ON audit (job_id) WHERE job_id IS NOT NULL;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is only added to');
END;

CREATE TRIGGER audit_leaves_in_order BEFORE DELETE ON audit
WHEN OLD.id > (SELECT min(id) FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'the audit log leaves from its oldest end');
END;
