//! Seals: each row of a table that has a column for one has a digest over the rest of the row.
//!
//! A writing transaction hears from SQLite which rows it has touched and seals them before it commits, so that no writer can
//! forget. What is null is left out, so that a later schema may add a column that is null in the rows there are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;

use sqlx::sqlite::{SqliteOperation, SqlitePool, SqliteRow, SqliteValueRef, UpdateHookResult};
use sqlx::{AssertSqlSafe, Column, Decode, Row, Sqlite, SqliteConnection, TypeInfo, ValueRef};

use crate::model::digest;
use crate::store::Error;

/// The column.
const SEAL: &str = "seal";
/// What a row's number is called where it is read with its columns.
const NUMBER: &str = "row_number";
/// Rows that are read and sealed with one statement each.
const AT_ONCE: usize = 1000;
/// How often it is told how far the rows of an earlier schema are.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// The version that `user_version` has once all rows are sealed: a row without a seal is damaged from then on.
pub(crate) const SEALED: i64 = 1;

/// Rows that a transaction has touched, by table and number, and whether it has inserted them.
type Rows = HashMap<String, BTreeMap<i64, bool>>;

/// What the transaction of the one writer has touched.
#[derive(Clone, Default)]
pub(crate) struct Touched(Arc<Mutex<Rows>>);

/// What seals the rows of a database.
#[derive(Clone)]
pub(crate) struct Seals {
    touched: Touched,
    /// The tables that have seals.
    tables: Arc<[String]>,
    /// A reader of what is committed, for whoever writes alone.
    committed: SqlitePool,
}

impl Touched {
    /// Notes what the writer's connection tells of a row.
    pub(crate) fn note(&self, change: &UpdateHookResult) {
        let mut touched = self.lock();
        if !touched.contains_key(change.table) {
            touched.insert(change.table.to_owned(), BTreeMap::new());
        }
        let rows = touched.get_mut(change.table).expect("it is there by now");
        match change.operation {
            SqliteOperation::Insert => drop(rows.insert(change.rowid, true)),
            SqliteOperation::Delete => drop(rows.remove(&change.rowid)),
            _ => drop(rows.entry(change.rowid).or_insert(false)),
        }
    }

    /// Forgets the rows of a table that were inserted.
    fn forget_inserted(&self, table: &str) {
        if let Some(rows) = self.lock().get_mut(table) {
            rows.retain(|_, inserted| !*inserted);
        }
    }

    fn take(&self) -> Rows {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seals {
    /// Of a database whose writer notes what it touches. The rows of an earlier schema are sealed now, once.
    pub(crate) async fn of(
        touched: Touched,
        writer: &SqlitePool,
        committed: SqlitePool,
    ) -> Result<Self, Error> {
        let mut connection = writer.acquire().await?;
        let tables = tables(&mut connection).await?;
        if !are_complete(&mut connection).await? {
            for table in &tables {
                seal_all(&mut connection, table).await?;
                drop(touched.take());
            }
            let statement = AssertSqlSafe(format!("PRAGMA user_version = {SEALED}"));
            sqlx::query(statement).execute(&mut *connection).await?;
        }
        Ok(Self {
            touched,
            tables: tables.into(),
            committed,
        })
    }

    /// Forgets what a transaction touched that came to no end.
    pub(crate) fn forget(&self) {
        drop(self.touched.take());
    }

    /// What the transaction has inserted into a table so far was inserted with its seals.
    pub(crate) fn sealed(&self, table: &str) {
        self.touched.forget_inserted(table);
    }

    pub(crate) async fn close(&self) {
        self.committed.close().await;
    }

    /// Seals what a transaction has touched so far. A row that was damaged before keeps a seal that does not fit.
    pub(crate) async fn seal(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        let touched = self.touched.take();
        for (table, rows) in &touched {
            if !self.tables.contains(table) {
                continue;
            }
            let mut numbers: Vec<i64> = rows.keys().copied().collect();
            let changed = rows.iter().filter(|(_, inserted)| !**inserted);
            let changed: Vec<i64> = changed.map(|(number, _)| *number).collect();
            if !changed.is_empty() {
                let mut before = self.committed.acquire().await?;
                let damaged = damaged(&mut before, table, &changed).await?;
                numbers.retain(|number| !damaged.contains(number));
            }
            for numbers in numbers.chunks(AT_ONCE) {
                let rows = read(connection, table, numbers).await?;
                let seals = rows
                    .iter()
                    .map(|row| Ok((row.try_get(NUMBER)?, digest(&encoded(row, table)?))));
                let seals = seals.collect::<Result<Vec<_>, Error>>()?;
                write(connection, table, &seals).await?;
            }
        }
        // Sealing has touched them once more.
        self.forget();
        Ok(())
    }
}

/// Whether a row of a table, read with all its columns and perhaps its number, is as it was sealed.
pub(crate) fn is_sound(row: &SqliteRow, table: &str) -> Result<bool, Error> {
    Ok(compare(row, table)?.0)
}

/// The same, and how many bytes were compared.
pub(crate) fn compare(row: &SqliteRow, table: &str) -> Result<(bool, u64), Error> {
    let (sealed, bytes): (Option<&[u8]>, _) = (row.try_get(SEAL)?, encoded(row, table)?);
    let is_sound = sealed == Some(digest(&bytes).as_bytes());
    Ok((is_sound, bytes.len() as u64))
}

/// Errors: the row is not as it was sealed; `what` says what it is of.
pub(crate) fn check(
    row: &SqliteRow,
    table: &str,
    what: impl FnOnce() -> String,
) -> Result<(), Error> {
    if is_sound(row, table)? {
        return Ok(());
    }
    Err(Error::Damaged { what: what() })
}

/// The tables that have seals.
pub(crate) async fn tables(connection: &mut SqliteConnection) -> Result<Vec<String>, Error> {
    let tables = sqlx::query_scalar(
        "SELECT t.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c ON c.name = $1
         WHERE t.type = 'table' ORDER BY t.name",
    );
    Ok(tables.bind(SEAL).fetch_all(connection).await?)
}

/// Whether all rows of a database were sealed.
pub(crate) async fn are_complete(connection: &mut SqliteConnection) -> Result<bool, Error> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(connection)
        .await?;
    Ok(version >= SEALED)
}

/// Looks at the next rows of a table after one, a thousand at most and one by one, for a row may be large. Returns the number of the
/// last; none after the table's last.
pub(crate) async fn each_after(
    connection: &mut SqliteConnection,
    table: &str,
    last: Option<i64>,
    mut look: impl FnMut(i64, &SqliteRow) -> Result<(), Error>,
) -> Result<Option<i64>, Error> {
    let first = last.map_or(Some(i64::MIN), |last| last.checked_add(1));
    let sql = format!(
        "SELECT rowid AS {NUMBER}, * FROM {table} WHERE rowid >= $1 ORDER BY rowid LIMIT {AT_ONCE}"
    );
    let mut rows = sqlx::query(AssertSqlSafe(sql))
        .bind(first)
        .fetch(connection);
    let mut last = None;
    while let Some(row) = rows.try_next().await? {
        let number = row.try_get(NUMBER)?;
        look(number, &row)?;
        last = Some(number);
    }
    Ok(last)
}

async fn seal_all(connection: &mut SqliteConnection, table: &str) -> Result<(), Error> {
    let (mut last, mut sealed, mut told) = (None, 0, Instant::now());
    loop {
        let mut seals = Vec::with_capacity(AT_ONCE);
        let look = |number, row: &SqliteRow| {
            seals.push((number, digest(&encoded(row, table)?)));
            Ok(())
        };
        last = each_after(connection, table, last, look).await?;
        if last.is_none() {
            return Ok(());
        }
        write(connection, table, &seals).await?;
        sealed += seals.len();
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tracing::info!(
                table,
                rows = sealed,
                "sealing what an earlier program stored"
            );
            // Nobody else tends the log yet.
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
                .execute(&mut *connection)
                .await?;
        }
    }
}

/// Those of some rows that are not as they were sealed.
async fn damaged(
    connection: &mut SqliteConnection,
    table: &str,
    numbers: &[i64],
) -> Result<Vec<i64>, Error> {
    let mut damaged = Vec::new();
    for numbers in numbers.chunks(AT_ONCE) {
        for row in read(connection, table, numbers).await? {
            if !is_sound(&row, table)? {
                let row = row.try_get(NUMBER)?;
                tracing::error!(
                    table,
                    row,
                    "a row that is written to is damaged, and stays so"
                );
                damaged.push(row);
            }
        }
    }
    Ok(damaged)
}

async fn read(
    connection: &mut SqliteConnection,
    table: &str,
    numbers: &[i64],
) -> Result<Vec<SqliteRow>, Error> {
    let sql = format!(
        "SELECT rowid AS {NUMBER}, * FROM {table} WHERE rowid IN (SELECT value FROM json_each($1))"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(serde_json::to_string(numbers)?);
    Ok(rows.fetch_all(connection).await?)
}

/// Gives rows their seals, by their numbers.
async fn write(
    connection: &mut SqliteConnection,
    table: &str,
    seals: &[(i64, String)],
) -> Result<(), Error> {
    let sql = format!(
        "UPDATE {table} SET {SEAL} = j.value ->> 1 FROM json_each($1) AS j WHERE {table}.rowid = j.value ->> 0"
    );
    let sealing = sqlx::query(AssertSqlSafe(sql)).bind(serde_json::to_string(seals)?);
    sealing.execute(connection).await?;
    Ok(())
}

/// A value of a row that has no seal yet.
pub(crate) enum Value<'a> {
    Integer(i64),
    Real(f64),
    /// As bytes: those of a damaged text may be none.
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

/// The seal of a row that is to be inserted with these columns, in the order of their names; see [`Seals::sealed`].
pub(crate) fn of(table: &str, columns: &[(&str, Option<Value<'_>>)]) -> String {
    let mut bytes = begin(table);
    for (name, value) in columns {
        if let Some(value) = value {
            push_value(&mut bytes, name, value);
        }
    }
    digest(&bytes)
}

/// What the seal of a row is the SHA-256 of: the table's name and the columns that are not null, in the order of their names, each with its
/// name, the type of its value and the value. Each text has its length before it.
fn encoded(row: &SqliteRow, table: &str) -> Result<Vec<u8>, Error> {
    let columns = row.columns().iter();
    let mut columns: Vec<_> = columns
        .filter(|column| ![SEAL, NUMBER].contains(&column.name()))
        .collect();
    columns.sort_unstable_by_key(|column| column.name());
    let mut bytes = begin(table);
    for column in columns {
        let value = row.try_get_raw(column.ordinal())?;
        if !value.is_null() {
            let value = read_value(value).map_err(sqlx::Error::Decode)?;
            push_value(&mut bytes, column.name(), &value);
        }
    }
    Ok(bytes)
}

fn begin(table: &str) -> Vec<u8> {
    // As much as a row has whose texts are short.
    let mut bytes = Vec::with_capacity(512);
    push(&mut bytes, table.as_bytes());
    bytes
}

fn push(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text);
}

fn push_value(bytes: &mut Vec<u8>, name: &str, value: &Value<'_>) {
    push(bytes, name.as_bytes());
    let kind: &[u8] = match value {
        Value::Integer(_) => b"INTEGER",
        Value::Real(_) => b"REAL",
        Value::Text(_) => b"TEXT",
        Value::Blob(_) => b"BLOB",
    };
    push(bytes, kind);
    match value {
        Value::Integer(value) => bytes.extend(value.to_le_bytes()),
        Value::Real(value) => bytes.extend(value.to_le_bytes()),
        Value::Text(text) | Value::Blob(text) => push(bytes, text),
    }
}

fn read_value(value: SqliteValueRef<'_>) -> Result<Value<'_>, sqlx::error::BoxDynError> {
    let kind = value.type_info();
    Ok(match kind.name() {
        "INTEGER" => Value::Integer(Decode::<Sqlite>::decode(value)?),
        "REAL" => Value::Real(Decode::<Sqlite>::decode(value)?),
        "TEXT" => Value::Text(Decode::<Sqlite>::decode(value)?),
        _ => Value::Blob(Decode::<Sqlite>::decode(value)?),
    })
}
