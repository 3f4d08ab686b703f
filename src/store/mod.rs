//! Store: the only SQL. Everything durable is in one SQLite database of the data directory.

mod backup;
mod change;
mod checkpoints;
mod columns;
mod contents;
#[cfg(test)]
mod damage_tests;
mod datasets;
mod error;
mod events;
mod filling;
#[cfg(test)]
mod filling_tests;
mod history;
mod idempotency;
mod jobs;
mod leases;
mod models;
mod opening;
#[cfg(test)]
mod opening_tests;
mod page;
mod prediction_runs;
mod predictions;
#[cfg(test)]
mod predictions_tests;
mod reports;
mod retention;
mod revision;
mod room;
mod running_time;
mod runs;
#[cfg(test)]
mod runs_tests;
mod seal;
#[cfg(test)]
mod seal_tests;
#[cfg(test)]
mod simulation;
mod status;
mod table;
mod timestamp;
mod verification;
mod versions;
mod wal;
mod writing;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::sqlite::SqlitePool;
use tokio::sync::{Notify, RwLock, RwLockReadGuard, watch};

pub use crate::store::backup::{BackedUp, Restored, back_up, restore};
pub use crate::store::change::Change;
use crate::store::contents::BeingWritten;
pub use crate::store::datasets::{Dataset, DatasetRevision};
pub use crate::store::error::Error;
pub use crate::store::events::{Event, EventData};
use crate::store::filling::Turns;
pub use crate::store::filling::{Filling, Turn};
pub use crate::store::history::{
    CheckpointRow, EpochTime, HistoryRow, NewCheckpoint, StatisticsRow,
};
pub use crate::store::idempotency::{Answer, Idempotency, KnownKey, Once};
pub use crate::store::jobs::{Job, JobError, JobFilter, JobMetrics, NewJob};
pub use crate::store::leases::Beat;
pub use crate::store::models::{ModelRow, Served};
use crate::store::opening::Connections;
pub use crate::store::opening::Source;
pub use crate::store::page::{Page, PageQuery};
pub use crate::store::prediction_runs::{PredictionChunk, PredictionProgress};
pub use crate::store::predictions::{BatchPrediction, NewBatchPrediction, PredictionFilter};
pub use crate::store::reports::ReportRow;
pub use crate::store::retention::Retention;
pub use crate::store::revision::{Expected, Revision};
use crate::store::room::Room;
use crate::store::running_time::Running;
pub use crate::store::running_time::RunningTime;
pub use crate::store::runs::{Claim, Owner, Progress, Publication};
use crate::store::seal::Seals;
pub use crate::store::status::{JobStatus, Request};
pub use crate::store::table::Table;
pub use crate::store::timestamp::Timestamp;
pub use crate::store::verification::{Tell, Told, Verified, VerifiedPart, verify};
pub use crate::store::versions::{Lineage, VersionRow, build};
use crate::store::writing::{Health, Tx};

type Listener = Box<dyn Fn(Change) + Send + Sync>;
/// How long to rest between two parts of large contents.
type Rests = Box<dyn Fn() -> Option<Duration> + Send + Sync>;

/// The database of one data directory. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    writer: SqlitePool,
    reader: SqlitePool,
    /// Copies the write-ahead log into the database file, beside the writer.
    copier: SqlitePool,
    health: Health,
    seals: Seals,
    room: Room,
    running: Running,
    /// Contents that no row has yet.
    being_written: BeingWritten,
    retention: watch::Sender<Retention>,
    /// Wakes whoever deletes what is no longer kept.
    sweep: Arc<Notify>,
    /// Held for writing while a change of the catalogue is committed and its listener hears of it, and for reading by
    /// whoever reads jobs and models: nobody sees a job succeeded before its version answers. The writer's connection
    /// is always taken before it, so that readers never wait for another's transaction.
    catalogue: RwLock<()>,
    listener: OnceLock<Listener>,
    rests: OnceLock<Rests>,
    /// Whose turn it is to fill which dataset, which takes several transactions: the same request, sent twice at once,
    /// finds its key the second time, not a name that is taken.
    turns: Turns,
    /// Counts the commits that may have added events.
    told: watch::Sender<u64>,
    /// Held locked until the store is closed, so that one process at a time uses the data directory.
    lock: File,
}

impl Store {
    /// Opens the database of a data directory, making both where they are missing, and brings its schema up to date.
    ///
    /// Errors: the directory cannot be used, another process uses it, or the database is damaged or newer than this program.
    pub async fn open(directory: &Path) -> Result<Self, Error> {
        Self::open_with_room(directory, 0).await
    }

    /// The same, of a disk of which so many bytes, or a twentieth where that is less, are kept free for deletions and for the ends
    /// of jobs.
    pub async fn open_with_room(directory: &Path, free_bytes: u64) -> Result<Self, Error> {
        let lock = opening::lock(directory)?;
        opening::remove_scratch(directory);
        let Connections {
            writer,
            reader,
            copier,
            seals,
        } = opening::connect(directory).await?;
        let running = Running::read(&reader).await?;
        let inner = Inner {
            directory: directory.to_owned(),
            writer,
            reader,
            copier,
            health: Health::default(),
            seals,
            room: Room::new(free_bytes),
            running,
            being_written: BeingWritten::default(),
            retention: watch::Sender::new(Retention::default()),
            sweep: Arc::default(),
            catalogue: RwLock::new(()),
            listener: OnceLock::new(),
            rests: OnceLock::new(),
            turns: Turns::default(),
            told: watch::Sender::new(0),
            lock,
        };
        let store = Self {
            inner: Arc::new(inner),
        };
        let (inner, committed) = (Arc::downgrade(&store.inner), store.inner.health.committed());
        tokio::spawn(wal::tend(inner.clone(), committed));
        tokio::spawn(retention::sweep(inner, Arc::clone(&store.inner.sweep)));
        store.inner.sweep.notify_one();
        store.discard_unfinished(None).await?;
        Ok(store)
    }

    /// Names the one who is told of every committed change of models, versions and aliases.
    ///
    /// Panics: it is named twice, which is our bug.
    pub fn listen(&self, listener: impl Fn(Change) + Send + Sync + 'static) {
        assert!(
            self.inner.listener.set(Box::new(listener)).is_ok(),
            "a store has one listener"
        );
    }

    /// Has whoever writes large contents rest for so long between two parts, for a second in all at most; where this is not said, not at
    /// all. The first that says it is heard.
    pub fn rest_by(&self, rests: impl Fn() -> Option<Duration> + Send + Sync + 'static) {
        let _ = self.inner.rests.set(Box::new(rests));
    }

    /// Closes the database once all that was begun is done, and lets go of the data directory.
    pub async fn close(&self) {
        if let Err(error) = self.keep_running_time().await {
            tracing::warn!(%error, "the running time of this process is not kept: what ages by it stays longer");
        }
        let inner = &self.inner;
        tokio::join!(
            inner.reader.close(),
            inner.seals.close(),
            inner.copier.close()
        );
        self.inner.writer.close().await;
        if let Err(error) = self.inner.lock.unlock() {
            tracing::warn!(%error, "the data directory stays locked until the process ends");
        }
    }

    /// A file of the data directory that has no name and is gone once it is closed.
    ///
    /// Errors: it cannot be made.
    pub fn scratch(&self) -> Result<File, Error> {
        let directory = &self.inner.directory;
        let path = opening::scratch(directory);
        let made = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path);
        let file = made.map_err(|source| Error::directory(directory, source))?;
        std::fs::remove_file(&path).map_err(|source| Error::directory(directory, source))?;
        Ok(file)
    }

    /// Whether the database answers and its disk has not failed.
    pub async fn is_up(&self) -> bool {
        let read = sqlx::query("SELECT 1").execute(self.reader()).await;
        read.is_ok() && !self.inner.health.has_failed()
    }

    fn reader(&self) -> &SqlitePool {
        &self.inner.reader
    }

    /// Commits what may have added events, and wakes whoever follows them.
    async fn commit(&self, tx: Tx) -> Result<(), Error> {
        tx.commit().await?;
        self.inner.told.send_modify(|commits| *commits += 1);
        Ok(())
    }

    async fn reading_catalogue(&self) -> RwLockReadGuard<'_, ()> {
        self.inner.catalogue.read().await
    }

    /// Commits a change of the catalogue and tells the listener; nobody reads the catalogue in between.
    async fn publish(&self, tx: Tx, change: Change) -> Result<(), Error> {
        let _guard = self.inner.catalogue.write().await;
        self.commit(tx).await?;
        if let Some(listener) = self.inner.listener.get() {
            listener(change);
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Whoever tends it has nothing more to wait for.
        self.health.committed().notify_one();
        self.sweep.notify_one();
    }
}

/// Encodes, decodes or digests off the threads that answer requests.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("the work of the store does not panic")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::reading;
    use crate::data::{Base, CsvOptions, Piece, Reading, Taken, read_csv};

    fn table(rows: usize) -> String {
        let values = (0..rows).map(|row| (row as f64).sqrt());
        let rows = values.map(|value| format!("{value}\n"));
        "x\n".to_owned() + &rows.collect::<String>()
    }

    async fn upload(store: &Store, name: &str, rows: usize) -> Result<Answer, Error> {
        create(store, name, &table(rows)).await
    }

    pub(super) fn parse(csv: &str, base: Option<Base>) -> (Taken, Vec<Piece>) {
        let mut pieces = Vec::new();
        let reading = Reading {
            base,
            ..reading(&mut pieces)
        };
        let taken = read_csv(csv.as_bytes(), &CsvOptions::default(), reading).expect("a table");
        (taken, pieces)
    }

    /// Writes what was parsed, whole or not at all.
    pub(super) async fn fill(
        mut filling: Filling,
        (taken, pieces): (Taken, Vec<Piece>),
    ) -> Result<Answer, Error> {
        let (sender, receiver) = tokio::sync::mpsc::channel(pieces.len().max(1));
        for piece in pieces {
            sender.send(piece).await.expect("there is room");
        }
        drop(sender);
        if let Err(error) = filling.write(receiver).await {
            filling.discard().await?;
            return Err(error);
        }
        let once = Once {
            idempotency: None,
            answer: |dataset: &Dataset| Answer {
                status: 201,
                location: dataset.name.clone(),
                body: Vec::new(),
                replayed: false,
            },
        };
        filling.finish(taken, once, &Timestamp::now()).await
    }

    pub(super) async fn create(store: &Store, name: &str, csv: &str) -> Result<Answer, Error> {
        let filling = store.begin_dataset(store.turn(name).await, name).await?;
        fill(filling, parse(csv, None)).await
    }

    #[tokio::test]
    async fn a_full_database_refuses_and_takes_writes_again_once_there_is_room() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path()).await.expect("opens");
        let limit = |pages: i64| {
            let statement = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
            sqlx::query(statement).execute(&store.inner.writer)
        };
        limit(60).await.expect("a pragma");
        let refused = upload(&store, "large", 200_000).await;
        assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
        assert!(matches!(
            store.dataset("large").await,
            Err(Error::NotFound { .. })
        ));
        upload(&store, "small", 10)
            .await
            .expect("a small one still fits");
        limit(1_000_000).await.expect("a pragma");
        upload(&store, "large", 200_000)
            .await
            .expect("there is room again");
        assert_eq!(
            store.dataset("large").await.expect("is there").rows,
            200_000
        );
    }

    #[tokio::test]
    async fn what_is_temporary_has_no_file_anywhere() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path()).await.expect("opens");
        let mut writer = store.inner.writer.acquire().await.expect("a connection");
        // 20 MB, ten times what SQLite keeps of a temporary table before it opens a file for it.
        sqlx::query("CREATE TEMP TABLE t AS SELECT randomblob(20000000) AS bytes")
            .execute(&mut *writer)
            .await
            .expect("a temporary table");
        let files = std::fs::read_dir("/proc/self/fd").expect("the open files");
        let files = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        let temporary: Vec<_> = files
            .filter(|file| file.to_string_lossy().contains("etilqs_"))
            .collect();
        assert!(temporary.is_empty(), "{temporary:?}");
    }

    #[tokio::test]
    async fn a_second_store_on_the_same_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Store::open(directory.path()).await.expect("opens");
        let second = Store::open(directory.path()).await;
        assert!(matches!(second, Err(Error::DirectoryInUse { .. })));
        drop(first);
    }

    #[tokio::test]
    async fn a_flipped_bit_in_a_stored_chunk_is_found_before_it_is_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path()).await.expect("opens");
        upload(&store, "t", 1000).await.expect("stored");
        sqlx::query("UPDATE dataset_tails SET bytes = zeroblob(length(bytes))")
            .execute(&store.inner.writer)
            .await
            .expect("damaged");
        let read = columns::tests::read(&store, "t", &["x".to_owned()]).await;
        assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
    }
}
