-- Rows are appended to a dataset as its next revision. All revisions share the full chunks, of which an earlier one reads as
-- many as it has rows for; what of the last rows does not fill a chunk is a tail, and only the newest revision has one.
-- Whatever belongs to a revision beyond that of its dataset, or to a chunk beyond its rows, is being written still: nobody
-- sees it, and a start of the server drops it.
ALTER TABLE datasets ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE datasets ADD COLUMN appending BIGINT NOT NULL DEFAULT 0;

CREATE TABLE dataset_revisions (
    dataset    TEXT   NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    revision   BIGINT NOT NULL,
    rows       BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    digest     TEXT   NOT NULL,
    created_at TEXT   NOT NULL,
    PRIMARY KEY (dataset, revision)
);
CREATE INDEX dataset_revisions_by_digest ON dataset_revisions (dataset, digest);
INSERT INTO dataset_revisions (dataset, revision, rows, bytes, digest, created_at)
SELECT name, 1, rows, bytes, digest, created_at FROM datasets WHERE ready = 1;

-- What is known of a column at a revision, but for its categories.
CREATE TABLE revision_columns (
    dataset     TEXT   NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    revision    BIGINT NOT NULL,
    position    BIGINT NOT NULL,
    description TEXT   NOT NULL,
    PRIMARY KEY (dataset, revision, position)
);
INSERT INTO revision_columns (dataset, revision, position, description)
SELECT dataset, 1, position, json_remove(description, '$.categories') FROM dataset_columns;

-- The categories that came into a column with a revision, as JSON text: a code is a place among those of all revisions.
CREATE TABLE dataset_words (
    dataset  TEXT   NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    words    TEXT   NOT NULL,
    PRIMARY KEY (dataset, position, revision)
);
INSERT INTO dataset_words (dataset, position, revision, words)
SELECT dataset, position, 1, json_extract(description, '$.categories') FROM dataset_columns
WHERE json_type(description, '$.categories') = 'array';
ALTER TABLE dataset_columns DROP COLUMN description;

CREATE TABLE dataset_tails (
    dataset  TEXT   NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    revision BIGINT NOT NULL,
    position BIGINT NOT NULL,
    digest   TEXT   NOT NULL,
    bytes    BLOB   NOT NULL,
    PRIMARY KEY (dataset, revision, position)
);
INSERT INTO dataset_tails (dataset, revision, position, digest, bytes)
SELECT c.dataset, 1, c.position, c.digest, c.bytes
FROM dataset_chunks c JOIN datasets d ON d.name = c.dataset AND c.chunk = d.rows / 16384;
DELETE FROM dataset_chunks WHERE chunk = (SELECT rows / 16384 FROM datasets WHERE name = dataset);
