//! Opening: the database of a data directory is looked at before anything is written to it, and made whole where there is none.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};

use crate::store::Error;
use crate::store::seal::{Seals, Touched};

/// The database of a data directory.
const DATABASE: &str = "gradientd.db";
/// What SQLite adds to its name for the write-ahead log, and for the index of that, which is there whenever the log is.
const LOG: &str = "-wal";
const INDEX: &str = "-shm";
/// What the names of scratch files begin with.
const SCRATCH: &str = "scratch-";
/// The oldest SQLite that is safe to write with from several connections: earlier ones can corrupt a WAL on reset.
const OLDEST_SQLITE: &str = "3.51.3";
/// Connections that read at the same time.
const READERS: u32 = 6;
/// How long a statement waits for the writer of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The schema, step by step.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// A database that is read and not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// That of a data directory, whether a server runs on it or not.
    Directory(PathBuf),
    /// A file that was backed up to, and that nobody changes.
    Backup(PathBuf),
}

impl Source {
    /// The file.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Directory(directory) => database(directory),
            Self::Backup(file) => file.clone(),
        }
    }

    /// A connection that can read it alone, once it is found to be a database of ours that this program knows.
    ///
    /// Errors: it is none, its schema is newer than this program, or it is not there.
    pub(crate) async fn connect(&self) -> Result<SqliteConnection, Error> {
        let path = self.path();
        if let Self::Directory(directory) = self {
            check_finished(directory)?;
        }
        if !is_there(&path)? {
            return Err(Error::unusable(&path, "there is no such file"));
        }
        let log = std::fs::metadata(beside(&path, LOG)).map_or(0, |log| log.len());
        if matches!(self, Self::Backup(_)) && log > 0 {
            let why = "it has a write-ahead log beside it, so it is no backup but the database of a data directory";
            return Err(Error::unusable(&path, why));
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .read_only(true)
            .immutable(matches!(self, Self::Backup(_)))
            .busy_timeout(BUSY_TIMEOUT)
            // Rows that wait to be looked at may be large.
            .row_buffer_size(2)
            .pragma("trusted_schema", "OFF")
            .pragma("temp_store", "MEMORY");
        let unusable = |error| Error::unreadable(&path, error);
        let mut connection = options.connect().await.map_err(unusable)?;
        check_whole(&mut connection, &path).await?;
        check_known(&mut connection, &path).await?;
        Ok(connection)
    }
}

pub(crate) fn database(directory: &Path) -> PathBuf {
    directory.join(DATABASE)
}

/// The write-ahead log of a database, and its index.
pub(crate) fn log_of(database: &Path) -> (PathBuf, PathBuf) {
    (beside(database, LOG), beside(database, INDEX))
}

/// The mark of a restore that has not come to its end: the name under which the database that was there is kept.
pub(crate) fn interrupted(directory: &Path) -> PathBuf {
    directory.join("restoring")
}

/// The path with something added to its name.
pub(crate) fn beside(path: &Path, added: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(added);
    name.into()
}

/// A new name for a file of the data directory that is gone with the next start.
pub(crate) fn scratch(directory: &Path) -> PathBuf {
    directory.join(format!("{SCRATCH}{}", uuid::Uuid::now_v7()))
}

/// Removes the scratch files of a process that was killed between two steps.
pub(crate) fn remove_scratch(directory: &Path) {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().starts_with(SCRATCH)) {
        if let Err(error) = std::fs::remove_file(file.path()) {
            tracing::warn!(%error, file = ?file.file_name(), "a scratch file could not be removed");
        }
    }
}

/// Makes the directory where it is missing, and locks it for this process.
pub(crate) fn lock(directory: &Path) -> Result<File, Error> {
    let unusable = |source| Error::directory(directory, source);
    std::fs::create_dir_all(directory).map_err(unusable)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::DirectoryInUse {
            directory: directory.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Has the names of a directory's files on the disk.
pub(crate) fn sync(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

pub(crate) fn options(directory: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database(directory))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("trusted_schema", "OFF")
        .pragma("journal_size_limit", "67108864")
        // The log is copied by a connection of its own, which hears of errors.
        .pragma("wal_autocheckpoint", "0")
        // Nothing is written outside of the directory: a container's root may be read-only, /tmp and all.
        .pragma("temp_store", "MEMORY")
}

/// The connections to a directory's database.
pub(crate) struct Connections {
    pub(crate) writer: SqlitePool,
    pub(crate) reader: SqlitePool,
    /// Copies the write-ahead log into the database file, beside the writer.
    pub(crate) copier: SqlitePool,
    /// Seals what the writer touches.
    pub(crate) seals: Seals,
}

/// Connects to a directory's database, and brings its schema up to date.
pub(crate) async fn connect(directory: &Path) -> Result<Connections, Error> {
    let path = database(directory);
    check_finished(directory)?;
    if is_there(&path)? {
        let source = Source::Directory(directory.to_owned());
        source.connect().await?.close().await?;
    } else {
        create(directory).await?;
    }
    let options = options(directory);
    let unusable = |error| Error::unreadable(&path, error);
    let touched = Touched::default();
    let noting = touched.clone();
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .after_connect(move |connection, _| {
            let touched = noting.clone();
            Box::pin(async move {
                let mut handle = connection.lock_handle().await?;
                handle.set_update_hook(move |change| touched.note(&change));
                Ok(())
            })
        })
        .before_acquire(|connection, _| {
            // SQLite ends a transaction by itself when the disk is full; the driver then still believes in it.
            let clean = !connection.is_in_transaction();
            Box::pin(async move { Ok(clean) })
        })
        .connect_with(options.clone())
        .await
        .map_err(unusable)?;
    migrate(directory, &writer).await?;
    let committed = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options.clone().read_only(true))
        .await
        .map_err(unusable)?;
    let seals = Seals::of(touched, &writer, committed).await?;
    let reader = SqlitePoolOptions::new()
        .max_connections(READERS)
        .connect_with(options.clone().read_only(true))
        .await
        .map_err(unusable)?;
    let copier = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .map_err(unusable)?;
    // SQLite takes no notice of how the sync of a directory ends, and without its entry there a file is lost.
    sync(directory).map_err(|source| Error::directory(directory, source))?;
    Ok(Connections {
        writer,
        reader,
        copier,
        seals,
    })
}

/// Makes an empty database under another name first: one that has its own name has all its tables, and what is less is damage.
async fn create(directory: &Path) -> Result<(), Error> {
    let (path, scratch) = (database(directory), scratch(directory));
    let made = SqlitePool::connect_with(options(directory).filename(&scratch)).await;
    let made = made.map_err(|error| Error::unreadable(&path, error))?;
    migrate(directory, &made).await?;
    // The last connection leaves no log behind.
    made.close().await;
    let named = std::fs::rename(&scratch, &path).and_then(|()| sync(directory));
    named.map_err(|source| Error::directory(directory, source))
}

async fn migrate(directory: &Path, pool: &SqlitePool) -> Result<(), Error> {
    check_sqlite(pool).await?;
    MIGRATIONS.run(pool).await.map_err(|error| match error {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => source.into(),
        source => Error::Migration {
            directory: directory.to_owned(),
            source,
        },
    })
}

async fn check_sqlite(pool: &SqlitePool) -> Result<(), Error> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(pool)
        .await?;
    let number = |version: &str| {
        version
            .split('.')
            .filter_map(|part| part.parse::<u32>().ok())
            .collect::<Vec<_>>()
    };
    if number(&version) < number(OLDEST_SQLITE) {
        return Err(Error::OldSqlite {
            version,
            oldest: OLDEST_SQLITE,
        });
    }
    Ok(())
}

/// Errors: a restore was killed before its end.
fn check_finished(directory: &Path) -> Result<(), Error> {
    match std::fs::read_to_string(interrupted(directory)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        kept => Err(Error::Interrupted {
            directory: directory.to_owned(),
            kept: kept.unwrap_or_default().into(),
        }),
    }
}

/// Whether a database is there.
///
/// Errors: a part of one is.
fn is_there(path: &Path) -> Result<bool, Error> {
    let (log, index) = log_of(path);
    match std::fs::metadata(path) {
        Ok(file) if file.len() == 0 => Err(Error::unusable(path, "it is empty")),
        // SQLite makes the log before its index, and deletes it after.
        Ok(_) if index.exists() && !log.exists() => {
            let why = "its write-ahead log is missing, and what was stored last with it";
            Err(Error::unusable(path, why))
        }
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if log.exists() || index.exists() {
                let why = "it is missing, though its write-ahead log is there";
                return Err(Error::unusable(path, why));
            }
            Ok(false)
        }
        Err(error) => Err(Error::unusable(path, error)),
    }
}

/// Errors: pages of the database are neither in its file nor in the log.
async fn check_whole(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let unusable = |error| Error::unreadable(path, error);
    let read = sqlx::query_as("SELECT page_count * page_size, (SELECT COUNT(*) FROM sqlite_schema WHERE name = '_sqlx_migrations')
        FROM pragma_page_count, pragma_page_size");
    let (bytes, ours): (i64, i64) = read.fetch_one(connection).await.map_err(unusable)?;
    if ours == 0 {
        return Err(Error::unusable(path, "it is no database of gradientd"));
    }
    // In this order: what leaves the log is in the file by then.
    let log = std::fs::metadata(log_of(path).0).map_or(0, |log| log.len());
    let file = std::fs::metadata(path).map_err(|error| Error::unusable(path, error))?;
    let missing = (bytes as u64).saturating_sub(log + file.len());
    if missing > 0 {
        let why = format!("{missing} of its {bytes} bytes are missing");
        return Err(Error::unusable(path, why));
    }
    Ok(())
}

/// Errors: a program that knows more has written it.
async fn check_known(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await
        .map_err(|error| Error::unreadable(path, error))?;
    let known = MIGRATIONS.iter().map(|step| step.version).max();
    if found > known {
        return Err(Error::Newer {
            file: path.to_owned(),
            found: found.unwrap_or_default(),
            known: known.unwrap_or_default(),
        });
    }
    Ok(())
}
