//! Writing: the one kind of transaction that writes, and the end of all writing once the disk has failed.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::{Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Notify, watch};

use crate::store::seal::Seals;
use crate::store::{Error, Store};

/// A writing transaction. Dropped before it is committed, it is rolled back.
pub(crate) struct Tx {
    within: Transaction<'static, Sqlite>,
    health: Health,
    seals: Seals,
    /// Whether it leaves something to be swept, and who does.
    leaves_something: bool,
    sweep: Arc<Notify>,
}

/// What all who write share: whether the disk has failed, and whom commits wake.
#[derive(Clone, Default)]
pub(crate) struct Health {
    failed: Arc<watch::Sender<bool>>,
    committed: Arc<Notify>,
}

impl Store {
    /// Begins the only kind of writing transaction there is. It waits its turn at the one writer.
    ///
    /// Errors: the disk has failed.
    pub(crate) async fn begin(&self) -> Result<Tx, Error> {
        let health = self.inner.health.clone();
        health.check()?;
        let within = self.inner.writer.begin_with("BEGIN IMMEDIATE").await;
        let within = health.noticed(within)?;
        health.check()?;
        let seals = self.inner.seals.clone();
        seals.forget();
        Ok(Tx {
            within,
            health,
            seals,
            leaves_something: false,
            sweep: Arc::clone(&self.inner.sweep),
        })
    }

    /// Begins a transaction that stores more than it removes.
    ///
    /// Errors: as [`Store::begin`]; so little of the disk is free that it is kept for deletions and for the ends of jobs.
    pub(crate) async fn begin_growing(&self) -> Result<Tx, Error> {
        self.inner.room.check(&self.inner.directory)?;
        self.begin().await
    }

    /// Done once the disk has failed: what was acknowledged is safe, and nothing more can be. The process is to end.
    pub async fn failed(&self) {
        let mut failed = self.inner.health.failed.subscribe();
        if failed.wait_for(|failed| *failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends all writing where an error of this store says that its disk has failed. Commits hear of it by themselves; this is for
    /// whoever ends up with the error of a statement.
    pub fn notice(&self, error: &Error) {
        self.inner.health.notice(error);
    }

    /// Ends all writing: an error of this store said that its disk has failed.
    pub fn fail(&self) {
        self.inner.health.fail();
    }
}

impl Tx {
    /// Commits. What it returns is on the disk.
    ///
    /// Errors: nothing was stored; where the disk has failed, nobody knows, and nothing is stored from then on.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.health.check()?;
        self.seal().await?;
        let committed = self.within.commit().await;
        self.health.noticed(committed)?;
        // Another's sync may have failed meanwhile: after that no page of this file is known to be on the disk.
        self.health.check()?;
        self.health.committed.notify_one();
        if self.leaves_something {
            self.sweep.notify_one();
        }
        Ok(())
    }

    /// Seals the rows that were written so far, so that they can be read back.
    pub(crate) async fn seal(&mut self) -> Result<(), Error> {
        let sealed = self.seals.seal(&mut self.within).await;
        sealed.inspect_err(|error| self.health.notice(error))
    }

    /// What it has inserted into a table so far was inserted with its seals.
    pub(crate) fn sealed(&mut self, table: &str) {
        self.seals.sealed(table);
    }

    /// Has it swept once it is committed: what it deletes may leave contents behind, and what it adds may be too much to keep.
    pub(crate) fn leaves_something(&mut self) {
        self.leaves_something = true;
    }
}

impl Deref for Tx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.within
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.within
    }
}

impl Health {
    /// The result, once it is known whether it says that the disk has failed.
    pub(crate) fn noticed<T>(&self, result: Result<T, sqlx::Error>) -> Result<T, Error> {
        result.map_err(|error| {
            let error = Error::from(error);
            self.notice(&error);
            error
        })
    }

    /// Whoever waits for a commit.
    pub(crate) fn committed(&self) -> Arc<Notify> {
        Arc::clone(&self.committed)
    }

    pub(crate) fn has_failed(&self) -> bool {
        *self.failed.borrow()
    }

    fn check(&self) -> Result<(), Error> {
        if self.has_failed() {
            return Err(Error::DiskFailed {
                cause: "a write or sync before this one".to_owned(),
            });
        }
        Ok(())
    }

    /// Ends all writing where an error says that the disk has failed.
    pub(crate) fn notice(&self, error: &Error) {
        if matches!(error, Error::DiskFailed { .. }) {
            tracing::error!(%error, "a write failed");
            self.fail();
        }
    }

    fn fail(&self) {
        if !self.failed.send_replace(true) {
            tracing::error!(
                "the disk has failed: nothing is stored from now on, and the server ends"
            );
        }
    }
}
