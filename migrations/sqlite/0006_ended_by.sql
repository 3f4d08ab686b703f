-- Why a job that has succeeded ended; null of others, and of those that ended before this column was here.
ALTER TABLE jobs ADD COLUMN ended_by TEXT;

-- For how long a job had trained, pauses left out, when a checkpoint of it was made.
ALTER TABLE checkpoints ADD COLUMN seconds DOUBLE PRECISION NOT NULL DEFAULT 0;

-- A part of job_rows may also be 'base': the copy of a checkpoint that the job starts from.
