//! The simulated disk: what is left of a database when the power fails in the middle of a commit, and a disk that is full.

use std::path::{Path, PathBuf};

use sqlx::Sqlite;
use sqlx::pool::PoolConnection;
use tempfile::TempDir;

use crate::store::Store;
use crate::store::simulation::Draws;

const DATABASE: &str = "gradientd.db";
const LOG: &str = "gradientd.db-wal";

/// The write-ahead log at a moment, from which nothing is copied into the database from then on: pages are only once the log is synced
/// that has them.
pub(crate) struct Moment {
    log: Vec<u8>,
    _still: PoolConnection<Sqlite>,
}

/// Where directories are made: in memory, where there is such a place, for a simulation needs no real syncs.
pub(crate) fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        TempDir::new_in(memory)
    } else {
        TempDir::new()
    };
    made.expect("a directory")
}

impl Moment {
    pub(crate) async fn of(store: &Store) -> Self {
        let still = store.inner.copier.acquire().await;
        let log = std::fs::read(store.inner.directory.join(LOG));
        Self {
            log: log.unwrap_or_default(),
            _still: still.expect("a connection"),
        }
    }

    /// What a power failure at some point between this moment and now leaves: the database as it is now, and the log as it was,
    /// overwritten by as much of what was written since as had come to the disk.
    pub(crate) fn torn(self, directory: &Path, draws: &mut Draws) -> TempDir {
        let left = self::directory();
        let now = std::fs::read(directory.join(LOG)).unwrap_or_default();
        let arrived = draws.below(now.len() as u64 + 1) as usize;
        let mut log = self.log;
        log.resize(log.len().max(arrived), 0);
        log[..arrived].copy_from_slice(&now[..arrived]);
        copy(directory, left.path());
        std::fs::write(left.path().join(LOG), log).expect("written");
        left
    }
}

/// What `kill -9` leaves: all that was written.
pub(crate) async fn killed(store: &Store) -> TempDir {
    // Of a store that is closed there is none.
    let _still = store.inner.copier.acquire().await.ok();
    let (left, directory) = (self::directory(), &store.inner.directory);
    copy(directory, left.path());
    let log = directory.join(LOG);
    if log.is_file() {
        std::fs::copy(log, left.path().join(LOG)).expect("copied");
    }
    left
}

fn copy(from: &Path, to: &Path) {
    let of = |directory: &Path| -> PathBuf { directory.join(DATABASE) };
    std::fs::copy(of(from), of(to)).expect("copied");
}

impl Store {
    /// Lets the disk be full, or have room again.
    pub(crate) async fn fill_disk(&self, full: bool) {
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
            .fetch_one(&self.inner.writer)
            .await
            .expect("a pragma");
        let most = if full { pages } else { 1 << 30 };
        let statement = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {most}"));
        let set = sqlx::query(statement).execute(&self.inner.writer).await;
        set.expect("a pragma");
    }

    /// SQLite's own look at the whole database.
    pub(crate) async fn integrity(&self) -> String {
        let checked = sqlx::query_scalar("PRAGMA integrity_check");
        checked.fetch_one(self.reader()).await.expect("checks")
    }
}
