//! A job's history, gradient statistics, checkpoints and data in the store.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::model::{ParameterDigest, digest};
use crate::nn::NetworkStatistics;
use crate::store::page::readable;
use crate::store::seal::Value;
use crate::store::{Error, JobMetrics, Page, Store, Timestamp, Tx, contents, seal};
use crate::train::{Checkpoint, EpochReport, Metrics, RawSamples};

/// What one epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Steps taken so far.
    pub step: u64,
    /// The learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// How long the epoch took.
    pub seconds: f64,
    /// Over the epoch's batches, each before its update.
    pub train: Metrics,
    /// After the epoch.
    pub validation: Option<Metrics>,
    /// Of the parameters that the epoch ended with; none of epochs from before it was kept.
    #[serde(default)]
    pub parameter_digest: Option<ParameterDigest>,
    /// Of the epoch's last step, where the epoch is recorded.
    #[serde(skip)]
    pub statistics: Option<NetworkStatistics>,
}

impl HistoryRow {
    /// What an epoch came to that took so long.
    pub fn of(report: EpochReport, seconds: f64) -> Self {
        let EpochReport {
            epoch,
            step,
            learning_rate,
            train,
            validation,
            statistics,
            parameter_digest,
            samples: _,
        } = report;
        Self {
            epoch,
            step,
            learning_rate,
            seconds,
            train,
            validation,
            parameter_digest,
            statistics,
        }
    }
}

/// How long an epoch took, and whether its parameters were digested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochTime {
    /// The epoch, from 1.
    pub epoch: u64,
    /// How long it took.
    pub seconds: f64,
    /// Whether its digest is known.
    pub is_digested: bool,
}

/// Gradient statistics of one recorded epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatisticsRow {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Those of its layers and embeddings.
    #[serde(flatten)]
    pub statistics: NetworkStatistics,
}

/// A checkpoint to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCheckpoint {
    /// Epochs finished.
    pub epoch: u64,
    /// Steps taken in the epoch after that.
    pub step: u64,
    /// SHA-256 of the parameters.
    pub parameter_digest: String,
    /// SHA-256 of the bytes.
    pub digest: String,
    /// The checkpoint itself.
    pub bytes: Vec<u8>,
    /// For how long the job had trained by then.
    pub seconds: f64,
}

/// A stored checkpoint without its bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckpointRow {
    /// Epochs finished.
    pub epoch: u64,
    /// Steps taken in the epoch after that.
    pub step: u64,
    /// The epoch's figures, where one is finished.
    pub metrics: Option<CheckpointMetrics>,
    /// SHA-256 of the parameters.
    pub parameter_digest: String,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// The figures of the epoch that a checkpoint ends with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckpointMetrics {
    /// Over the epoch's batches.
    pub train: Metrics,
    /// After the epoch.
    pub validation: Option<Metrics>,
}

impl NewCheckpoint {
    /// A checkpoint's bytes and digests. Costs a copy of the parameters.
    pub fn of(checkpoint: &Checkpoint, seconds: f64) -> Self {
        let bytes = checkpoint.encode();
        let (epoch, step) = checkpoint.place();
        Self {
            epoch,
            step,
            parameter_digest: checkpoint.model.parameter_digest(),
            digest: digest(&bytes),
            bytes,
            seconds,
        }
    }
}

/// A row as it is stored, but for its job.
struct StoredRow {
    epoch: i64,
    step: i64,
    learning_rate: f64,
    seconds: f64,
    train: String,
    validation: Option<String>,
    statistics: Option<String>,
    parameter_digest: Option<String>,
}

impl StoredRow {
    fn of(row: &HistoryRow) -> Result<Self, Error> {
        let validation = row.validation.as_ref().map(serde_json::to_string);
        let statistics = row.statistics.as_ref().map(serde_json::to_string);
        Ok(Self {
            epoch: row.epoch as i64,
            step: row.step as i64,
            // SQLite keeps no negative zero.
            learning_rate: row.learning_rate + 0.0,
            seconds: row.seconds + 0.0,
            train: serde_json::to_string(&row.train)?,
            validation: validation.transpose()?,
            statistics: statistics.transpose()?,
            parameter_digest: row.parameter_digest.map(|digest| digest.to_string()),
        })
    }

    fn seal(&self, job: &str) -> String {
        fn text(text: Option<&String>) -> Option<Value<'_>> {
            text.map(|text| Value::Text(text.as_bytes()))
        }
        let columns = [
            ("epoch", Some(Value::Integer(self.epoch))),
            ("job_id", Some(Value::Text(job.as_bytes()))),
            ("learning_rate", Some(Value::Real(self.learning_rate))),
            ("parameter_digest", text(self.parameter_digest.as_ref())),
            ("seconds", Some(Value::Real(self.seconds))),
            ("statistics", text(self.statistics.as_ref())),
            ("step", Some(Value::Integer(self.step))),
            ("train", Some(Value::Text(self.train.as_bytes()))),
            ("validation", text(self.validation.as_ref())),
        ];
        seal::of("history", &columns)
    }
}

/// Rows of one statement, of ten values each: SQLite takes 32,766 values in one.
const ROWS_AT_ONCE: usize = 2000;

/// Writes history rows inside a transaction. They come by the thousand: their seals are written with them.
pub(crate) async fn insert_history(
    tx: &mut Tx,
    id: Uuid,
    rows: &[HistoryRow],
) -> Result<(), Error> {
    let id = id.to_string();
    for rows in rows.chunks(ROWS_AT_ONCE) {
        let rows = rows.iter().map(StoredRow::of);
        let rows = rows.collect::<Result<Vec<_>, Error>>()?;
        let mut query = sqlx::QueryBuilder::new(
            "INSERT INTO history (job_id, epoch, step, learning_rate, seconds, train, validation, statistics,
             parameter_digest, seal) ",
        );
        query.push_values(rows, |mut tuple, row| {
            let seal = row.seal(&id);
            tuple
                .push_bind(&id)
                .push_bind(row.epoch)
                .push_bind(row.step)
                .push_bind(row.learning_rate)
                .push_bind(row.seconds)
                .push_bind(row.train)
                .push_bind(row.validation)
                .push_bind(row.statistics)
                .push_bind(row.parameter_digest)
                .push_bind(seal);
        });
        // A row is there already only where an earlier try was stored after all: the same row.
        query.push(" ON CONFLICT DO NOTHING");
        query.build().execute(&mut **tx).await?;
    }
    tx.sealed("history");
    Ok(())
}

/// The digest of an epoch's parameters as it is stored.
fn stored_digest(text: Option<&str>) -> Result<Option<ParameterDigest>, Error> {
    let parse = |text| {
        ParameterDigest::parse(text).ok_or_else(|| Error::Damaged {
            what: format!("an epoch's parameter_digest ({text:?})"),
        })
    };
    text.map(parse).transpose()
}

/// The figures of an epoch, as a connection or transaction sees them that has not changed its row.
pub(crate) async fn metrics_of(
    connection: &mut SqliteConnection,
    id: Uuid,
    epoch: u64,
) -> Result<Option<JobMetrics>, Error> {
    let row = epoch_of(connection, id, epoch).await?;
    Ok(row.map(|row| JobMetrics {
        train: Some(row.train),
        validation: row.validation,
    }))
}

async fn epoch_of(
    connection: &mut SqliteConnection,
    id: Uuid,
    epoch: u64,
) -> Result<Option<HistoryRow>, Error> {
    let row = sqlx::query("SELECT * FROM history WHERE job_id = $1 AND epoch = $2")
        .bind(id.to_string())
        .bind(epoch as i64)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(history_row).transpose()
}

/// A row without its statistics.
fn history_row(row: &SqliteRow) -> Result<HistoryRow, Error> {
    check_epoch(row)?;
    let validation: Option<&str> = row.try_get("validation")?;
    Ok(HistoryRow {
        epoch: row.try_get::<i64, _>("epoch")? as u64,
        step: row.try_get::<i64, _>("step")? as u64,
        learning_rate: row.try_get("learning_rate")?,
        seconds: row.try_get("seconds")?,
        train: serde_json::from_str(row.try_get("train")?)?,
        validation: validation.map(serde_json::from_str).transpose()?,
        parameter_digest: stored_digest(row.try_get("parameter_digest")?)?,
        statistics: None,
    })
}

fn statistics_row(row: &SqliteRow) -> Result<StatisticsRow, Error> {
    check_epoch(row)?;
    Ok(StatisticsRow {
        epoch: row.try_get::<i64, _>("epoch")? as u64,
        statistics: serde_json::from_str(row.try_get("statistics")?)?,
    })
}

fn check_epoch(row: &SqliteRow) -> Result<(), Error> {
    seal::check(row, "history", || {
        let (id, epoch) = (row.try_get("job_id"), row.try_get("epoch"));
        format!("epoch {} of job {}", epoch.unwrap_or(0), id.unwrap_or("?"))
    })
}

impl Store {
    /// Epochs of a job after one, oldest first, every `every`-th.
    ///
    /// Errors: there is no such job.
    pub async fn history(
        &self,
        id: Uuid,
        after: u64,
        limit: u32,
        every: u64,
    ) -> Result<Page<HistoryRow>, Error> {
        self.job(id).await?;
        let rows = sqlx::query(
            "SELECT * FROM history
             WHERE job_id = $1 AND epoch > $2 AND epoch % $3 = 0 ORDER BY epoch LIMIT $4",
        )
        .bind(id.to_string())
        .bind(after as i64)
        .bind(every as i64)
        .bind(i64::from(limit) + 1)
        .fetch_all(self.reader())
        .await?;
        Ok(Page::readable(rows, limit, "epoch", history_row))
    }

    /// An epoch of a job; none that is not in its history.
    ///
    /// Errors: it is damaged.
    pub async fn epoch(&self, id: Uuid, epoch: u64) -> Result<Option<HistoryRow>, Error> {
        epoch_of(&mut *self.reader().acquire().await?, id, epoch).await
    }

    /// How long each epoch of a job took, oldest first.
    pub async fn epoch_times(&self, id: Uuid) -> Result<Vec<EpochTime>, Error> {
        let rows: Vec<(i64, f64, bool)> = sqlx::query_as(
            "SELECT epoch, seconds, parameter_digest IS NOT NULL FROM history WHERE job_id = $1 ORDER BY epoch",
        )
        .bind(id.to_string())
        .fetch_all(self.reader())
        .await?;
        let times = rows.into_iter();
        let times = times.map(|(epoch, seconds, is_digested)| EpochTime {
            epoch: epoch as u64,
            seconds,
            is_digested,
        });
        Ok(times.collect())
    }

    /// Gradient statistics of a job's recorded epochs after one, oldest first.
    ///
    /// Errors: there is no such job.
    pub async fn statistics(
        &self,
        id: Uuid,
        after: u64,
        limit: u32,
    ) -> Result<Page<StatisticsRow>, Error> {
        self.job(id).await?;
        let rows = sqlx::query(
            "SELECT * FROM history
             WHERE job_id = $1 AND epoch > $2 AND statistics IS NOT NULL ORDER BY epoch LIMIT $3",
        )
        .bind(id.to_string())
        .bind(after as i64)
        .bind(i64::from(limit) + 1)
        .fetch_all(self.reader())
        .await?;
        Ok(Page::readable(rows, limit, "epoch", statistics_row))
    }

    /// A job's checkpoints, newest first.
    ///
    /// Errors: there is no such job.
    pub async fn checkpoints(&self, id: Uuid) -> Result<Vec<CheckpointRow>, Error> {
        self.job(id).await?;
        let mut tx = self.reader().begin().await?;
        let rows = sqlx::query(
            "SELECT * FROM checkpoints WHERE job_id = $1 ORDER BY epoch DESC, step DESC",
        )
        .bind(id.to_string())
        .fetch_all(&mut *tx)
        .await?;
        let mut checkpoints = Vec::with_capacity(rows.len());
        for row in rows {
            let what = || format!("a checkpoint of job {id}");
            let sound = seal::check(&row, "checkpoints", what);
            if readable("checkpoint", sound).is_none() {
                continue;
            }
            let epoch = row.try_get::<i64, _>("epoch")? as u64;
            let figures = readable("epoch", metrics_of(&mut tx, id, epoch).await);
            let metrics = figures
                .flatten()
                .and_then(|JobMetrics { train, validation }| {
                    train.map(|train| CheckpointMetrics { train, validation })
                });
            checkpoints.push(CheckpointRow {
                epoch,
                step: row.try_get::<i64, _>("step")? as u64,
                metrics,
                parameter_digest: row.try_get("parameter_digest")?,
                created_at: Timestamp::stored(row.try_get("created_at")?),
            });
        }
        Ok(checkpoints)
    }

    /// Inline rows of a job, checked against their digest: `part` is `data` or `validation`.
    ///
    /// Errors: there are none; their bytes are damaged.
    pub async fn job_rows(&self, id: Uuid, part: &'static str) -> Result<RawSamples, Error> {
        let (bytes, expected) = self.job_part(id, part).await?;
        let what = format!("{part} of job {id}");
        contents::decoded(bytes, expected, what, |bytes| {
            Ok(RawSamples::decode_inline(bytes)?)
        })
        .await
    }

    /// A part of what a job was submitted with, and its digest.
    pub(crate) async fn job_part(
        &self,
        id: Uuid,
        part: &'static str,
    ) -> Result<(Vec<u8>, String), Error> {
        let mut tx = self.reader().begin().await?;
        let row = sqlx::query("SELECT * FROM job_rows WHERE job_id = $1 AND part = $2")
            .bind(id.to_string())
            .bind(part)
            .fetch_optional(&mut *tx)
            .await?;
        let label = || format!("{part} of job {id}");
        let kind = if part == "base" { "checkpoint" } else { "rows" };
        let row = row.ok_or_else(|| Error::not_found(kind, label()))?;
        seal::check(&row, "job_rows", label)?;
        let bytes = contents::read(&mut tx, row.try_get("content")?).await?;
        Ok((bytes, row.try_get("digest")?))
    }
}
