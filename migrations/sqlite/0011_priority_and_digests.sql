-- Among the jobs that wait, the one with the highest priority is next, and of several the one that was submitted first.
ALTER TABLE jobs ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
DROP INDEX jobs_by_status;
CREATE INDEX jobs_by_status ON jobs (status, priority DESC, sequence);

-- SHA-256 of the parameters at the end of the epoch, as of versions and checkpoints; null of epochs from before this column.
ALTER TABLE history ADD COLUMN parameter_digest TEXT;
