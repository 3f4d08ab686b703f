-- Models, their versions and aliases; jobs with their data, history and checkpoints; datasets.
-- Times are RFC 3339 in UTC with milliseconds. Digests are SHA-256 in lower-case hex. Structures are JSON text.

CREATE TABLE models (
    sequence        INTEGER PRIMARY KEY AUTOINCREMENT,
    name            TEXT   NOT NULL UNIQUE,
    spec            TEXT   NOT NULL,
    parameter_count BIGINT NOT NULL,
    latest_version  BIGINT NOT NULL,
    created_at      TEXT   NOT NULL
);

-- A version never changes once it is here.
CREATE TABLE versions (
    model            TEXT   NOT NULL REFERENCES models (name) ON DELETE CASCADE,
    version          BIGINT NOT NULL,
    job_id           TEXT,
    header           TEXT   NOT NULL,
    lineage          TEXT   NOT NULL,
    parameter_digest TEXT   NOT NULL,
    artifact_digest  TEXT   NOT NULL,
    artifact_bytes   BIGINT NOT NULL,
    created_at       TEXT   NOT NULL,
    artifact         BLOB   NOT NULL,
    PRIMARY KEY (model, version)
);

CREATE TABLE aliases (
    model   TEXT   NOT NULL,
    alias   TEXT   NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES versions (model, version) ON DELETE CASCADE
);

-- status moves only along the legal table; every write of a runner names the attempt that owns the job.
CREATE TABLE jobs (
    sequence            INTEGER PRIMARY KEY AUTOINCREMENT,
    id                 TEXT   NOT NULL UNIQUE,
    model              TEXT   NOT NULL,
    status             TEXT   NOT NULL,
    requested          TEXT,
    attempt            BIGINT NOT NULL,
    base_version       BIGINT NOT NULL,
    version            BIGINT,
    spec               TEXT   NOT NULL,
    epoch              BIGINT NOT NULL,
    epochs             BIGINT NOT NULL,
    metrics            TEXT   NOT NULL,
    samples_per_second DOUBLE PRECISION,
    estimated_finish_at TEXT,
    error              TEXT,
    metadata           TEXT   NOT NULL,
    created_at         TEXT   NOT NULL,
    updated_at         TEXT   NOT NULL,
    started_at         TEXT,
    finished_at        TEXT
);
CREATE INDEX jobs_by_status ON jobs (status, sequence);
CREATE INDEX jobs_by_model ON jobs (model, sequence);

-- Inline rows of a job: part is 'data' or 'validation'.
CREATE TABLE job_rows (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    part   TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes  BLOB NOT NULL,
    PRIMARY KEY (job_id, part)
);

-- Datasets that an unfinished or ended job was checked against.
CREATE TABLE job_datasets (
    job_id  TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    dataset TEXT NOT NULL,
    PRIMARY KEY (job_id, dataset)
);
CREATE INDEX job_datasets_by_dataset ON job_datasets (dataset);

CREATE TABLE history (
    job_id        TEXT             NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch         BIGINT           NOT NULL,
    step          BIGINT           NOT NULL,
    learning_rate DOUBLE PRECISION NOT NULL,
    seconds       DOUBLE PRECISION NOT NULL,
    train         TEXT             NOT NULL,
    validation    TEXT,
    statistics    TEXT,
    PRIMARY KEY (job_id, epoch)
);

CREATE TABLE checkpoints (
    job_id           TEXT   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch            BIGINT NOT NULL,
    step             BIGINT NOT NULL,
    parameter_digest TEXT   NOT NULL,
    digest           TEXT   NOT NULL,
    created_at       TEXT   NOT NULL,
    bytes            BLOB   NOT NULL,
    PRIMARY KEY (job_id, epoch, step)
);

-- A dataset is ready (1) once all its chunks are here; before that nobody sees it, and a start of the server drops it.
CREATE TABLE datasets (
    sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT   NOT NULL UNIQUE,
    ready      BIGINT NOT NULL,
    rows       BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    digest     TEXT   NOT NULL,
    created_at TEXT   NOT NULL
);

CREATE TABLE dataset_columns (
    dataset     TEXT   NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    position    BIGINT NOT NULL,
    name        TEXT   NOT NULL,
    description TEXT   NOT NULL,
    PRIMARY KEY (dataset, position)
);

CREATE TABLE dataset_chunks (
    dataset  TEXT   NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    chunk    BIGINT NOT NULL,
    digest   TEXT   NOT NULL,
    bytes    BLOB   NOT NULL,
    PRIMARY KEY (dataset, position, chunk)
);
