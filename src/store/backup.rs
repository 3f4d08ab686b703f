//! Backups: a consistent copy of a database in one file, made while others write, and put back in the place of one.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::Connection;

use crate::store::opening::{beside, database, lock, log_of, scratch, sync};
use crate::store::{Error, Source, Tell, Timestamp, Verified, off_thread, verify};

/// What is made for its owner alone.
const OWNERS: u32 = 0o600;

/// What came of backing up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// What the copy has; where that is damaged, it was not kept.
    pub verified: Verified,
    /// Its bytes.
    pub bytes: u64,
}

/// What came of restoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup has; where that is damaged, nothing was restored.
    pub verified: Verified,
    /// Where the database that was there is kept.
    pub replaced: Option<PathBuf>,
}

/// A file that is gone unless it is kept.
struct Part {
    path: PathBuf,
}

/// Copies the database of a data directory into a new file, and verifies the copy. A server may run on it meanwhile.
///
/// Errors: there is no database, or it cannot be read; there is such a file, or it cannot be written. Nothing is left of it then,
/// nor where something is damaged.
pub async fn back_up(directory: &Path, file: &Path, tell: Tell<'_>) -> Result<BackedUp, Error> {
    check_absent(file)?;
    let source = Source::Directory(directory.to_owned());
    let mut connection = source.connect().await?;
    let part = Part::new(beside(file, &format!(".part-{}", uuid::Uuid::now_v7())));
    let unwritable = |why: std::io::Error| Error::unwritable(file, why);
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(OWNERS)
        .open(&part.path)
        .map_err(unwritable)?;
    let name = part.path.to_string_lossy();
    let copied = sqlx::query("VACUUM INTO $1")
        .bind(&*name)
        .execute(&mut connection)
        .await;
    copied.map_err(|error| match Error::from(error) {
        error if error.is_damage() => Error::unusable(&source.path(), error),
        Error::Full => Error::unwritable(file, "the disk is full"),
        error => Error::unwritable(file, error),
    })?;
    connection.close().await?;
    let bytes = off_thread(move || {
        made.sync_all()?;
        Ok(made.metadata()?.len())
    });
    let bytes = bytes.await.map_err(unwritable)?;
    let verified = verify(&Source::Backup(part.path.clone()), tell).await?;
    if verified.damaged == 0 {
        check_absent(file)?;
        part.keep(file)?;
    }
    Ok(BackedUp { verified, bytes })
}

/// Verifies a backup and makes a copy of it the database of a data directory. One that is there is kept under another name, or
/// else nothing is restored.
///
/// Errors: the backup cannot be read, or is newer than this program; another process uses the directory; a database is there and
/// not to be replaced; the disk.
pub async fn restore(
    file: &Path,
    directory: &Path,
    replaces: bool,
    tell: Tell<'_>,
) -> Result<Restored, Error> {
    let verified = verify(&Source::Backup(file.to_owned()), tell).await?;
    if verified.damaged > 0 {
        let replaced = None;
        return Ok(Restored { verified, replaced });
    }
    let _lock = lock(directory)?;
    let there = database(directory);
    let (log, index) = log_of(&there);
    let any = [&there, &log, &index].into_iter().any(|file| file.exists());
    if any && !replaces {
        let directory = directory.to_owned();
        return Err(Error::DatabaseExists { directory });
    }
    let part = Part::new(scratch(directory));
    let (from, to) = (file.to_owned(), part.path.clone());
    off_thread(move || copy(&from, &to))
        .await
        .map_err(|why| Error::unwritable(&there, why))?;
    let replaced = any
        .then(|| set_aside(directory))
        .transpose()
        .map_err(|source| Error::directory(directory, source))?;
    part.keep(&there)?;
    // Last: until then it tells a start that its log is missing.
    let gone = if index.exists() {
        std::fs::remove_file(index).and_then(|()| sync(directory))
    } else {
        Ok(())
    };
    gone.map_err(|source| Error::directory(directory, source))?;
    Ok(Restored { verified, replaced })
}

/// Gives the database of a directory a second name, under which its log is found, too, and takes the log from the first. Whoever
/// starts a server before another database has the first name finds that the log is missing.
fn set_aside(directory: &Path) -> std::io::Result<PathBuf> {
    let there = database(directory);
    let now = Timestamp::now().as_str().replace(':', "-");
    let aside = beside(&there, &format!(".replaced-{now}"));
    let (log, index) = log_of(&there);
    if there.exists() {
        std::fs::hard_link(&there, &aside)?;
    }
    if log.exists() {
        std::fs::hard_link(&log, log_of(&aside).0)?;
        if !index.exists() {
            File::create_new(&index)?;
        }
        sync(directory)?;
        std::fs::remove_file(&log)?;
    }
    sync(directory)?;
    Ok(aside)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut made = File::options()
        .write(true)
        .create_new(true)
        .mode(OWNERS)
        .open(to)?;
    std::io::copy(&mut File::open(from)?, &mut made)?;
    made.sync_all()
}

fn check_absent(file: &Path) -> Result<(), Error> {
    // A link that leads nowhere is something, too.
    if std::fs::symlink_metadata(file).is_ok() {
        let file = file.to_owned();
        return Err(Error::FileExists { file });
    }
    Ok(())
}

impl Part {
    fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Gives it its name, for good.
    fn keep(self, file: &Path) -> Result<(), Error> {
        let directory = file.parent().filter(|parent| parent != &Path::new(""));
        std::fs::rename(&self.path, file)
            .and_then(|()| sync(directory.unwrap_or(Path::new("."))))
            .map_err(|why| Error::unwritable(file, why))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, file = ?self.path, "an unfinished copy could not be removed");
            }
            _ => {}
        }
    }
}
