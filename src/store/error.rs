//! What can go wrong in the store.

use std::path::{Path, PathBuf};

use thiserror::Error;
use uuid::Uuid;

use crate::store::{JobStatus, Revision};

/// Errors of the `store` floor.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no such thing.
    #[error("there is no {kind} {name:?}")]
    NotFound {
        /// `model`, `version`, `alias`, `job`, `batch prediction`, `dataset` or `column`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The name is taken.
    #[error("there is a {kind} {name:?} already")]
    Exists {
        /// `model` or `dataset`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A list is to go on after something that is not in it.
    #[error("must be one of the {kind}s there are, got {after:?}")]
    UnknownPlace {
        /// `model`, `version`, `job`, `batch prediction` or `dataset`.
        kind: &'static str,
        /// What was given.
        after: String,
    },
    /// Rows have come into a dataset too often.
    #[error(
        "dataset {name:?} must have at most {most} revisions and has as many: append more rows at a time to a new one"
    )]
    TooManyRevisions {
        /// Its name.
        name: String,
        /// Revisions that it may have.
        most: u64,
    },
    /// Something unfinished needs it.
    #[error("{kind} {name:?} is in use: {by}")]
    InUse {
        /// `model`, `version`, `job`, `batch prediction` or `dataset`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What uses it, and what to do.
        by: String,
    },
    /// The job keeps no checkpoint of the end of that epoch.
    #[error(
        "job {job} keeps no checkpoint of the end of epoch {epoch:?}; epochs it keeps: {}",
        shown(kept)
    )]
    NoCheckpoint {
        /// The job.
        job: Uuid,
        /// The epoch asked for.
        epoch: String,
        /// The epochs whose ends it keeps.
        kept: Vec<u64>,
    },
    /// The job has no report, or none yet.
    #[error("job {job} is {status} and has no report: {why}")]
    NoReport {
        /// The job.
        job: Uuid,
        /// Where it stands.
        status: JobStatus,
        /// Why it has none.
        why: &'static str,
    },
    /// The model that a job trained is gone, whatever has its name now.
    #[error("the model {model:?} that job {job} trained was deleted")]
    ModelGone {
        /// Its name.
        model: String,
        /// The job.
        job: Uuid,
    },
    /// The job's status does not allow the move.
    #[error("a {kind} that is {from} cannot be {}", asked(*.to))]
    IllegalMove {
        /// `job` or `batch prediction`.
        kind: &'static str,
        /// The job's status.
        from: JobStatus,
        /// The status asked for.
        to: JobStatus,
    },
    /// The job is no longer this attempt's: nothing was written.
    #[error("the job is no longer owned by this attempt")]
    Fenced,
    /// The key stands for another request.
    #[error("Idempotency-Key {key:?} was used for a request with another path, query or body")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The model is not in the state that the writer expects.
    #[error("model {name:?} has changed: it is now at revision {revision}")]
    Changed {
        /// The model.
        name: String,
        /// The state that it is in.
        revision: Revision,
    },
    /// The batch prediction has no result, or none yet.
    #[error("batch prediction {id} is {status} and has no result: {}", awaited(*.status))]
    NoResult {
        /// The batch prediction.
        id: Uuid,
        /// Where it stands.
        status: JobStatus,
    },
    /// Too many jobs wait.
    #[error("the queue is full: {limit} {kind}s wait")]
    QueueFull {
        /// `job` or `batch prediction`.
        kind: &'static str,
        /// Jobs that may wait.
        limit: u64,
    },
    /// Stored bytes are not those that were written.
    #[error("{what} is damaged in the store: its digest does not match")]
    Damaged {
        /// What was read.
        what: String,
    },
    /// The data directory cannot be used.
    #[error(
        "cannot use the data directory {path}: {source}; make it writable or give another with --data-dir"
    )]
    Directory {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is to be made, and there is one of its name.
    #[error("there is a file {} already: nothing is overwritten, give another name", file.display())]
    FileExists {
        /// The file.
        file: PathBuf,
    },
    /// A database is to be restored where one is.
    #[error(
        "there is a database in {} already: restore to another directory with --data-dir, or give --replace, which keeps it under another name",
        directory.display()
    )]
    DatabaseExists {
        /// The data directory.
        directory: PathBuf,
    },
    /// A restore was killed.
    #[error(
        "a restore into {} was interrupted: run it again with --replace; what was there before is kept as {}",
        directory.display(),
        kept.display()
    )]
    Interrupted {
        /// The data directory.
        directory: PathBuf,
        /// Where the database that was there is kept, as far as it is no longer in its place.
        kept: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {why}; nothing was left there", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// Another process uses the data directory.
    #[error(
        "the data directory {directory} is in use by another process: stop that first, or give another with --data-dir"
    )]
    DirectoryInUse {
        /// The data directory.
        directory: PathBuf,
    },
    /// The schema cannot be brought up to date.
    #[error(
        "the database in {directory} cannot be opened by this program: {source}; use the program that wrote it or a later one"
    )]
    Migration {
        /// The data directory.
        directory: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// The file of a database is none, is damaged or is not there.
    #[error(
        "the database {} cannot be used: {why}; give another, or restore a backup with gradientd restore",
        file.display()
    )]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A program with a newer schema has written it.
    #[error(
        "the database {} has schema {found}, and this program knows those up to {known}: use the program that wrote it or a later one",
        file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// The SQLite inside is too old to be safe.
    #[error("SQLite must be at least {oldest}, got {version}")]
    OldSqlite {
        /// The version linked.
        version: String,
        /// The oldest that is safe.
        oldest: &'static str,
    },
    /// The disk or the database is full.
    #[error("the disk is full: nothing was stored")]
    Full,
    /// A write or sync failed: nobody knows what is on the disk of what was not acknowledged, and nothing more is.
    #[error("the disk failed ({cause}): nothing is stored any more, and the server ends")]
    DiskFailed {
        /// What failed.
        cause: String,
    },
    /// Others write and the writer's turn did not come in time.
    #[error("the database is busy: others write")]
    Busy,
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(sqlx::Error),
}

/// Epochs as a message lists them.
fn shown(epochs: &[u64]) -> String {
    let epochs: Vec<_> = epochs.iter().map(u64::to_string).collect();
    if epochs.is_empty() {
        "none".to_owned()
    } else {
        epochs.join(", ")
    }
}

/// SQLite's primary result code for a full disk or database.
const SQLITE_FULL: i32 = 13;
/// SQLite's primary result code for a disk that fails.
const SQLITE_IOERR: i32 = 10;
/// Its codes for reads that fail, which lose nothing: less was read than there must be, or nothing.
const SQLITE_IOERR_READS: [i32; 2] = [SQLITE_IOERR | 1 << 8, SQLITE_IOERR | 2 << 8];
/// Its code for no memory.
const SQLITE_IOERR_NOMEM: i32 = SQLITE_IOERR | 12 << 8;
/// Its code for no room for the index of the write-ahead log.
const SQLITE_IOERR_SHMSIZE: i32 = SQLITE_IOERR | 19 << 8;
/// SQLite's codes for a file that is damaged, and for one that is no database.
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_NOTADB: i32 = 26;

impl Error {
    /// Whether what failed may succeed later, as it is: the store is busy, or cannot be reached.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Busy | Self::Full => true,
            Self::Database(_) => !self.is_damage(),
            _ => false,
        }
    }

    /// Whether what was read is not what was written.
    pub fn is_damage(&self) -> bool {
        match self {
            // A value of another type, or a text that is none, too.
            Self::Damaged { .. }
            | Self::Database(sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => true,
            Self::Database(error) => tells_damage(error),
            _ => false,
        }
    }

    pub(crate) fn directory(path: &Path, source: std::io::Error) -> Self {
        Self::Directory {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn unusable(file: &Path, why: impl std::fmt::Display) -> Self {
        Self::Unusable {
            file: file.to_owned(),
            why: why.to_string(),
        }
    }

    /// What an error on a database's first statements says of its file; one of the disk or of others is told as it is.
    pub(crate) fn unreadable(file: &Path, error: sqlx::Error) -> Self {
        match Self::from(error) {
            Self::Database(error) => Self::unusable(file, error),
            other => other,
        }
    }

    pub(crate) fn unwritable(file: &Path, why: impl std::fmt::Display) -> Self {
        Self::Unwritable {
            file: file.to_owned(),
            why: why.to_string(),
        }
    }

    pub(crate) fn not_found(kind: &'static str, name: impl std::fmt::Display) -> Self {
        Self::NotFound {
            kind,
            name: name.to_string(),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Self::Busy;
        }
        match code_of(&error) {
            Some(code) if code & 0xff == SQLITE_FULL || code == SQLITE_IOERR_SHMSIZE => Self::Full,
            Some(code) if is_failure(code) => Self::DiskFailed {
                cause: error.to_string(),
            },
            _ => Self::Database(error),
        }
    }
}

/// Whether a code says that something could not be written or synced, which no later success makes good: a kernel takes pages for
/// clean that it could not write.
fn is_failure(code: i32) -> bool {
    code & 0xff == SQLITE_IOERR && code != SQLITE_IOERR_NOMEM && !SQLITE_IOERR_READS.contains(&code)
}

/// Whether SQLite found its own structures damaged.
fn tells_damage(error: &sqlx::Error) -> bool {
    code_of(error).is_some_and(|code| [SQLITE_CORRUPT, SQLITE_NOTADB].contains(&(code & 0xff)))
}

/// The code that SQLite gave an error.
fn code_of(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// Whether a statement failed because a name is taken.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged {
            what: format!("a stored structure ({error})"),
        }
    }
}

impl From<crate::model::Error> for Error {
    fn from(error: crate::model::Error) -> Self {
        Self::Damaged {
            what: format!("an artifact ({error})"),
        }
    }
}

impl From<crate::data::Error> for Error {
    fn from(error: crate::data::Error) -> Self {
        Self::Damaged {
            what: format!("a column ({error})"),
        }
    }
}
/// What to do where a result is not there.
fn awaited(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Queued | JobStatus::Running | JobStatus::Paused => {
            "ask again once it has succeeded"
        }
        JobStatus::Failed => "its error says why",
        JobStatus::Cancelled => "submit it again",
        JobStatus::Succeeded => "it was deleted meanwhile",
    }
}

/// What was asked of a job, and when it can be done.
fn asked(to: JobStatus) -> &'static str {
    match to {
        JobStatus::Queued => "resumed: only a paused one can",
        JobStatus::Paused => "paused: only a queued or running one can",
        JobStatus::Cancelled => "cancelled: it has ended",
        JobStatus::Running => "run",
        JobStatus::Succeeded | JobStatus::Failed => "ended",
    }
}
