//! Verification: everything of a database is read and compared with its digests, and no byte of it changed.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Column, Connection, Row, SqliteConnection};

use crate::model::{Model, Selftest};
use crate::store::opening::MIGRATIONS;
use crate::store::{Error, Source, contents, seal};
use crate::train::{Checkpoint, RawSamples};

/// What a verification tells while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// How far it is.
    Progress {
        /// Bytes that were compared with their digests.
        done: u64,
        /// Bytes of the database.
        total: u64,
    },
    /// Something is not as it was written.
    Damaged {
        /// What, and how that shows.
        what: String,
        /// What to do.
        cure: &'static str,
    },
    /// Something that is whole, but should be known.
    Noted(String),
}

/// Whom it is told.
pub type Tell<'a> = &'a mut (dyn FnMut(Told) + Send);

/// What was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// What there was.
    pub parts: Vec<VerifiedPart>,
    /// Things that are damaged.
    pub damaged: u64,
}

/// Things of one kind that were verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPart {
    /// What they are, in the plural.
    pub name: &'static str,
    /// How many there are.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Rows of a table that have bytes with a digest.
struct Kind {
    name: &'static str,
    table: &'static str,
    /// Which of the table's rows.
    only: &'static str,
    /// What a message calls one.
    label: &'static str,
    digest: &'static str,
    /// The column of the bytes, where the schema has them in the row and not in pieces.
    bytes: &'static str,
    cure: &'static str,
    /// What is wrong with bytes that have their digest, or should be known of them.
    look: fn(&[u8]) -> Result<Option<String>, Error>,
}

const KINDS: [Kind; 7] = [
    Kind {
        name: "versions",
        table: "versions",
        only: "TRUE",
        label: r#"'version ' || version || ' of model "' || model || '"'"#,
        digest: "artifact_digest",
        bytes: "artifact",
        cure: "delete it, or restore a backup",
        look: |bytes| {
            let Selftest {
                passed,
                largest_difference,
                ..
            } = Model::decode(bytes)?.selftest();
            let other = format!(
                "answers its golden set with other bits than when it was published: largest difference {largest_difference:e}"
            );
            Ok((!passed).then_some(other))
        },
    },
    Kind {
        name: "checkpoints",
        table: "checkpoints",
        only: "TRUE",
        label: "'the checkpoint after epoch ' || epoch || ' and step ' || step || ' of job ' || job_id",
        digest: "digest",
        bytes: "bytes",
        cure: "resume the job, which goes on from the one before, or restore a backup",
        look: |bytes| Checkpoint::decode(bytes).map(|_| None).map_err(Error::from),
    },
    Kind {
        name: "inline rows of jobs",
        table: "job_rows",
        only: "part <> 'base'",
        label: "part || ' of job ' || job_id",
        digest: "digest",
        bytes: "bytes",
        cure: "submit the job again, or restore a backup",
        look: |bytes| {
            RawSamples::decode_inline(bytes)
                .map(|_| None)
                .map_err(Error::from)
        },
    },
    Kind {
        name: "checkpoints that jobs start from",
        table: "job_rows",
        only: "part = 'base'",
        label: "'the checkpoint that job ' || job_id || ' starts from'",
        digest: "digest",
        bytes: "bytes",
        cure: "submit the job again, or restore a backup",
        look: |bytes| Checkpoint::decode(bytes).map(|_| None).map_err(Error::from),
    },
    Kind {
        name: "chunks of datasets",
        table: "dataset_chunks",
        only: "TRUE",
        label: r#"'chunk ' || chunk || ' of column ' || position || ' of dataset "' || dataset || '"'"#,
        digest: "digest",
        bytes: "bytes",
        cure: "delete the dataset and upload it again, or restore a backup",
        look: |_| Ok(None),
    },
    Kind {
        name: "last chunks of datasets",
        table: "dataset_tails",
        only: "TRUE",
        label: r#"'the last chunk of column ' || position || ' of dataset "' || dataset || '"'"#,
        digest: "digest",
        bytes: "bytes",
        cure: "delete the dataset and upload it again, or restore a backup",
        look: |_| Ok(None),
    },
    Kind {
        name: "chunks of batch predictions",
        table: "prediction_chunks",
        only: "TRUE",
        label: "'chunk ' || chunk || ' of the result of batch prediction ' || prediction",
        digest: "digest",
        bytes: "bytes",
        cure: "delete the batch prediction and submit it again, or restore a backup",
        look: |_| Ok(None),
    },
];

/// Columns that say what a row is of.
const NAMING: [&str; 11] = [
    "name", "model", "version", "alias", "id", "job_id", "part", "dataset", "revision", "epoch",
    "key",
];

/// Where SQLite itself finds damage.
const RESTORE: &str = "restore a backup";

/// Reads everything of a database, piece by piece, and compares it with its digests: in short transactions, but for the look that SQLite
/// takes at its own structures.
///
/// Errors: the database cannot be read at all, or is newer than this program.
pub async fn verify(source: &Source, tell: Tell<'_>) -> Result<Verified, Error> {
    let mut connection = source.connect().await?;
    let total: i64 = sqlx::query_scalar(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    )
    .fetch_one(&mut connection)
    .await?;
    let mut verification = Verification {
        connection,
        tell,
        done: 0,
        total: total as u64,
        verified: Verified::default(),
    };
    verification.look_at_file().await?;
    verification.look_at_schema().await?;
    for kind in &KINDS {
        let part = verification.look_at(kind).await?;
        verification.verified.parts.push(part);
    }
    let rows = verification.look_at_rows().await?;
    verification.verified.parts.push(rows);
    verification.connection.close().await?;
    Ok(verification.verified)
}

/// A verification under way.
struct Verification<'a> {
    connection: SqliteConnection,
    tell: Tell<'a>,
    done: u64,
    total: u64,
    verified: Verified,
}

/// The bytes of a row, as they were read.
struct Read {
    row: i64,
    label: String,
    digest: String,
    bytes: Vec<u8>,
}

impl Verification<'_> {
    /// Whether SQLite finds its own structures whole, and every row that another refers to.
    async fn look_at_file(&mut self) -> Result<(), Error> {
        let found = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_all(&mut self.connection)
            .await;
        let found: Vec<String> = self.readable(found.map_err(Error::from), "the database file")?;
        for fault in found.iter().filter(|fault| *fault != "ok") {
            self.damaged(format!("the database file: {fault}"), RESTORE);
        }
        let found = sqlx::query("PRAGMA foreign_key_check")
            .fetch_all(&mut self.connection)
            .await;
        let found = self.readable(found.map_err(Error::from), "the references between rows")?;
        for row in &found {
            let (table, row, parent): (String, Option<i64>, String) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let row = row.map_or_else(|| "a row".to_owned(), |row| format!("row {row}"));
            let what = format!("{row} of {table}: what it belongs to is missing in {parent}");
            self.damaged(what, RESTORE);
        }
        Ok(())
    }

    /// Whether the tables, indexes and triggers are those that this program makes; those of an earlier schema are not looked at.
    async fn look_at_schema(&mut self) -> Result<(), Error> {
        let version = "SELECT MAX(version) FROM _sqlx_migrations";
        let version: Option<i64> = sqlx::query_scalar(version)
            .fetch_one(&mut self.connection)
            .await?;
        if version != MIGRATIONS.iter().map(|step| step.version).max() {
            return Ok(());
        }
        let made = SqlitePoolOptions::new().max_connections(1);
        let made = made.connect_with(SqliteConnectOptions::new().in_memory(true));
        let made = made.await?;
        let migrated = MIGRATIONS.run(&made).await;
        migrated.map_err(|error| Error::unusable(Path::new(":memory:"), error))?;
        let expected = schema(&mut *made.acquire().await?).await?;
        let found = schema(&mut self.connection).await?;
        for part in expected.symmetric_difference(&found) {
            let [name, sql] = [&part.0, &part.1].map(|text| String::from_utf8_lossy(text));
            let fault = if found.contains(part) {
                "is not as"
            } else {
                "is missing as"
            };
            let what = format!("the schema: {name} {fault} this program makes it: {sql}");
            self.damaged(what, RESTORE);
        }
        Ok(())
    }

    /// Whether the rows of a kind have the bytes that they were written with. A table that an older schema has not is empty.
    async fn look_at(&mut self, kind: &Kind) -> Result<VerifiedPart, Error> {
        let mut part = VerifiedPart {
            name: kind.name,
            count: 0,
            bytes: 0,
        };
        let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
            .bind(kind.table)
            .fetch_all(&mut self.connection)
            .await?;
        if columns.is_empty() {
            return Ok(part);
        }
        let in_pieces = columns.iter().any(|column| column == "content");
        let mut last = i64::MIN;
        loop {
            let read = kind.read(&mut self.connection, last, in_pieces).await;
            let place = format!(
                "{} after row {last} of {}, of which the rest was not verified",
                kind.name, kind.table
            );
            let Some(row) = self.readable(read.map(Vec::from_iter), &place)?.pop() else {
                return Ok(part);
            };
            let bytes = row.bytes.len() as u64;
            last = row.row;
            self.compare(kind, row).await;
            part.count += 1;
            part.bytes += bytes;
            self.done += bytes;
            self.tell_progress();
        }
    }

    /// Whether the rows that have seals are as they were sealed; those of an earlier schema have none.
    async fn look_at_rows(&mut self) -> Result<VerifiedPart, Error> {
        let mut part = VerifiedPart {
            name: "rows",
            count: 0,
            bytes: 0,
        };
        if !seal::are_complete(&mut self.connection).await? {
            return Ok(part);
        }
        for table in seal::tables(&mut self.connection).await? {
            let mut last = None;
            loop {
                let (mut unsound, mut count, mut bytes) = (Vec::new(), 0, 0);
                let look = |number, row: &SqliteRow| {
                    let (is_sound, of_row) = seal::compare(row, &table)?;
                    if !is_sound {
                        unsound.push(label(number, row));
                    }
                    count += 1;
                    bytes += of_row;
                    Ok(())
                };
                let read = seal::each_after(&mut self.connection, &table, last, look).await;
                for label in unsound {
                    let what = format!("{label} of {table}: its seal does not match");
                    self.damaged(what, "delete what it belongs to, or restore a backup");
                }
                part.count += count;
                part.bytes += bytes;
                self.done += bytes;
                self.tell_progress();
                let place = format!("the rows of {table}, of which the rest was not verified");
                last = self.readable(read.map(Vec::from_iter), &place)?.pop();
                if last.is_none() {
                    break;
                }
            }
        }
        Ok(part)
    }

    async fn compare(&mut self, kind: &Kind, read: Read) {
        let Read {
            label,
            digest,
            bytes,
            ..
        } = read;
        let (what, look) = (label.clone(), kind.look);
        match contents::decoded(bytes, digest, what, look).await {
            Ok(None) => {}
            Ok(Some(note)) => (self.tell)(Told::Noted(format!("{label} {note}"))),
            Err(Error::Damaged { what }) if what == label => {
                self.damaged(format!("{label}: its digest does not match"), kind.cure);
            }
            Err(error) => self.damaged(format!("{label}: {error}"), kind.cure),
        }
    }

    /// What was read, or nothing where there is damage on the way, which is told.
    fn readable<T>(&mut self, read: Result<Vec<T>, Error>, what: &str) -> Result<Vec<T>, Error> {
        match read {
            Err(error) if error.is_damage() => {
                self.damaged(format!("{what}: {error}"), RESTORE);
                Ok(Vec::new())
            }
            other => other,
        }
    }

    fn tell_progress(&mut self) {
        // Names are compared, too, and a row may be larger than its part of the file.
        let (done, total) = (self.done.min(self.total), self.total);
        (self.tell)(Told::Progress { done, total });
    }

    fn damaged(&mut self, what: String, cure: &'static str) {
        self.verified.damaged += 1;
        (self.tell)(Told::Damaged { what, cure });
    }
}

/// What a database is made of: names, and the statements that make them.
async fn schema(connection: &mut SqliteConnection) -> Result<BTreeSet<(Vec<u8>, Vec<u8>)>, Error> {
    let parts = sqlx::query_as(
        "SELECT CAST(type || ' ' || name AS BLOB), CAST(COALESCE(sql, '') AS BLOB) FROM sqlite_schema
         WHERE name <> '_sqlx_migrations'",
    );
    Ok(parts.fetch_all(connection).await?.into_iter().collect())
}

/// What a message calls a row: its number, and what in it names things.
fn label(number: i64, row: &SqliteRow) -> String {
    let mut label = format!("row {number}");
    let names = row.columns().iter().map(Column::name);
    for name in names.filter(|name| NAMING.contains(name)) {
        let text = row.try_get(name).unwrap_or_default();
        let number = row.try_get::<i64, _>(name).map(|number| number.to_string());
        write!(label, ", {name} {}", number.as_deref().unwrap_or(text)).expect("a string takes it");
    }
    label
}

impl Kind {
    /// The first row after one, and its bytes as they were at the same moment.
    async fn read(
        &self,
        connection: &mut SqliteConnection,
        after: i64,
        in_pieces: bool,
    ) -> Result<Option<Read>, Error> {
        let Self {
            table,
            only,
            label,
            digest,
            bytes,
            ..
        } = self;
        let source = if in_pieces {
            "COALESCE(CAST(content AS INTEGER), -1)"
        } else {
            bytes
        };
        let sql = format!(
            "SELECT rowid, COALESCE({label}, 'row ' || rowid || ' of {table}'), CAST({digest} AS TEXT), {source}
             FROM {table} WHERE rowid > $1 AND {only} ORDER BY rowid LIMIT 1"
        );
        let mut tx = connection.begin().await?;
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(after)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = row else { return Ok(None) };
        // Bits may have flipped in text as well.
        let text = |column| {
            let text: Option<&[u8]> = row.try_get(column)?;
            Ok::<_, Error>(String::from_utf8_lossy(text.unwrap_or_default()).into_owned())
        };
        let (label, digest) = (text(1)?, text(2)?);
        let bytes = if in_pieces {
            contents::read(&mut tx, row.try_get(3)?).await?
        } else {
            row.try_get(3)?
        };
        Ok(Some(Read {
            row: row.try_get(0)?,
            label,
            digest,
            bytes,
        }))
    }
}
