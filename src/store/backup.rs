//! Backups: a consistent copy of a database in one file, made while others write, and put back in the place of one.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::Connection;

use crate::store::opening::{beside, database, interrupted, lock, log_of, scratch, sync};
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
    let unwritable = |why: std::io::Error| Error::unwritable(file, why);
    let part = Part::new(beside(file, &format!(".part-{}", uuid::Uuid::now_v7())));
    let name = part.path.to_str();
    let name = name.ok_or_else(|| Error::unwritable(file, "its name is no UTF-8"))?;
    let source = Source::Directory(directory.to_owned());
    let mut connection = source.connect().await?;
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(OWNERS)
        .open(&part.path)
        .map_err(unwritable)?;
    let copied = sqlx::query("VACUUM INTO $1")
        .bind(name)
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
    let source = Source::Backup(file.to_owned());
    source.connect().await?.close().await?;
    let _lock = lock(directory)?;
    let there = database(directory);
    let (log, index) = log_of(&there);
    let mark = interrupted(directory);
    let any = [&there, &log, &index, &mark]
        .into_iter()
        .any(|file| file.exists());
    if any && !replaces {
        let directory = directory.to_owned();
        return Err(Error::DatabaseExists { directory });
    }
    let part = Part::new(scratch(directory));
    let (from, to) = (file.to_owned(), part.path.clone());
    off_thread(move || copy(&from, &to))
        .await
        .map_err(|why| Error::unwritable(&there, why))?;
    let verified = verify(&Source::Backup(part.path.clone()), tell).await?;
    if verified.damaged > 0 {
        let replaced = None;
        return Ok(Restored { verified, replaced });
    }
    let unusable = |source| Error::directory(directory, source);
    let replaced = any
        .then(|| set_aside(directory))
        .transpose()
        .map_err(unusable)?;
    part.replace(&there)?;
    if any {
        std::fs::remove_file(mark)
            .and_then(|()| sync(directory))
            .map_err(unusable)?;
    }
    Ok(Restored { verified, replaced })
}

/// Gives the database of a directory another name, under which its log is found, too. Until another has its place, a start finds that
/// this was interrupted.
fn set_aside(directory: &Path) -> std::io::Result<PathBuf> {
    let there = database(directory);
    let mark = interrupted(directory);
    let named = beside(&there, ".replaced-");
    // One that was interrupted may have moved the log alone, or both, and is gone on with.
    let begun = std::fs::read_to_string(&mark).ok().filter(|aside| {
        let is_name = aside.starts_with(&*named.to_string_lossy());
        is_name && !(there.exists() && Path::new(aside).exists())
    });
    let aside = begun.map_or_else(
        || beside(&named, &Timestamp::now().as_str().replace(':', "-")),
        PathBuf::from,
    );
    std::fs::write(&mark, aside.as_os_str().as_encoded_bytes())?;
    File::open(&mark)?.sync_all()?;
    sync(directory)?;
    let (log, index) = log_of(&there);
    for (from, to) in [(&log, log_of(&aside).0), (&there, aside.clone())] {
        if from.exists() {
            std::fs::rename(from, to)?;
        }
    }
    // SQLite makes it anew from the log.
    if index.exists() {
        std::fs::remove_file(index)?;
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

    /// Gives it a name that no file has, for good.
    fn keep(self, file: &Path) -> Result<(), Error> {
        match std::fs::hard_link(&self.path, file) {
            Ok(()) => sync(parent(file)).map_err(|why| Error::unwritable(file, why)),
            // There are file systems without links.
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                check_absent(file)?;
                self.replace(file)
            }
            Err(_) => check_absent(file),
        }
    }

    /// Gives it its name, for good, whatever had it.
    fn replace(self, file: &Path) -> Result<(), Error> {
        std::fs::rename(&self.path, file)
            .and_then(|()| sync(parent(file)))
            .map_err(|why| Error::unwritable(file, why))
    }
}

fn parent(file: &Path) -> &Path {
    let parent = file.parent().filter(|parent| parent != &Path::new(""));
    parent.unwrap_or(Path::new("."))
}

impl Drop for Part {
    fn drop(&mut self) {
        // SQLite's own, of a copy that it did not finish, is beside it.
        for path in [&self.path, &beside(&self.path, "-journal")] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, file = ?path, "an unfinished copy could not be removed");
                }
                _ => {}
            }
        }
    }
}
