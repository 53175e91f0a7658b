-- The child process of a running job: what is left of it is killed at the next start.
ALTER TABLE jobs ADD COLUMN child_pid INTEGER;
ALTER TABLE jobs ADD COLUMN child_started TEXT;
