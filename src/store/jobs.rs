//! Jobs in the store, as their users see and move them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use crate::model::digest;
use crate::store::contents::Content;
use crate::store::events::{tell, tell_status};
use crate::store::seal;
use crate::store::{
    Answer, Error, EventData, JobStatus, ModelRow, Once, Page, PageQuery, Request, Store,
    Timestamp, Tx,
};
use crate::train::{CheckedJob, CheckedSpec, EndedBy, Metrics};

/// Bytes of the inline rows, data and validation together, that are kept of a job that has ended.
const KEPT_ROWS_BYTES: i64 = 1 << 20;

/// The last figures of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobMetrics {
    /// Over the last epoch's batches.
    pub train: Option<Metrics>,
    /// After the last epoch.
    pub validation: Option<Metrics>,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// A stable word.
    pub code: String,
    /// A sentence.
    pub detail: String,
    /// The epoch in which it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The step of the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
}

/// A job as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its id, ordered by time.
    pub id: Uuid,
    /// The model that it trains.
    pub model: String,
    /// Which one of those that have had the name; none that was there before this was kept and is no longer.
    pub(crate) model_sequence: Option<i64>,
    /// Where it stands.
    pub status: JobStatus,
    /// How often it was started.
    pub attempt: u64,
    /// The version that it starts from.
    pub base_version: u64,
    /// The version that it published.
    pub version: Option<u64>,
    /// What it does.
    pub spec: CheckedSpec,
    /// Epochs finished, of a cross-validation in the run on all rows.
    pub epoch: u64,
    /// Epochs finished in the runs of a cross-validation that leave out a fold.
    pub fold_epochs: u64,
    /// The last figures.
    pub metrics: JobMetrics,
    /// How fast it is.
    pub samples_per_second: Option<f64>,
    /// When it will be done.
    pub estimated_finish_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<JobError>,
    /// Why it ended, where it has succeeded.
    pub ended_by: Option<EndedBy>,
    /// Among the jobs that wait, the one with the highest is next.
    pub priority: i64,
    /// The user's own labels.
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was first started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A job to be stored.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What it does, and its inline rows.
    pub checked: CheckedJob,
    /// Among the jobs that wait, the one with the highest is next.
    pub priority: i64,
    /// The user's own labels.
    pub metadata: BTreeMap<String, String>,
    /// Jobs that may wait.
    pub queue_limit: u64,
}

/// Which jobs are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this model.
    pub model: Option<String>,
    /// In this status.
    pub status: Option<JobStatus>,
    /// With these among their labels.
    pub metadata: BTreeMap<String, String>,
}

impl Job {
    /// Whether it trains this model, and none that had its name before.
    pub fn trains(&self, model: &ModelRow) -> bool {
        self.model_sequence == Some(model.revision.model())
    }
}

impl Store {
    /// Stores a job that waits for a slot. It is checked once more that what it names is still there.
    ///
    /// Errors: the model's version or a dataset is gone; too many jobs wait; the key stands for another request.
    pub async fn create_job(
        &self,
        new: NewJob,
        once: Once<Job>,
        now: &Timestamp,
    ) -> Result<Answer, Error> {
        let NewJob {
            checked,
            priority,
            metadata,
            queue_limit,
        } = new;
        let spec = &checked.spec;
        let id = Uuid::now_v7();
        let parts = self.parts(&checked).await?;
        let mut tx = self.begin_growing().await?;
        if let Some(answer) = once.answered(&mut tx).await? {
            return Ok(answer);
        }
        let waiting: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM jobs WHERE status = 'queued'")
            .fetch_one(&mut *tx)
            .await?;
        if waiting as u64 >= queue_limit {
            let (kind, limit) = ("job", queue_limit);
            return Err(Error::QueueFull { kind, limit });
        }
        check_base(&mut tx, spec).await?;
        sqlx::query(
            "INSERT INTO jobs (id, model, status, attempt, base_version, spec, epoch, epochs, metrics, metadata,
             created_at, updated_at, priority, model_sequence)
             VALUES ($1, $2, 'queued', 0, $3, $4, 0, $5, $6, $7, $8, $8, $9, (SELECT sequence FROM models WHERE name = $2))",
        )
        .bind(id.to_string())
        .bind(&spec.model)
        .bind(spec.base_version() as i64)
        .bind(serde_json::to_string(spec)?)
        .bind(spec.epochs as i64)
        .bind(serde_json::to_string(&JobMetrics::default())?)
        .bind(serde_json::to_string(&metadata)?)
        .bind(now.as_str())
        .bind(priority)
        .execute(&mut *tx)
        .await?;
        insert_data(&mut tx, id, (spec, parts)).await?;
        tell_status(&mut tx, &id.to_string(), now).await?;
        for warning in &checked.warnings {
            let event = EventData::of_data(warning);
            tell(&mut tx, &id.to_string(), &event, now).await?;
        }
        tx.seal().await?;
        let row = sqlx::query("SELECT * FROM jobs WHERE id = $1")
            .bind(id.to_string())
            .fetch_one(&mut *tx)
            .await?;
        let answer = once.keep(&mut tx, &job_row(&row)?, now).await?;
        self.commit(tx).await?;
        Ok(answer)
    }

    /// The job of an id.
    ///
    /// Errors: there is none.
    pub async fn job(&self, id: Uuid) -> Result<Job, Error> {
        let _guard = self.reading_catalogue().await;
        let row = sqlx::query("SELECT * FROM jobs WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.reader())
            .await?;
        job_row(&row.ok_or_else(|| Error::not_found("job", id))?)
    }

    /// A page of the jobs.
    ///
    /// Errors: there is no job of the id to go on after.
    pub async fn jobs(&self, filter: &JobFilter, page: &PageQuery) -> Result<Page<Job>, Error> {
        let _guard = self.reading_catalogue().await;
        let place = self.place(page, "job", ("jobs", "id")).await?;
        let (beyond, order) = page.order();
        let sql = format!(
            "SELECT * FROM jobs
             WHERE sequence {beyond} $1 AND ($3 IS NULL OR model = $3) AND ($4 IS NULL OR status = $4)
               AND NOT EXISTS (SELECT 1 FROM json_each($5) AS wanted WHERE NOT EXISTS
                 (SELECT 1 FROM json_each(metadata) AS label
                  WHERE label.key = wanted.key AND label.value = wanted.value))
             ORDER BY sequence {order} LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(place)
            .bind(page.fetch())
            .bind(&filter.model)
            .bind(filter.status.map(JobStatus::name))
            .bind(serde_json::to_string(&filter.metadata)?)
            .fetch_all(self.reader())
            .await?;
        Ok(Page::readable(rows, page.limit, "job", job_row))
    }

    /// How many jobs there are of each status.
    pub async fn count_jobs(&self) -> Result<Vec<(JobStatus, i64)>, Error> {
        let counted: Vec<(String, i64)> =
            sqlx::query_as("SELECT status, COUNT(*) FROM jobs GROUP BY status")
                .fetch_all(self.reader())
                .await?;
        Ok(JobStatus::of_all(&counted, &JobStatus::ALL))
    }

    /// Moves a job that nobody runs, or notes what is asked of the one who runs it.
    ///
    /// Returns whether a runner has to be told. A job that is already there stays as it is.
    ///
    /// Errors: there is no such job; its status does not allow the move.
    pub async fn request(
        &self,
        id: Uuid,
        request: Request,
        now: &Timestamp,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let (from, to) = (status_of(&mut tx, id).await?, request.status());
        if from == to {
            return Ok(false);
        }
        if !from.may_become(to) {
            let kind = "job";
            return Err(Error::IllegalMove { kind, from, to });
        }
        if from == JobStatus::Running {
            sqlx::query("UPDATE jobs SET requested = $2 WHERE id = $1 AND status = 'running'")
                .bind(id.to_string())
                .bind(to.name())
                .execute(&mut *tx)
                .await?;
        } else {
            sqlx::query("UPDATE jobs SET status = $2, updated_at = $3, finished_at = $4 WHERE id = $1 AND status = $5")
                .bind(id.to_string())
                .bind(to.name())
                .bind(now.as_str())
                .bind(to.is_final().then(|| now.as_str()))
                .bind(from.name())
                .execute(&mut *tx)
                .await?;
            tell_status(&mut tx, &id.to_string(), now).await?;
        }
        if to == JobStatus::Cancelled && from != JobStatus::Running {
            drop_leavings(&mut tx, id, to).await?;
        }
        self.commit(tx).await?;
        Ok(from == JobStatus::Running)
    }

    /// Lets a paused job wait for a slot again.
    ///
    /// Errors: there is no such job; it is not paused.
    pub async fn resume(&self, id: Uuid, now: &Timestamp) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let (from, to) = (status_of(&mut tx, id).await?, JobStatus::Queued);
        if from != JobStatus::Paused {
            let kind = "job";
            return Err(Error::IllegalMove { kind, from, to });
        }
        sqlx::query("UPDATE jobs SET status = 'queued', updated_at = $2 WHERE id = $1 AND status = 'paused'")
            .bind(id.to_string())
            .bind(now.as_str())
            .execute(&mut *tx)
            .await?;
        tell_status(&mut tx, &id.to_string(), now).await?;
        self.commit(tx).await
    }

    /// Deletes an ended job with its history, events and checkpoints. The version it published stays.
    ///
    /// Errors: there is no such job; it has not ended.
    pub async fn delete_job(&self, id: Uuid) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let status = status_of(&mut tx, id).await?;
        if !status.is_final() {
            let by = format!("it is {status}; cancel it first");
            return Err(Error::InUse {
                kind: "job",
                name: id.to_string(),
                by,
            });
        }
        sqlx::query("DELETE FROM jobs WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        tx.leaves_something();
        tx.commit().await
    }

    /// What a job is submitted with, written ahead where it is much.
    async fn parts<'a>(&self, checked: &'a CheckedJob) -> Result<Vec<Part<'a>>, Error> {
        let mut parts = Vec::new();
        for (name, bytes) in [
            ("data", &checked.inline),
            ("validation", &checked.inline_validation),
            ("base", &checked.base),
        ] {
            let Some(bytes) = bytes else { continue };
            let (digest, content) = (digest(bytes), self.content(bytes).await?);
            parts.push(Part {
                name,
                digest,
                content,
            });
        }
        Ok(parts)
    }
}

/// A part of what a job is submitted with.
struct Part<'a> {
    name: &'static str,
    digest: String,
    content: Content<'a>,
}

/// What a job starts from is still there. Of a job that starts from a checkpoint it is the model alone: it has a copy of the
/// checkpoint, and the version that this came from may be gone.
async fn check_base(tx: &mut Tx, spec: &CheckedSpec) -> Result<(), Error> {
    let base: Option<i64> = if spec.from.job.is_some() {
        sqlx::query_scalar("SELECT latest_version FROM models WHERE name = $1")
            .bind(&spec.model)
            .fetch_optional(&mut **tx)
            .await?
    } else {
        sqlx::query_scalar("SELECT version FROM versions WHERE model = $1 AND version = $2")
            .bind(&spec.model)
            .bind(spec.base_version() as i64)
            .fetch_optional(&mut **tx)
            .await?
    };
    base.map(|_| ()).ok_or_else(|| {
        Error::not_found("version", format!("{}/{}", spec.model, spec.base_version()))
    })
}

/// Drops what a job that has ended for good no longer needs: its copy of a checkpoint, its inline rows, whose digest the spec
/// keeps, unless they are few enough to be kept for a verification, and, where it was cancelled, the checkpoints that are no
/// epoch's end.
pub(crate) async fn drop_leavings(tx: &mut Tx, id: Uuid, to: JobStatus) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM job_rows WHERE job_id = $1 AND (part = 'base' OR $2 <
           (SELECT SUM(bytes) FROM job_rows JOIN contents ON contents.id = content
            WHERE job_id = $1 AND part <> 'base'))",
    )
    .bind(id.to_string())
    .bind(KEPT_ROWS_BYTES)
    .execute(&mut **tx)
    .await?;
    if to == JobStatus::Cancelled {
        sqlx::query("DELETE FROM checkpoints WHERE job_id = $1 AND (step <> 0 OR epoch = 0)")
            .bind(id.to_string())
            .execute(&mut **tx)
            .await?;
    }
    tx.leaves_something();
    Ok(())
}

async fn insert_data(
    tx: &mut Tx,
    id: Uuid,
    (spec, parts): (&CheckedSpec, Vec<Part<'_>>),
) -> Result<(), Error> {
    for Part {
        name,
        digest,
        content,
    } in parts
    {
        let content = content.insert(tx).await?;
        sqlx::query("INSERT INTO job_rows (job_id, part, digest, content) VALUES ($1, $2, $3, $4)")
            .bind(id.to_string())
            .bind(name)
            .bind(digest)
            .bind(content)
            .execute(&mut **tx)
            .await?;
    }
    for (dataset, expected) in spec.datasets() {
        let found: Option<String> = sqlx::query_scalar(
            "SELECT dataset FROM dataset_revisions WHERE dataset = $1 AND digest = $2",
        )
        .bind(dataset)
        .bind(expected)
        .fetch_optional(&mut **tx)
        .await?;
        found.ok_or_else(|| Error::not_found("dataset", dataset))?;
        sqlx::query(
            "INSERT INTO job_datasets (job_id, dataset) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(id.to_string())
        .bind(dataset)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

async fn status_of(tx: &mut Tx, id: Uuid) -> Result<JobStatus, Error> {
    let status: Option<String> = sqlx::query_scalar("SELECT status FROM jobs WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    parse_status(&status.ok_or_else(|| Error::not_found("job", id))?)
}

pub(crate) fn parse_status(status: &str) -> Result<JobStatus, Error> {
    status.parse().map_err(|()| Error::Damaged {
        what: format!("a job's status ({status})"),
    })
}

fn parse_ended_by(word: &str) -> Result<EndedBy, Error> {
    let found = EndedBy::ALL.into_iter().find(|why| why.name() == word);
    found.ok_or_else(|| Error::Damaged {
        what: format!("why a job ended ({word})"),
    })
}

pub(crate) fn parse_id(id: &str) -> Result<Uuid, Error> {
    id.parse().map_err(|_| Error::Damaged {
        what: format!("a job's id ({id})"),
    })
}

pub(crate) fn job_row(row: &SqliteRow) -> Result<Job, Error> {
    let what = || format!("job {}", row.try_get("id").unwrap_or("?"));
    seal::check(row, "jobs", what)?;
    let error: Option<&str> = row.try_get("error")?;
    Ok(Job {
        id: parse_id(row.try_get("id")?)?,
        model: row.try_get("model")?,
        model_sequence: row.try_get("model_sequence")?,
        status: parse_status(row.try_get("status")?)?,
        attempt: row.try_get::<i64, _>("attempt")? as u64,
        base_version: row.try_get::<i64, _>("base_version")? as u64,
        version: row
            .try_get::<Option<i64>, _>("version")?
            .map(|version| version as u64),
        spec: serde_json::from_str(row.try_get("spec")?)?,
        epoch: row.try_get::<i64, _>("epoch")? as u64,
        fold_epochs: row.try_get::<i64, _>("fold_epochs")? as u64,
        metrics: serde_json::from_str(row.try_get("metrics")?)?,
        samples_per_second: row.try_get("samples_per_second")?,
        estimated_finish_at: row
            .try_get::<Option<String>, _>("estimated_finish_at")?
            .map(Timestamp::stored),
        error: error.map(serde_json::from_str).transpose()?,
        ended_by: row
            .try_get::<Option<&str>, _>("ended_by")?
            .map(parse_ended_by)
            .transpose()?,
        priority: row.try_get("priority")?,
        metadata: serde_json::from_str(row.try_get("metadata")?)?,
        created_at: Timestamp::stored(row.try_get("created_at")?),
        started_at: row
            .try_get::<Option<String>, _>("started_at")?
            .map(Timestamp::stored),
        finished_at: row
            .try_get::<Option<String>, _>("finished_at")?
            .map(Timestamp::stored),
    })
}
