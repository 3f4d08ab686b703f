//! Batch predictions in the store, as their users see and move them.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use crate::model::digest;
use crate::store::jobs::{parse_id, parse_status};
use crate::store::{
    Answer, Error, JobError, JobStatus, Once, Page, PageQuery, Store, Timestamp, Tx, off_thread,
    seal,
};
use crate::train::CheckedPrediction;

/// What messages call one.
const KIND: &str = "batch prediction";

/// A job that predicts every row of a dataset, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchPrediction {
    /// Its id, ordered by time.
    pub id: Uuid,
    /// The model.
    pub model: String,
    /// The version that predicts.
    pub version: u64,
    /// The dataset.
    pub dataset: String,
    /// SHA-256 of the revision that is predicted.
    pub digest: String,
    /// What is read and written.
    pub spec: CheckedPrediction,
    /// Where it stands; never paused.
    pub status: JobStatus,
    /// Rows of the dataset.
    pub rows: u64,
    /// Rows that are predicted.
    pub rows_done: u64,
    /// How fast it is.
    pub rows_per_second: Option<f64>,
    /// Bytes of the result so far.
    pub bytes: u64,
    /// Why it failed.
    pub error: Option<JobError>,
    /// The user's own labels.
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was first started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A batch prediction to be stored.
#[derive(Clone, Debug)]
pub struct NewBatchPrediction {
    /// The model.
    pub model: String,
    /// The version that is to predict.
    pub version: u64,
    /// The dataset.
    pub dataset: String,
    /// SHA-256 of its revision.
    pub digest: String,
    /// Rows of that.
    pub rows: u64,
    /// What is to be read and written.
    pub spec: CheckedPrediction,
    /// The user's own labels.
    pub metadata: BTreeMap<String, String>,
    /// Batch predictions that may wait.
    pub queue_limit: u64,
}

/// Which batch predictions of a model are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PredictionFilter {
    /// In this status.
    pub status: Option<JobStatus>,
    /// With these among their labels.
    pub metadata: BTreeMap<String, String>,
}

/// What batch predictions need: those of which all that is given is so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needed<'a> {
    /// This model.
    pub(crate) model: Option<&'a str>,
    /// This version.
    pub(crate) version: Option<u64>,
    /// This dataset.
    pub(crate) dataset: Option<&'a str>,
}

impl Store {
    /// Stores a batch prediction that waits. It is checked once more that what it names is still there.
    ///
    /// Errors: the version or the revision is gone; too many wait; the key stands for another request.
    pub async fn create_prediction(
        &self,
        new: NewBatchPrediction,
        once: Once<BatchPrediction>,
        now: &Timestamp,
    ) -> Result<Answer, Error> {
        let id = Uuid::now_v7();
        let mut tx = self.begin_growing().await?;
        if let Some(answer) = once.answered(&mut tx).await? {
            return Ok(answer);
        }
        let waiting: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM batch_predictions WHERE status = 'queued'")
                .fetch_one(&mut *tx)
                .await?;
        let limit = new.queue_limit;
        if waiting as u64 >= limit {
            return Err(Error::QueueFull { kind: KIND, limit });
        }
        check_sources(&mut tx, &new).await?;
        sqlx::query(
            "INSERT INTO batch_predictions (id, model, version, dataset, digest, spec, status, rows, metadata, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, 'queued', $7, $8, $9)",
        )
        .bind(id.to_string())
        .bind(&new.model)
        .bind(new.version as i64)
        .bind(&new.dataset)
        .bind(&new.digest)
        .bind(serde_json::to_string(&new.spec)?)
        .bind(new.rows as i64)
        .bind(serde_json::to_string(&new.metadata)?)
        .bind(now.as_str())
        .execute(&mut *tx)
        .await?;
        tx.seal().await?;
        let row = sqlx::query("SELECT * FROM batch_predictions WHERE id = $1")
            .bind(id.to_string())
            .fetch_one(&mut *tx)
            .await?;
        let answer = once.keep(&mut tx, &prediction_row(&row)?, now).await?;
        tx.commit().await?;
        Ok(answer)
    }

    /// The batch prediction of a model that has an id.
    ///
    /// Errors: there is none.
    pub async fn prediction(&self, model: &str, id: Uuid) -> Result<BatchPrediction, Error> {
        let row = sqlx::query("SELECT * FROM batch_predictions WHERE id = $1 AND model = $2")
            .bind(id.to_string())
            .bind(model)
            .fetch_optional(self.reader())
            .await?;
        prediction_row(&row.ok_or_else(|| Error::not_found(KIND, id))?)
    }

    /// A page of the batch predictions of a model.
    ///
    /// Errors: there is no such model, or none of the id to go on after.
    pub async fn predictions(
        &self,
        model: &str,
        filter: &PredictionFilter,
        page: &PageQuery,
    ) -> Result<Page<BatchPrediction>, Error> {
        self.model(model).await?;
        let place = self.place(page, KIND, ("batch_predictions", "id")).await?;
        let (beyond, order) = page.order();
        let sql = format!(
            "SELECT * FROM batch_predictions
             WHERE sequence {beyond} $1 AND model = $3 AND ($4 IS NULL OR status = $4)
               AND NOT EXISTS (SELECT 1 FROM json_each($5) AS wanted WHERE NOT EXISTS
                 (SELECT 1 FROM json_each(metadata) AS label
                  WHERE label.key = wanted.key AND label.value = wanted.value))
             ORDER BY sequence {order} LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(place)
            .bind(page.fetch())
            .bind(model)
            .bind(filter.status.map(JobStatus::name))
            .bind(serde_json::to_string(&filter.metadata)?)
            .fetch_all(self.reader())
            .await?;
        Ok(Page::readable(rows, page.limit, KIND, prediction_row))
    }

    /// How many batch predictions there are of each status that one can have.
    pub async fn count_predictions(&self) -> Result<Vec<(JobStatus, i64)>, Error> {
        let counted: Vec<(String, i64)> =
            sqlx::query_as("SELECT status, COUNT(*) FROM batch_predictions GROUP BY status")
                .fetch_all(self.reader())
                .await?;
        Ok(JobStatus::of_all(&counted, &JobStatus::NEVER_PAUSED))
    }

    /// Ends a batch prediction without a result. The one who runs it finds that it has ended.
    ///
    /// Errors: there is none; it has ended otherwise.
    pub async fn cancel_prediction(
        &self,
        model: &str,
        id: Uuid,
        now: &Timestamp,
    ) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let (from, to) = (status_of(&mut tx, model, id).await?, JobStatus::Cancelled);
        if from == to {
            return Ok(());
        }
        if !from.may_become(to) {
            let kind = KIND;
            return Err(Error::IllegalMove { kind, from, to });
        }
        sqlx::query("UPDATE batch_predictions SET status = 'cancelled', finished_at = $2, bytes = 0 WHERE id = $1")
            .bind(id.to_string())
            .bind(now.as_str())
            .execute(&mut *tx)
            .await?;
        drop_chunks(&mut tx, id).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes a batch prediction that has ended, with its result.
    ///
    /// Errors: there is none; it has not ended.
    pub async fn delete_prediction(&self, model: &str, id: Uuid) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let status = status_of(&mut tx, model, id).await?;
        if !status.is_final() {
            let (kind, name) = (KIND, id.to_string());
            let by = format!("it is {status}; cancel it first");
            return Err(Error::InUse { kind, name, by });
        }
        sqlx::query("DELETE FROM batch_predictions WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        tx.leaves_something();
        tx.commit().await
    }

    /// A chunk of the result of a batch prediction, counted from 0 and checked against its digest; none after the last.
    ///
    /// Errors: its bytes are damaged.
    pub async fn prediction_chunk(&self, id: Uuid, chunk: u64) -> Result<Option<Vec<u8>>, Error> {
        let row: Option<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT bytes, digest FROM prediction_chunks WHERE prediction = $1 AND chunk = $2",
        )
        .bind(id.to_string())
        .bind(chunk as i64)
        .fetch_optional(self.reader())
        .await?;
        let Some((bytes, expected)) = row else {
            return Ok(None);
        };
        off_thread(move || {
            if digest(&bytes) != expected {
                let what = format!("chunk {chunk} of the result of batch prediction {id}");
                return Err(Error::Damaged { what });
            }
            Ok(Some(bytes))
        })
        .await
    }
}

/// Errors: a batch prediction that has not ended needs what is to be deleted.
pub(crate) async fn check_unneeded(
    tx: &mut Tx,
    needed: Needed<'_>,
    in_use: impl FnOnce(String) -> Error,
) -> Result<(), Error> {
    let user: Option<String> = sqlx::query_scalar(
        "SELECT id FROM batch_predictions WHERE status IN ('queued', 'running') AND ($1 IS NULL OR model = $1)
         AND ($2 IS NULL OR version = $2) AND ($3 IS NULL OR dataset = $3)
         ORDER BY sequence LIMIT 1",
    )
    .bind(needed.model)
    .bind(needed.version.map(|version| version as i64))
    .bind(needed.dataset)
    .fetch_optional(&mut **tx)
    .await?;
    match user {
        Some(id) => Err(in_use(format!("{KIND} {id} needs it; cancel that first"))),
        None => Ok(()),
    }
}

/// Deletes what was predicted so far.
pub(crate) async fn drop_chunks(tx: &mut Tx, id: Uuid) -> Result<(), Error> {
    sqlx::query("DELETE FROM prediction_chunks WHERE prediction = $1")
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn check_sources(tx: &mut Tx, new: &NewBatchPrediction) -> Result<(), Error> {
    let version: Option<i64> =
        sqlx::query_scalar("SELECT version FROM versions WHERE model = $1 AND version = $2")
            .bind(&new.model)
            .bind(new.version as i64)
            .fetch_optional(&mut **tx)
            .await?;
    let label = || format!("{}/{}", new.model, new.version);
    version.ok_or_else(|| Error::not_found("version", label()))?;
    let revision: Option<i64> = sqlx::query_scalar(
        "SELECT revision FROM dataset_revisions WHERE dataset = $1 AND digest = $2",
    )
    .bind(&new.dataset)
    .bind(&new.digest)
    .fetch_optional(&mut **tx)
    .await?;
    revision.ok_or_else(|| Error::not_found("dataset", &new.dataset))?;
    Ok(())
}

async fn status_of(tx: &mut Tx, model: &str, id: Uuid) -> Result<JobStatus, Error> {
    let status: Option<String> =
        sqlx::query_scalar("SELECT status FROM batch_predictions WHERE id = $1 AND model = $2")
            .bind(id.to_string())
            .bind(model)
            .fetch_optional(&mut **tx)
            .await?;
    parse_status(&status.ok_or_else(|| Error::not_found(KIND, id))?)
}

pub(crate) fn prediction_row(row: &SqliteRow) -> Result<BatchPrediction, Error> {
    let what = || format!("{KIND} {}", row.try_get("id").unwrap_or("?"));
    seal::check(row, "batch_predictions", what)?;
    let error: Option<&str> = row.try_get("error")?;
    let time = |name| {
        Ok::<_, Error>(
            row.try_get::<Option<String>, _>(name)?
                .map(Timestamp::stored),
        )
    };
    let count = |name| Ok::<_, Error>(row.try_get::<i64, _>(name)? as u64);
    Ok(BatchPrediction {
        id: parse_id(row.try_get("id")?)?,
        model: row.try_get("model")?,
        version: count("version")?,
        dataset: row.try_get("dataset")?,
        digest: row.try_get("digest")?,
        spec: serde_json::from_str(row.try_get("spec")?)?,
        status: parse_status(row.try_get("status")?)?,
        rows: count("rows")?,
        rows_done: count("rows_done")?,
        rows_per_second: row.try_get("rows_per_second")?,
        bytes: count("bytes")?,
        error: error.map(serde_json::from_str).transpose()?,
        metadata: serde_json::from_str(row.try_get("metadata")?)?,
        created_at: Timestamp::stored(row.try_get("created_at")?),
        started_at: time("started_at")?,
        finished_at: time("finished_at")?,
    })
}
