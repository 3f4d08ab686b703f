-- What has happened to each job: ids rise from 1 per job, and an event, as JSON text, never changes.
CREATE TABLE events (
    job_id     TEXT   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    id         BIGINT NOT NULL,
    created_at TEXT   NOT NULL,
    event      TEXT   NOT NULL,
    PRIMARY KEY (job_id, id)
);

-- The log of a job that is older than this table begins with where it stands.
INSERT INTO events (job_id, id, created_at, event)
SELECT id, 1, updated_at, json_object('type', 'status', 'data',
    json_object('status', status, 'attempt', attempt, 'version', version, 'error', json(error)))
FROM jobs;
