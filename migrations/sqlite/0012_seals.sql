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
