-- Keys that clients chose, each with the answer to the one request that it stands for. A key is written in the
-- transaction of what its request made, so that either both are here or none.
CREATE TABLE idempotency_keys (
    key        TEXT   NOT NULL PRIMARY KEY,
    operation  TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    status     BIGINT NOT NULL,
    location   TEXT   NOT NULL,
    answer     BLOB   NOT NULL,
    created_at TEXT   NOT NULL
);
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);

-- Grows with whatever a model's answer shows: its latest version and its aliases. Held by the database, so that no
-- writer can forget it.
ALTER TABLE models ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
CREATE TRIGGER revised_by_version AFTER UPDATE OF latest_version ON models BEGIN
    UPDATE models SET revision = revision + 1 WHERE name = NEW.name;
END;
CREATE TRIGGER revised_by_new_alias AFTER INSERT ON aliases BEGIN
    UPDATE models SET revision = revision + 1 WHERE name = NEW.model;
END;
CREATE TRIGGER revised_by_moved_alias AFTER UPDATE OF version ON aliases WHEN NEW.version <> OLD.version BEGIN
    UPDATE models SET revision = revision + 1 WHERE name = NEW.model;
END;
CREATE TRIGGER revised_by_deleted_alias AFTER DELETE ON aliases BEGIN
    UPDATE models SET revision = revision + 1 WHERE name = OLD.model;
END;
