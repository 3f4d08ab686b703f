//! Running time: for how long servers have run on a database. It only grows, whatever the clock says, so that a clock that is set
//! makes nothing older.

use std::time::{Duration, Instant};

use sqlx::{Row, SqlitePool};

use crate::store::{Error, Store, Tx, seal};

/// A moment of it, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct RunningTime(f64);

/// What this process adds to that of those before it.
pub(crate) struct Running {
    before: f64,
    began: Instant,
}

impl Running {
    pub(crate) async fn read(pool: &SqlitePool) -> Result<Self, Error> {
        let row = sqlx::query("SELECT * FROM running_time").fetch_one(pool);
        let row = row.await?;
        let before = match seal::check(&row, "running_time", || "the running time".to_owned()) {
            Ok(()) => row.try_get("seconds")?,
            Err(error) => {
                tracing::error!(%error, "it is taken up from the last Idempotency-Key");
                let last = "SELECT COALESCE(MAX(kept_at), 0.0) FROM idempotency_keys";
                sqlx::query_scalar(last).fetch_one(pool).await?
            }
        };
        let began = Instant::now();
        Ok(Self { before, began })
    }

    fn now(&self) -> RunningTime {
        RunningTime(self.before + self.began.elapsed().as_secs_f64())
    }
}

impl RunningTime {
    /// The moment so long before.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Self {
        Self(self.0 - by.as_secs_f64())
    }

    pub(crate) fn seconds(self) -> f64 {
        self.0
    }

    /// Stores it, for the processes to come.
    pub(crate) async fn keep(self, tx: &mut Tx) -> Result<(), Error> {
        sqlx::query("UPDATE running_time SET seconds = $1 WHERE seconds < $1")
            .bind(self.0)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}

impl Store {
    /// Now.
    pub fn running_time(&self) -> RunningTime {
        self.inner.running.now()
    }

    pub(crate) async fn keep_running_time(&self) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        self.running_time().keep(&mut tx).await?;
        tx.commit().await
    }
}
