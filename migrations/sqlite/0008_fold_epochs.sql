-- Epochs that a job has finished in the runs of its cross-validation which leave out a fold; `epoch` counts those of the run on all
-- rows, as the history does.
ALTER TABLE jobs ADD COLUMN fold_epochs BIGINT NOT NULL DEFAULT 0;
