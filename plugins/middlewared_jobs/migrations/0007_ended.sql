-- Only ended jobs are looked for by the time of their end: a job enters the index once.
DROP INDEX jobs_time_finished;
CREATE INDEX jobs_time_finished ON jobs (time_finished) WHERE time_finished IS NOT NULL;
