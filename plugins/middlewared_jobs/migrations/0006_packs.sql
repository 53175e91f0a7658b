-- Kept events, those of one transaction in one row; job_events has those of removed
-- jobs, and what was kept before there were packs.
CREATE TABLE job_event_packs (
    last   INTEGER PRIMARY KEY,
    first  INTEGER NOT NULL,
    -- The highest time of its events.
    newest INTEGER NOT NULL,
    -- Numbers, times, jobs, kinds, sizes and changes, a JSON array each.
    events TEXT NOT NULL
) STRICT;
