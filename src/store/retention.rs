//! Retention: how much of what has ended is kept, and the sweeping of the rest, beside whoever writes.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::store::page::ids;
use crate::store::{Error, Inner, Store};

/// How much is kept; of what is 0, everything. Nothing goes that is the latest of its model, has an alias, or is needed by
/// something unfinished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Jobs that have ended, the newest.
    pub jobs: u64,
    /// Jobs that have ended, the newest, that keep their checkpoints.
    pub checkpoints: u64,
    /// Versions of each model, the newest, beside the first: its initial parameters.
    pub versions: u64,
    /// Batch predictions that have ended, with their results, the newest.
    pub predictions: u64,
}

/// Things that are looked up to be deleted at once.
const AT_ONCE: i64 = 1000;

/// Sweeps whenever something was left, for as long as the store is there.
pub(crate) async fn sweep(store: Weak<Inner>, left: Arc<Notify>) {
    loop {
        left.notified().await;
        let Some(inner) = store.upgrade() else {
            return;
        };
        let store = Store { inner };
        if let Err(error) = store.sweep().await {
            store.notice(&error);
            tracing::warn!(%error, "what is no longer kept could not be deleted; the next deletion tries again");
        }
        if store.inner.health.has_failed() || store.inner.writer.is_closed() {
            return;
        }
    }
}

impl Store {
    /// Keeps so much from now on.
    pub fn keep(&self, retention: Retention) {
        self.inner.retention.send_replace(retention);
        self.inner.sweep.notify_one();
    }

    async fn sweep(&self) -> Result<(), Error> {
        let keep = *self.inner.retention.borrow();
        self.sweep_contents().await?;
        self.sweep_versions(keep.versions).await?;
        self.sweep_checkpoints(keep.checkpoints).await?;
        self.sweep_jobs(keep.jobs).await?;
        self.sweep_predictions(keep.predictions).await?;
        self.sweep_contents().await
    }

    async fn sweep_versions(&self, most: u64) -> Result<(), Error> {
        if most == 0 {
            return Ok(());
        }
        let old: Vec<(String, i64)> = sqlx::query_as(
            "SELECT v.model, v.version FROM versions v JOIN models m ON m.name = v.model
             WHERE v.version > 1 AND v.version <= m.latest_version - $1
               AND (SELECT COUNT(*) FROM versions n WHERE n.model = v.model AND n.version > v.version) >= $1
               AND NOT EXISTS (SELECT 1 FROM aliases a WHERE a.model = v.model AND a.version = v.version)
               AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.model = v.model AND j.base_version = v.version
                 AND j.status IN ('queued', 'running', 'paused'))
               AND NOT EXISTS (SELECT 1 FROM batch_predictions p WHERE p.model = v.model AND p.version = v.version
                 AND p.status IN ('queued', 'running'))
             LIMIT $2",
        )
        .bind(most as i64)
        .bind(AT_ONCE)
        .fetch_all(self.reader())
        .await?;
        for (model, version) in old {
            unless_needed(self.delete_version(&model, version as u64).await)?;
        }
        Ok(())
    }

    async fn sweep_checkpoints(&self, most: u64) -> Result<(), Error> {
        if most == 0 {
            return Ok(());
        }
        let ended = sqlx::query_scalar(
            "SELECT id FROM
               (SELECT id FROM jobs WHERE status IN ('succeeded', 'failed', 'cancelled')
                ORDER BY sequence DESC LIMIT 9223372036854775807 OFFSET $1) AS old
             WHERE EXISTS (SELECT 1 FROM checkpoints c WHERE c.job_id = old.id)",
        )
        .bind(most as i64)
        .fetch_all(self.reader())
        .await?;
        for id in ids("job", &ended) {
            let mut tx = self.begin().await?;
            sqlx::query("DELETE FROM checkpoints WHERE job_id = $1")
                .bind(id.to_string())
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn sweep_jobs(&self, most: u64) -> Result<(), Error> {
        for id in self.ended("jobs", most).await? {
            unless_needed(self.delete_job(id).await)?;
        }
        Ok(())
    }

    async fn sweep_predictions(&self, most: u64) -> Result<(), Error> {
        for id in self.ended("batch_predictions", most).await? {
            let model: Option<String> =
                sqlx::query_scalar("SELECT model FROM batch_predictions WHERE id = $1")
                    .bind(id.to_string())
                    .fetch_optional(self.reader())
                    .await?;
            if let Some(model) = model {
                unless_needed(self.delete_prediction(&model, id).await)?;
            }
        }
        Ok(())
    }

    /// Those of a table that have ended, but for the newest.
    async fn ended(&self, table: &'static str, newest: u64) -> Result<Vec<Uuid>, Error> {
        if newest == 0 {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT id FROM {table} WHERE status IN ('succeeded', 'failed', 'cancelled')
             ORDER BY sequence DESC LIMIT $1 OFFSET $2"
        );
        let ended = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(AT_ONCE)
            .bind(newest as i64)
            .fetch_all(self.reader())
            .await?;
        Ok(ids(table, &ended))
    }
}

/// What has come to be needed, or has gone meanwhile, is left.
fn unless_needed(deleted: Result<(), Error>) -> Result<(), Error> {
    match deleted {
        Err(Error::InUse { .. } | Error::NotFound { .. }) => Ok(()),
        other => other,
    }
}
