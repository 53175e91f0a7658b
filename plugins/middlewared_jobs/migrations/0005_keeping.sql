-- Of each state the jobs that ended first leave first.
CREATE INDEX jobs_ended ON jobs (state, time_finished) WHERE time_finished IS NOT NULL;

-- Where the files of jobs were, and which database this was, at the last start.
CREATE TABLE job_home (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    logs  TEXT NOT NULL,
    epoch TEXT NOT NULL
) STRICT;
