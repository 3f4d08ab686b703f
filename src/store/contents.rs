//! Contents: bytes of any length in pieces, written before the row that they belong to and deleted after it, a few at a time, so
//! that nobody holds the writer for long.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::SqliteConnection;

use crate::model::digest;
use crate::store::{Error, Store, Tx, off_thread};

/// Bytes of a piece: the thread that writes comes to rest after each, and whoever waits for its processor has it. Earlier programs wrote
/// 4 MiB, or 256 KiB; contents of no more are deleted with their row, as the migration has it.
const PIECE: usize = 64 << 10;
/// Pieces of a transaction, at most, and of contents that are written with their row.
const TOGETHER: usize = 16;
/// How long the writing of contents rests between its parts, all in all.
const RESTS: Duration = Duration::from_secs(1);

/// Contents to which a row is to be added.
pub(crate) enum Content<'a> {
    /// Small ones, written with their row.
    Here(&'a [u8]),
    /// Large ones, which are there already.
    Ahead(Ahead),
}

/// Contents that are there and belong to no row yet. Dropped before they do, they are deleted.
pub(crate) struct Ahead {
    store: Store,
    id: i64,
}

/// Numbers of the contents that are being written.
#[derive(Default)]
pub(crate) struct BeingWritten(Mutex<HashSet<i64>>);

impl Store {
    /// Writes bytes where they are many, in transactions of a few pieces each, for a row that comes later.
    pub(crate) async fn content<'a>(&self, bytes: &'a [u8]) -> Result<Content<'a>, Error> {
        if bytes.len() <= TOGETHER * PIECE {
            return Ok(Content::Here(bytes));
        }
        let mut tx = self.begin_growing().await?;
        let id = insert(&mut tx, bytes.len()).await?;
        sqlx::query("INSERT INTO dropped_contents (content) VALUES ($1)")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        let ahead = Ahead::new(self, id);
        tx.commit().await?;
        let mut left = RESTS;
        for (index, bytes) in bytes.chunks(TOGETHER * PIECE).enumerate() {
            if index > 0 {
                left -= self.rest(left).await;
            }
            let mut tx = self.begin_growing().await?;
            insert_pieces(&mut tx, id, index * TOGETHER, bytes).await?;
            tx.commit().await?;
        }
        Ok(Content::Ahead(ahead))
    }

    /// Rests for as long as is due, at most for `most`; how long that is.
    async fn rest(&self, most: Duration) -> Duration {
        let due = self.inner.rests.get().and_then(|rests| rests());
        let due = due.unwrap_or_default().min(most);
        if !due.is_zero() {
            tokio::time::sleep(due).await;
        }
        due
    }

    /// Deletes contents that belong to no row, and are not being written, a few pieces in each transaction.
    pub(crate) async fn sweep_contents(&self) -> Result<(), Error> {
        loop {
            let mut tx = self.begin().await?;
            let dropped: Vec<i64> = sqlx::query_scalar("SELECT content FROM dropped_contents")
                .fetch_all(&mut *tx)
                .await?;
            let written = self.inner.being_written.ids();
            let Some(id) = dropped.into_iter().find(|id| !written.contains(id)) else {
                return Ok(());
            };
            let deleted = sqlx::query(
                "DELETE FROM content_pieces WHERE content = $1 AND piece <=
                 (SELECT piece + CASE WHEN length(bytes) > $2 THEN 0 ELSE $3 END
                  FROM content_pieces WHERE content = $1 ORDER BY piece LIMIT 1)",
            )
            .bind(id)
            .bind(PIECE as i64)
            .bind(TOGETHER as i64 - 1)
            .execute(&mut *tx)
            .await?;
            if deleted.rows_affected() == 0 {
                sqlx::query("DELETE FROM contents WHERE id = $1")
                    .bind(id)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
        }
    }
}

impl Content<'_> {
    /// Gives them to the row that is inserted with this number in the same transaction.
    pub(crate) async fn insert(self, tx: &mut Tx) -> Result<i64, Error> {
        match self {
            Self::Here(bytes) => {
                let id = insert(tx, bytes.len()).await?;
                insert_pieces(tx, id, 0, bytes).await?;
                Ok(id)
            }
            Self::Ahead(ahead) => {
                sqlx::query("DELETE FROM dropped_contents WHERE content = $1")
                    .bind(ahead.id)
                    .execute(&mut **tx)
                    .await?;
                Ok(ahead.id)
            }
        }
    }
}

impl Ahead {
    fn new(store: &Store, id: i64) -> Self {
        store.inner.being_written.lock().insert(id);
        let store = store.clone();
        Self { store, id }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let inner = &self.store.inner;
        inner.being_written.lock().remove(&self.id);
        inner.sweep.notify_one();
    }
}

impl BeingWritten {
    fn ids(&self) -> HashSet<i64> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn insert(tx: &mut Tx, bytes: usize) -> Result<i64, Error> {
    let inserted = sqlx::query("INSERT INTO contents (bytes) VALUES ($1)")
        .bind(bytes as i64)
        .execute(&mut **tx)
        .await?;
    Ok(inserted.last_insert_rowid())
}

/// Adds bytes in pieces, the first of which has this number. No bytes are one piece, too.
async fn insert_pieces(tx: &mut Tx, id: i64, first: usize, bytes: &[u8]) -> Result<(), Error> {
    let none: &[u8] = &[];
    let pieces = bytes.chunks(PIECE).chain(bytes.is_empty().then_some(none));
    for (index, piece) in pieces.enumerate() {
        sqlx::query("INSERT INTO content_pieces (content, piece, bytes) VALUES ($1, $2, $3)")
            .bind(id)
            .bind((first + index) as i64)
            .bind(piece)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// The bytes of contents, as a connection or transaction sees them that has seen their row. Whether they are whole, their digest
/// says.
pub(crate) async fn read(connection: &mut SqliteConnection, id: i64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    for number in 0i64.. {
        let piece: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT bytes FROM content_pieces WHERE content = $1 AND piece = $2",
        )
        .bind(id)
        .bind(number)
        .fetch_optional(&mut *connection)
        .await?;
        match piece {
            Some(piece) if bytes.is_empty() => bytes = piece,
            Some(piece) => bytes.extend_from_slice(&piece),
            None => break,
        }
    }
    Ok(bytes)
}

/// What bytes say, off the threads that answer requests, once their digest is found to be the one that their row has.
pub(crate) async fn decoded<T: Send + 'static>(
    bytes: Vec<u8>,
    expected: String,
    what: String,
    decode: impl FnOnce(&[u8]) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    off_thread(move || {
        if digest(&bytes) != expected {
            return Err(Error::Damaged { what });
        }
        decode(&bytes)
    })
    .await
}
