-- Jobs that predict every row of a revision of a dataset, which `digest` names, with one version of a model. They go with the
-- model; while one waits or runs, its version and its dataset stay.
CREATE TABLE batch_predictions (
    sequence        INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT   NOT NULL UNIQUE,
    model           TEXT   NOT NULL REFERENCES models (name) ON DELETE CASCADE,
    version         BIGINT NOT NULL,
    dataset         TEXT   NOT NULL,
    digest          TEXT   NOT NULL,
    spec            TEXT   NOT NULL,
    status          TEXT   NOT NULL,
    rows            BIGINT NOT NULL,
    rows_done       BIGINT NOT NULL DEFAULT 0,
    rows_per_second DOUBLE PRECISION,
    bytes           BIGINT NOT NULL DEFAULT 0,
    error           TEXT,
    metadata        TEXT   NOT NULL,
    created_at      TEXT   NOT NULL,
    started_at      TEXT,
    finished_at     TEXT
);
CREATE INDEX batch_predictions_by_status ON batch_predictions (status, sequence);
CREATE INDEX batch_predictions_by_model ON batch_predictions (model, sequence);

-- What was predicted, cut into pieces that are a CSV text or a Parquet file one after another. It is whole once the status is
-- succeeded; of any other end nothing is kept.
CREATE TABLE prediction_chunks (
    prediction TEXT   NOT NULL REFERENCES batch_predictions (id) ON DELETE CASCADE,
    chunk      BIGINT NOT NULL,
    digest     TEXT   NOT NULL,
    bytes      BLOB   NOT NULL,
    PRIMARY KEY (prediction, chunk)
);
