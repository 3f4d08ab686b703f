-- Bytes of any length under a number, in pieces that are written and deleted a few at a time, so that nobody holds the writer for
-- long. Each belongs to one row elsewhere, which comes when all pieces are there and has their digest.
CREATE TABLE contents (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    bytes BIGINT NOT NULL
);
CREATE TABLE content_pieces (
    content BIGINT NOT NULL REFERENCES contents (id) ON DELETE CASCADE,
    piece   BIGINT NOT NULL,
    bytes   BLOB   NOT NULL,
    PRIMARY KEY (content, piece)
);
-- Contents that belong to no row: not yet, or no longer. Those of a process that ended are deleted by the next.
CREATE TABLE dropped_contents (
    content BIGINT NOT NULL PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE
);

-- Artifacts, checkpoints and rows of jobs become contents of one piece each. Their numbers follow one another.
ALTER TABLE versions ADD COLUMN content BIGINT;
UPDATE versions SET content = rowid;
INSERT INTO contents (id, bytes) SELECT content, length(artifact) FROM versions;
INSERT INTO content_pieces (content, piece, bytes) SELECT content, 0, artifact FROM versions;
ALTER TABLE versions DROP COLUMN artifact;

ALTER TABLE checkpoints ADD COLUMN content BIGINT;
UPDATE checkpoints SET content = rowid + (SELECT COALESCE(MAX(id), 0) FROM contents);
INSERT INTO contents (id, bytes) SELECT content, length(bytes) FROM checkpoints;
INSERT INTO content_pieces (content, piece, bytes) SELECT content, 0, bytes FROM checkpoints;
ALTER TABLE checkpoints DROP COLUMN bytes;

ALTER TABLE job_rows ADD COLUMN content BIGINT;
UPDATE job_rows SET content = rowid + (SELECT COALESCE(MAX(id), 0) FROM contents);
INSERT INTO contents (id, bytes) SELECT content, length(bytes) FROM job_rows;
INSERT INTO content_pieces (content, piece, bytes) SELECT content, 0, bytes FROM job_rows;
ALTER TABLE job_rows DROP COLUMN bytes;

-- What a row leaves behind goes with it where it is small, and else is deleted piece by piece.
CREATE TRIGGER dropped_with_version AFTER DELETE ON versions BEGIN
    INSERT INTO dropped_contents SELECT id FROM contents WHERE id = OLD.content AND bytes > 4194304;
    DELETE FROM contents WHERE id = OLD.content AND bytes <= 4194304;
END;
CREATE TRIGGER dropped_with_checkpoint AFTER DELETE ON checkpoints BEGIN
    INSERT INTO dropped_contents SELECT id FROM contents WHERE id = OLD.content AND bytes > 4194304;
    DELETE FROM contents WHERE id = OLD.content AND bytes <= 4194304;
END;
CREATE TRIGGER dropped_with_job_rows AFTER DELETE ON job_rows BEGIN
    INSERT INTO dropped_contents SELECT id FROM contents WHERE id = OLD.content AND bytes > 4194304;
    DELETE FROM contents WHERE id = OLD.content AND bytes <= 4194304;
END;

-- Whoever runs a job or a batch prediction counts its beat up; one whose beat stands still is taken over, and its attempt is what
-- fences the one who ran it. Crashes are processes that ended while they ran it, since it last stored a checkpoint.
ALTER TABLE jobs ADD COLUMN beat BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN crashes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE batch_predictions ADD COLUMN crashes BIGINT NOT NULL DEFAULT 0;

-- For how many seconds servers have run on this database: what ages by it ages alike whatever the clock says.
CREATE TABLE running_time (
    seconds DOUBLE PRECISION NOT NULL
);
INSERT INTO running_time VALUES (0);
ALTER TABLE idempotency_keys ADD COLUMN kept_at DOUBLE PRECISION NOT NULL DEFAULT 0;
DROP INDEX idempotency_keys_by_time;
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (kept_at);
