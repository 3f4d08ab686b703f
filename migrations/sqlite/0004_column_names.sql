-- A column is looked up by its name; a table may have 100,000 of them.
CREATE UNIQUE INDEX dataset_columns_by_name ON dataset_columns (dataset, name);
