//! A dataset being filled: chunks written as they come, in transactions short enough that other writers get their turn
//! between, and seen by nobody before all of them are there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sqlx::Row;
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::data::{Base, CHUNK_ROWS, Piece, Taken};
use crate::model::{digest, hex};
use crate::store::datasets::check_of;
use crate::store::error::is_taken;
use crate::store::page::readable;
use crate::store::{Answer, Dataset, Error, Once, Store, Timestamp, Tx};

/// Bytes that are written in one transaction.
const BYTES_AT_ONCE: usize = 8 << 20;

/// The turns of those who fill datasets: one at a time for each name.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

/// The turn to fill the dataset of a name. It ends when it is dropped.
pub struct Turn(#[expect(dead_code, reason = "held until it is dropped")] OwnedMutexGuard<()>);

/// A revision of a dataset that is being written. Dropped before it is finished, it is discarded.
pub struct Filling {
    store: Store,
    name: String,
    revision: i64,
    /// Bytes of the values: those of full chunks that were there before, and those that were written.
    bytes: u64,
    /// Held until the revision is finished or discarded; then there is none.
    turn: Option<Turn>,
}

impl Store {
    /// Waits for the turn to fill the dataset of a name.
    pub async fn turn(&self, name: &str) -> Turn {
        let turn = {
            let mut turns = self
                .inner
                .turns
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let known = turns.get(name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let new = Arc::default();
                turns.insert(name.to_owned(), Arc::downgrade(&new));
                new
            })
        };
        Turn(turn.lock_owned().await)
    }

    /// Begins a dataset, which nobody sees yet.
    ///
    /// Errors: the name is taken.
    pub async fn begin_dataset(&self, turn: Turn, name: &str) -> Result<Filling, Error> {
        self.discard_left(name).await?;
        let mut tx = self.begin_growing().await?;
        let inserted = sqlx::query(
            "INSERT INTO datasets (name, ready, revision, rows, bytes, digest, created_at) VALUES ($1, 0, 0, 0, 0, '', '')",
        )
        .bind(name)
        .execute(&mut *tx)
        .await;
        match inserted {
            Err(error) if is_taken(&error) => {
                let (kind, name) = ("dataset", name.to_owned());
                return Err(Error::Exists { kind, name });
            }
            other => other?,
        };
        tx.commit().await?;
        Ok(self.filling(turn, name, 1, 0))
    }

    /// Begins the next revision of a dataset, which nobody sees yet, and reads what its rows go on from.
    ///
    /// Errors: there is no such dataset; it has `most` revisions; its bytes are damaged.
    pub async fn begin_rows(
        &self,
        turn: Turn,
        name: &str,
        most: u64,
    ) -> Result<(Filling, Base), Error> {
        self.discard_left(name).await?;
        let dataset = self.dataset_in_code_order(name).await?;
        if dataset.revision >= most {
            let name = name.to_owned();
            return Err(Error::TooManyRevisions { name, most });
        }
        let tails = sqlx::query(
            "SELECT position, digest, bytes FROM dataset_tails WHERE dataset = $1 AND revision = $2",
        )
        .bind(name)
        .bind(dataset.revision as i64)
        .fetch_all(self.reader())
        .await?;
        let mut base = Base {
            digest: dataset.digest,
            tails: vec![None; dataset.columns.len()],
            columns: dataset.columns,
        };
        let mut bytes = dataset.bytes;
        for row in tails {
            let position: i64 = row.try_get(0)?;
            let (kept, tail): (String, Vec<u8>) = (row.try_get(1)?, row.try_get(2)?);
            if digest(&tail) != kept {
                let column = &base.columns[position as usize].name;
                let what = format!("column {column:?} of dataset {name:?}");
                return Err(Error::Damaged { what });
            }
            bytes = bytes.saturating_sub(tail.len() as u64);
            base.tails[position as usize] = Some(tail);
        }
        let mut tx = self.begin_growing().await?;
        let begun =
            sqlx::query("UPDATE datasets SET appending = 1 WHERE name = $1 AND digest = $2")
                .bind(name)
                .bind(&base.digest)
                .execute(&mut *tx)
                .await?;
        if begun.rows_affected() == 0 {
            return Err(Error::not_found("dataset", name));
        }
        tx.commit().await?;
        let revision = dataset.revision as i64 + 1;
        Ok((self.filling(turn, name, revision, bytes), base))
    }

    fn filling(&self, turn: Turn, name: &str, revision: i64, bytes: u64) -> Filling {
        Filling {
            store: self.clone(),
            name: name.to_owned(),
            revision,
            bytes,
            turn: Some(turn),
        }
    }

    /// Drops what is left of an upload that could not be dropped when it ended, as on a full disk. Its turn is held.
    async fn discard_left(&self, name: &str) -> Result<(), Error> {
        let left: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM datasets WHERE name = $1 AND (ready = 0 OR appending = 1)",
        )
        .bind(name)
        .fetch_optional(self.reader())
        .await?;
        match left {
            Some(_) => self.discard_unfinished(Some(name)).await,
            None => Ok(()),
        }
    }

    /// Drops what is left of uploads that came to no end: of one dataset, or all of an earlier process.
    pub(crate) async fn discard_unfinished(&self, name: Option<&str>) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let left = sqlx::query(
            "SELECT * FROM datasets WHERE (ready = 0 OR appending = 1) AND ($1 IS NULL OR name = $1)",
        )
        .bind(name)
        .fetch_all(&mut *tx)
        .await?;
        // One that is damaged may have come to its end: it stays as it is.
        let names = left.iter().filter_map(|row| {
            let name = row.try_get("name").unwrap_or("?");
            let sound = check_of(row, "datasets", name).map(|()| name.to_owned());
            readable("dataset", sound)
        });
        let names = serde_json::to_string(&names.collect::<Vec<_>>())?;
        for statement in [
            "DELETE FROM datasets WHERE ready = 0 AND name IN (SELECT value FROM json_each($1))",
            "DELETE FROM dataset_chunks AS c WHERE EXISTS (SELECT 1 FROM datasets d
             WHERE d.name = c.dataset AND d.appending = 1 AND c.chunk >= d.rows / $2)
               AND c.dataset IN (SELECT value FROM json_each($1))",
            "DELETE FROM dataset_tails AS t WHERE EXISTS (SELECT 1 FROM datasets d
             WHERE d.name = t.dataset AND d.appending = 1 AND t.revision > d.revision)
               AND t.dataset IN (SELECT value FROM json_each($1))",
            "DELETE FROM dataset_words AS w WHERE EXISTS (SELECT 1 FROM datasets d
             WHERE d.name = w.dataset AND d.appending = 1 AND w.revision > d.revision)
               AND w.dataset IN (SELECT value FROM json_each($1))",
            "DELETE FROM revision_columns AS c WHERE EXISTS (SELECT 1 FROM datasets d
             WHERE d.name = c.dataset AND d.appending = 1 AND c.revision > d.revision)
               AND c.dataset IN (SELECT value FROM json_each($1))",
            "UPDATE datasets SET appending = 0 WHERE appending = 1 AND name IN (SELECT value FROM json_each($1))",
        ] {
            sqlx::query(statement)
                .bind(&names)
                .bind(CHUNK_ROWS as i64)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

impl Filling {
    /// Writes the chunks as they come, until no more do.
    ///
    /// Errors: the dataset is gone; the disk is full.
    pub async fn write(&mut self, mut pieces: mpsc::Receiver<Piece>) -> Result<(), Error> {
        let mut next = pieces.recv().await;
        while next.is_some() {
            let (mut bytes, mut together) = (0, Vec::new());
            while let Some(piece) =
                next.take_if(|piece| bytes == 0 || bytes + piece.bytes.len() <= BYTES_AT_ONCE)
            {
                bytes += piece.bytes.len();
                together.push(piece);
                next = pieces.recv().await;
            }
            let mut tx = self.begin().await?;
            for piece in together {
                self.bytes += piece.bytes.len() as u64;
                self.insert(&mut tx, piece).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Begins a transaction in which the dataset is there.
    async fn begin(&self) -> Result<Tx, Error> {
        let mut tx = self.store.begin_growing().await?;
        let found = sqlx::query(
            "SELECT 1 FROM datasets WHERE name = $1 AND revision = $2 AND (ready = 0 OR appending = 1)",
        )
        .bind(&self.name)
        .bind(self.revision - 1)
        .fetch_optional(&mut *tx)
        .await?;
        match found {
            Some(_) => Ok(tx),
            None => Err(Error::not_found("dataset", &self.name)),
        }
    }

    async fn insert(&self, tx: &mut Tx, piece: Piece) -> Result<(), Error> {
        let (statement, number) = if piece.is_full {
            let chunk = piece.chunk as i64;
            (
                "INSERT INTO dataset_chunks (dataset, position, chunk, digest, bytes) VALUES ($1, $2, $3, $4, $5)",
                chunk,
            )
        } else {
            (
                "INSERT INTO dataset_tails (dataset, position, revision, digest, bytes) VALUES ($1, $2, $3, $4, $5)",
                self.revision,
            )
        };
        sqlx::query(statement)
            .bind(&self.name)
            .bind(piece.column as i64)
            .bind(number)
            .bind(hex(&piece.digest))
            .bind(piece.bytes)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    /// Lets the revision be seen, with the answer of the request that wrote it.
    ///
    /// Errors: the dataset is gone; the key stands for another request.
    pub async fn finish(
        mut self,
        taken: Taken,
        once: Once<Dataset>,
        now: &Timestamp,
    ) -> Result<Answer, Error> {
        self.describe(&taken).await?;
        let mut tx = self.begin().await?;
        let (rows, bytes, digest) = (taken.rows as i64, self.bytes as i64, hex(&taken.digest));
        for statement in [
            "INSERT INTO dataset_revisions (dataset, revision, rows, bytes, digest, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
            "UPDATE datasets SET ready = 1, appending = 0, revision = $2, rows = $3, bytes = $4, digest = $5,
             created_at = CASE ready WHEN 0 THEN $6 ELSE created_at END WHERE name = $1",
            "DELETE FROM dataset_tails WHERE dataset = $1 AND revision < $2",
        ] {
            sqlx::query(statement)
                .bind(&self.name)
                .bind(self.revision)
                .bind(rows)
                .bind(bytes)
                .bind(&digest)
                .bind(now.as_str())
                .execute(&mut *tx)
                .await?;
        }
        tx.seal().await?;
        let dataset = self.store.dataset_within(&mut tx, &self.name).await?;
        let answer = once.keep(&mut tx, &dataset, now).await?;
        tx.commit().await?;
        self.turn = None;
        Ok(answer)
    }

    /// Writes what is known of the columns, in transactions like those of the chunks.
    async fn describe(&self, taken: &Taken) -> Result<(), Error> {
        let mut columns = taken.columns.iter().zip(0i64..).peekable();
        while columns.peek().is_some() {
            let mut tx = self.begin().await?;
            let mut written = 0;
            while let Some((column, position)) = columns.next_if(|_| written < BYTES_AT_ONCE) {
                let mut column = column.clone();
                let words = std::mem::take(&mut column.categories);
                if self.revision == 1 {
                    sqlx::query(
                        "INSERT INTO dataset_columns (dataset, position, name) VALUES ($1, $2, $3)",
                    )
                    .bind(&self.name)
                    .bind(position)
                    .bind(&column.name)
                    .execute(&mut *tx)
                    .await?;
                }
                let description = serde_json::to_string(&column)?;
                written += description.len();
                sqlx::query("INSERT INTO revision_columns (dataset, position, revision, description) VALUES ($1, $2, $3, $4)")
                    .bind(&self.name)
                    .bind(position)
                    .bind(self.revision)
                    .bind(description)
                    .execute(&mut *tx)
                    .await?;
                if words.is_empty() {
                    continue;
                }
                let words = serde_json::to_string(&words)?;
                written += words.len();
                sqlx::query("INSERT INTO dataset_words (dataset, position, revision, words) VALUES ($1, $2, $3, $4)")
                    .bind(&self.name)
                    .bind(position)
                    .bind(self.revision)
                    .bind(words)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Drops what was written.
    pub async fn discard(mut self) -> Result<(), Error> {
        // Dropped before the end of this, it would leave what was written until the next start: it goes on by itself.
        let (store, name, turn) = (self.store.clone(), self.name.clone(), self.turn.take());
        let discarding = tokio::spawn(async move {
            let _turn = turn;
            store.discard_unfinished(Some(&name)).await
        });
        discarding.await.expect("discarding does not panic")
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        let Some(turn) = self.turn.take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (store, name) = (self.store.clone(), self.name.clone());
        runtime.spawn(async move {
            let _turn = turn;
            if let Err(error) = store.discard_unfinished(Some(&name)).await {
                tracing::error!(%error, dataset = name, "a broken upload is dropped at the next start");
            }
        });
    }
}
