//! The write-ahead log: what was committed is copied from it into the database file by a connection of its own, beside the writer.
//!
//! SQLite would do so by itself within a commit, and keep an error of it to itself.

use std::sync::{Arc, Weak};

use sqlx::SqlitePool;

use crate::store::{Error, Inner};

/// Pages in the log from which on they are copied. One is 4 KiB.
const PAGES: i64 = 1000;
/// Pages from which on the writer waits for the copy: only a log that nobody writes to meanwhile can begin anew.
const MOST_PAGES: i64 = 8000;

/// Pages in the log, and those of them that are in the database file.
type Pages = (i64, i64);

/// Tends the log after each commit, for as long as the store is there.
pub(crate) async fn tend(store: Weak<Inner>, committed: Arc<tokio::sync::Notify>) {
    loop {
        committed.notified().await;
        let Some(store) = store.upgrade() else {
            return;
        };
        match store.tend_log().await {
            Ok(()) | Err(Error::Busy) => {}
            // The store is being closed, which copies all that is left.
            Err(_) if store.copier.is_closed() => {}
            Err(error) => {
                store.health.notice(&error);
                tracing::warn!(%error, "the write-ahead log could not be copied into the database; the next commit tries again");
            }
        }
        if store.health.has_failed() || store.copier.is_closed() {
            return;
        }
    }
}

impl Inner {
    async fn tend_log(&self) -> Result<(), Error> {
        let (pages, copied) = copy(&self.copier, "NOOP").await?;
        if pages - copied < PAGES {
            return Ok(());
        }
        // Nothing is begun while this is held, so that the next writer finds a log that is copied as a whole.
        let _turn = if pages < MOST_PAGES {
            None
        } else {
            Some(self.writer.acquire().await?)
        };
        copy(&self.copier, "PASSIVE").await?;
        Ok(())
    }
}

/// Copies what nobody needs any longer as it was.
async fn copy(pool: &SqlitePool, how: &'static str) -> Result<Pages, Error> {
    let statement = sqlx::AssertSqlSafe(format!("PRAGMA wal_checkpoint({how})"));
    let (_, pages, copied): (i64, i64, i64) = sqlx::query_as(statement).fetch_one(pool).await?;
    Ok((pages, copied))
}
