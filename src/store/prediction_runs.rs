//! Batch predictions in the store, as the one who runs them claims, writes and ends them. Every write of it asks whether the
//! batch prediction is still running: one that was cancelled is not, and never again.

use sqlx::Row;
use uuid::Uuid;

use crate::store::leases::repeatedly;
use crate::store::page::ids;
use crate::store::predictions::{drop_chunks, prediction_row};
use crate::store::{BatchPrediction, Error, JobError, JobStatus, Store, Timestamp, Tx};

/// A chunk of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictionChunk {
    /// Its number, from 0.
    pub number: u64,
    /// SHA-256 of the bytes.
    pub digest: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// How far a batch prediction is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PredictionProgress {
    /// Rows whose answers are written, or wait to be.
    pub rows_done: u64,
    /// How fast it is.
    pub rows_per_second: Option<f64>,
}

impl Store {
    /// Puts batch predictions that a process left running back into the queue: they start anew from their first row, to the same
    /// bytes. One whose process has ended `most` times in a row while it ran fails. To be called once, before any is claimed.
    /// Returns how many.
    pub async fn take_up_predictions(&self, most: u64, now: &Timestamp) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        let left = sqlx::query_scalar("SELECT id FROM batch_predictions WHERE status = 'running'")
            .fetch_all(&mut *tx)
            .await?;
        let left = ids("batch prediction", &left);
        for uuid in &left {
            let (id, uuid) = (&uuid.to_string(), *uuid);
            let crashes: i64 = sqlx::query_scalar(
                "UPDATE batch_predictions SET crashes = crashes + 1 WHERE id = $1 RETURNING crashes",
            )
            .bind(id)
            .fetch_one(&mut *tx)
            .await?;
            if crashes as u64 >= most {
                let (error, to) = (repeatedly(crashes), JobStatus::Failed);
                end(&mut tx, id, to, Some(&error), now).await?;
                drop_chunks(&mut tx, uuid).await?;
            } else {
                requeue(&mut tx, uuid).await?;
            }
        }
        tx.commit().await?;
        Ok(left.len() as u64)
    }

    /// Takes the batch prediction that has waited longest. One that cannot be read fails and gives way to the next.
    pub async fn claim_prediction(
        &self,
        now: &Timestamp,
    ) -> Result<Option<BatchPrediction>, Error> {
        loop {
            let mut tx = self.begin().await?;
            let claimed: Option<i64> = sqlx::query_scalar(
                "UPDATE batch_predictions SET status = 'running', started_at = COALESCE(started_at, $1)
                 WHERE sequence = (SELECT sequence FROM batch_predictions WHERE status = 'queued' ORDER BY sequence LIMIT 1)
                 RETURNING sequence",
            )
            .bind(now.as_str())
            .fetch_optional(&mut *tx)
            .await?;
            let Some(claimed) = claimed else {
                return Ok(None);
            };
            tx.seal().await?;
            let row = sqlx::query("SELECT * FROM batch_predictions WHERE sequence = $1")
                .bind(claimed)
                .fetch_one(&mut *tx)
                .await?;
            let read = prediction_row(&row);
            if let Err(error) = &read {
                let id: &str = row.try_get("id")?;
                tracing::error!(id, %error, "a batch prediction cannot be read and fails");
                let error = JobError {
                    code: "unreadable_job".to_owned(),
                    detail: "what is stored of it cannot be read by this program".to_owned(),
                    epoch: None,
                    step: None,
                };
                end(&mut tx, id, JobStatus::Failed, Some(&error), now).await?;
            }
            tx.commit().await?;
            if let Ok(prediction) = read {
                return Ok(Some(prediction));
            }
        }
    }

    /// Writes the next chunks, where there are any and they are not there already, and how far it is.
    ///
    /// Errors: it is no longer running.
    pub async fn append_prediction(
        &self,
        id: Uuid,
        chunks: &[PredictionChunk],
        progress: PredictionProgress,
    ) -> Result<(), Error> {
        let mut tx = self.begin_growing().await?;
        append(&mut tx, id, chunks, progress).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends it with its result, of which all chunks are written.
    ///
    /// Errors: it is no longer running.
    pub async fn finish_prediction(
        &self,
        id: Uuid,
        progress: PredictionProgress,
        now: &Timestamp,
    ) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        append(&mut tx, id, &[], progress).await?;
        end(&mut tx, &id.to_string(), JobStatus::Succeeded, None, now).await?;
        tx.leaves_something();
        tx.commit().await?;
        Ok(())
    }

    /// Ends it without a result.
    ///
    /// Errors: it is no longer running.
    pub async fn fail_prediction(
        &self,
        id: Uuid,
        error: &JobError,
        now: &Timestamp,
    ) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let (label, to) = (id.to_string(), JobStatus::Failed);
        end(&mut tx, &label, to, Some(error), now).await?;
        drop_chunks(&mut tx, id).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lets it wait again, from its first row.
    ///
    /// Errors: it is no longer running.
    pub async fn requeue_prediction(&self, id: Uuid) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        requeue(&mut tx, id).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn append(
    tx: &mut Tx,
    id: Uuid,
    chunks: &[PredictionChunk],
    progress: PredictionProgress,
) -> Result<(), Error> {
    let updated = sqlx::query(
        "UPDATE batch_predictions SET rows_done = $2, rows_per_second = $3 WHERE id = $1 AND status = 'running'",
    )
    .bind(id.to_string())
    .bind(progress.rows_done as i64)
    .bind(progress.rows_per_second)
    .execute(&mut **tx)
    .await?;
    fenced(updated.rows_affected())?;
    for chunk in chunks {
        // A commit that was told as failed may have come through.
        let stored = sqlx::query(
            "INSERT INTO prediction_chunks (prediction, chunk, digest, bytes) VALUES ($1, $2, $3, $4)
             ON CONFLICT (prediction, chunk) DO NOTHING",
        )
        .bind(id.to_string())
        .bind(chunk.number as i64)
        .bind(&chunk.digest)
        .bind(chunk.bytes.as_slice())
        .execute(&mut **tx)
        .await?;
        let bytes = stored.rows_affected() * chunk.bytes.len() as u64;
        sqlx::query("UPDATE batch_predictions SET bytes = bytes + $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(bytes as i64)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

async fn end(
    tx: &mut Tx,
    id: &str,
    to: JobStatus,
    error: Option<&JobError>,
    now: &Timestamp,
) -> Result<(), Error> {
    let error = error.map(serde_json::to_string).transpose()?;
    let ended = sqlx::query(
        "UPDATE batch_predictions SET status = $2, error = $3, finished_at = $4,
         bytes = CASE $2 WHEN 'succeeded' THEN bytes ELSE 0 END WHERE id = $1 AND status = 'running'",
    )
    .bind(id)
    .bind(to.name())
    .bind(error)
    .bind(now.as_str())
    .execute(&mut **tx)
    .await?;
    fenced(ended.rows_affected())
}

async fn requeue(tx: &mut Tx, id: Uuid) -> Result<(), Error> {
    let moved = sqlx::query(
        "UPDATE batch_predictions SET status = 'queued', rows_done = 0, rows_per_second = NULL, bytes = 0
         WHERE id = $1 AND status = 'running'",
    )
    .bind(id.to_string())
    .execute(&mut **tx)
    .await?;
    fenced(moved.rows_affected())?;
    drop_chunks(tx, id).await
}

fn fenced(rows: u64) -> Result<(), Error> {
    if rows == 1 {
        return Ok(());
    }
    Err(Error::Fenced)
}
