-- A digest of each row over the rest of it. Chunks have none: their bytes have a digest beside them, and their key is in an index.
ALTER TABLE models ADD COLUMN seal TEXT;
ALTER TABLE versions ADD COLUMN seal TEXT;
ALTER TABLE aliases ADD COLUMN seal TEXT;
ALTER TABLE jobs ADD COLUMN seal TEXT;
ALTER TABLE job_rows ADD COLUMN seal TEXT;
ALTER TABLE job_datasets ADD COLUMN seal TEXT;
ALTER TABLE history ADD COLUMN seal TEXT;
ALTER TABLE events ADD COLUMN seal TEXT;
ALTER TABLE reports ADD COLUMN seal TEXT;
ALTER TABLE checkpoints ADD COLUMN seal TEXT;
ALTER TABLE datasets ADD COLUMN seal TEXT;
ALTER TABLE dataset_columns ADD COLUMN seal TEXT;
ALTER TABLE dataset_revisions ADD COLUMN seal TEXT;
ALTER TABLE revision_columns ADD COLUMN seal TEXT;
ALTER TABLE dataset_words ADD COLUMN seal TEXT;
ALTER TABLE batch_predictions ADD COLUMN seal TEXT;
ALTER TABLE idempotency_keys ADD COLUMN seal TEXT;
ALTER TABLE running_time ADD COLUMN seal TEXT;

-- Which of the models that had its name a job trains: what their clocks said of which is older may be wrong.
ALTER TABLE jobs ADD COLUMN model_sequence BIGINT;
UPDATE jobs SET model_sequence = (SELECT sequence FROM models WHERE name = jobs.model AND models.created_at <= jobs.created_at);

-- What a row leaves behind is deleted only where no other row has it: the number in one that is damaged may be another's.
CREATE INDEX versions_by_content ON versions (content);
CREATE INDEX checkpoints_by_content ON checkpoints (content);
CREATE INDEX job_rows_by_content ON job_rows (content);
CREATE VIEW left_contents AS
    SELECT id, bytes FROM contents
    WHERE NOT EXISTS (SELECT 1 FROM versions WHERE content = contents.id)
      AND NOT EXISTS (SELECT 1 FROM checkpoints WHERE content = contents.id)
      AND NOT EXISTS (SELECT 1 FROM job_rows WHERE content = contents.id);
DROP TRIGGER dropped_with_version;
DROP TRIGGER dropped_with_checkpoint;
DROP TRIGGER dropped_with_job_rows;
CREATE TRIGGER dropped_with_version AFTER DELETE ON versions BEGIN
    INSERT INTO dropped_contents SELECT id FROM left_contents WHERE id = OLD.content AND bytes > 4194304;
    DELETE FROM contents WHERE id IN (SELECT id FROM left_contents WHERE id = OLD.content AND bytes <= 4194304);
END;
CREATE TRIGGER dropped_with_checkpoint AFTER DELETE ON checkpoints BEGIN
    INSERT INTO dropped_contents SELECT id FROM left_contents WHERE id = OLD.content AND bytes > 4194304;
    DELETE FROM contents WHERE id IN (SELECT id FROM left_contents WHERE id = OLD.content AND bytes <= 4194304);
END;
CREATE TRIGGER dropped_with_job_rows AFTER DELETE ON job_rows BEGIN
    INSERT INTO dropped_contents SELECT id FROM left_contents WHERE id = OLD.content AND bytes > 4194304;
    DELETE FROM contents WHERE id IN (SELECT id FROM left_contents WHERE id = OLD.content AND bytes <= 4194304);
END;
