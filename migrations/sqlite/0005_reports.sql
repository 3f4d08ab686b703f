-- What a job came to at its end, as JSON text: every figure of the parameters that it published. A job that published
-- nothing has none, and neither has one that ended before this table was.
CREATE TABLE reports (
    job_id TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    report TEXT NOT NULL
);
