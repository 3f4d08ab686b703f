//! Jobs in the store, as their runners claim, report and end them. Every write names the attempt that owns the job.

use std::sync::Arc;

use sqlx::Row;
use uuid::Uuid;

use crate::model::Model;
use crate::store::checkpoints::insert_checkpoint;
use crate::store::contents::Content;
use crate::store::events::{EventData, tell, tell_status};
use crate::store::history::{insert_history, metrics_of};
use crate::store::jobs::{drop_leavings, job_row, parse_status};
use crate::store::leases::check_owner;
use crate::store::reports::insert_report;
use crate::store::versions::Artifact;
use crate::store::{
    Change, Error, HistoryRow, Job, JobError, JobMetrics, JobStatus, Lineage, NewCheckpoint,
    Request, Store, Timestamp, Tx,
};
use crate::train::{Checkpoint, EndedBy, FullReport};

/// Who owns a running job: every write of a runner names both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The job.
    pub id: Uuid,
    /// The attempt.
    pub attempt: u64,
}

/// A job taken from the queue.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The job, now running.
    pub job: Job,
    /// Where to go on from.
    pub checkpoint: Option<Checkpoint>,
    /// For how long it had trained by then.
    pub seconds: f64,
}

/// What a runner has to tell.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Epochs finished since it last told.
    pub rows: Vec<HistoryRow>,
    /// Epochs finished in the runs of a cross-validation that leave out a fold, where it has anything to tell of them.
    pub fold_epochs: Option<u64>,
    /// Checkpoints, none beyond the last of those epochs.
    pub checkpoints: Vec<NewCheckpoint>,
    /// How fast it is.
    pub samples_per_second: Option<f64>,
    /// When it will be done.
    pub estimated_finish_at: Option<Timestamp>,
}

impl Progress {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.fold_epochs.is_none() && self.checkpoints.is_empty()
    }
}

/// A trained model to be published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The model's name.
    pub name: String,
    /// The model itself.
    pub model: Arc<Model>,
    /// Where it comes from.
    pub lineage: Lineage,
    /// Every figure of it.
    pub report: Box<FullReport>,
    /// Why the job has ended.
    pub ended_by: EndedBy,
}

impl Store {
    /// Puts an owned job whose data cannot be read for now back into the queue, at its last checkpoint.
    ///
    /// Errors: another attempt owns the job.
    pub async fn put_back(&self, owner: Owner, now: &Timestamp) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        leave(&mut tx, owner, JobStatus::Queued, None, now).await?;
        let epoch = set_back(&mut tx, owner.id).await?;
        let cause = "the data could not be read for a while";
        let warning = EventData::set_back("data_unreadable", cause, epoch);
        tell(&mut tx, &owner.id.to_string(), &warning, now).await?;
        self.commit(tx).await
    }

    /// The id of the job that is taken next, and the job unless it cannot be read; none where none waits.
    pub async fn next_job(&self) -> Result<Option<(String, Option<Job>)>, Error> {
        let next = sqlx::query(
            "SELECT * FROM jobs WHERE status = 'queued' ORDER BY priority DESC, sequence LIMIT 1",
        );
        let Some(row) = next.fetch_optional(self.reader()).await? else {
            return Ok(None);
        };
        Ok(Some((row.try_get("id")?, job_row(&row).ok())))
    }

    /// Takes the job of the highest priority, among several the one that was submitted first, with its last checkpoint. History beyond the checkpoint is dropped: it
    /// will be made again, the same. A job that cannot be read fails and gives way to the next.
    ///
    /// Errors: the store fails; a job that was taken by then waits again.
    pub async fn claim(&self, now: &Timestamp) -> Result<Option<Claim>, Error> {
        self.claim_next(None, now).await
    }

    /// The same where it is the job of this id that would be taken; else none is.
    ///
    /// Errors: as [`Store::claim`].
    pub async fn claim_next(
        &self,
        expected: Option<&str>,
        now: &Timestamp,
    ) -> Result<Option<Claim>, Error> {
        let Some(job) = self.take(expected, now).await? else {
            return Ok(None);
        };
        let Job { id, attempt, .. } = job;
        let owner = Owner { id, attempt };
        match self.at_checkpoint(owner, job, now).await {
            Ok(claim) => Ok(Some(claim)),
            Err(error) => {
                // Where this fails too, nobody beats for the job, and it is taken over.
                if let Err(error) = self.put_back(owner, now).await {
                    tracing::error!(job = %id, %error, "a job could not be put back into the queue");
                }
                Err(error)
            }
        }
    }

    /// Makes the job that has waited longest a running one.
    async fn take(&self, expected: Option<&str>, now: &Timestamp) -> Result<Option<Job>, Error> {
        loop {
            let mut tx = self.begin().await?;
            let claimed: Option<i64> = sqlx::query_scalar(
                "UPDATE jobs SET status = 'running', attempt = attempt + 1, requested = NULL, updated_at = $1,
                 started_at = COALESCE(started_at, $1)
                 WHERE sequence = (SELECT sequence FROM jobs WHERE status = 'queued'
                                   ORDER BY priority DESC, sequence LIMIT 1)
                   AND status = 'queued' AND ($2 IS NULL OR id = $2) RETURNING sequence",
            )
            .bind(now.as_str())
            .bind(expected)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(claimed) = claimed else {
                return Ok(None);
            };
            tx.seal().await?;
            let row = sqlx::query("SELECT * FROM jobs WHERE sequence = $1")
                .bind(claimed)
                .fetch_one(&mut *tx)
                .await?;
            let read = job_row(&row);
            match &read {
                Ok(job) => tell_status(&mut tx, &job.id.to_string(), now).await?,
                Err(error) => fail_unreadable(&mut tx, row.try_get("id")?, error, now).await?,
            }
            self.commit(tx).await?;
            if let Ok(job) = read {
                return Ok(Some(job));
            }
        }
    }

    /// Sets a job that was just taken to its last checkpoint, which is read while others write.
    async fn at_checkpoint(
        &self,
        owner: Owner,
        mut job: Job,
        now: &Timestamp,
    ) -> Result<Claim, Error> {
        let (checkpoint, seconds) = self.last_checkpoint(owner, &job.spec).await?.unzip();
        let at = checkpoint.as_ref();
        let (epoch, _) = at.map_or((0, 0), Checkpoint::place);
        let epochs = job.spec.epochs;
        job.fold_epochs = at.map_or(0, |checkpoint| checkpoint.fold_epochs(epochs));
        let mut tx = self.begin().await?;
        check_owner(&mut tx, owner).await?;
        let label = job.id.to_string();
        if epoch < job.epoch {
            let warning =
                EventData::set_back("checkpoint_damaged", "a checkpoint is damaged", epoch);
            tell(&mut tx, &label, &warning, now).await?;
        }
        job.epoch = epoch;
        rewind(&mut tx, job.id, job.epoch).await?;
        sqlx::query("UPDATE jobs SET fold_epochs = $2 WHERE id = $1")
            .bind(&label)
            .bind(job.fold_epochs as i64)
            .execute(&mut *tx)
            .await?;
        self.commit(tx).await?;
        Ok(Claim {
            job,
            checkpoint,
            seconds: seconds.unwrap_or_default(),
        })
    }

    /// What a user has asked of a running job.
    pub async fn requested(&self, owner: Owner) -> Result<Option<Request>, Error> {
        let requested: Option<Option<String>> = sqlx::query_scalar(
            "SELECT requested FROM jobs WHERE id = $1 AND attempt = $2 AND status = 'running'",
        )
        .bind(owner.id.to_string())
        .bind(owner.attempt as i64)
        .fetch_optional(self.reader())
        .await?;
        let status = requested
            .flatten()
            .map(|status| parse_status(&status))
            .transpose()?;
        Ok([Request::Cancel, Request::Pause]
            .into_iter()
            .find(|request| Some(request.status()) == status))
    }

    /// Stores what a runner tells while it goes on: history and checkpoint move together.
    ///
    /// Errors: the job is no longer this attempt's.
    pub async fn record(
        &self,
        owner: Owner,
        progress: &Progress,
        now: &Timestamp,
    ) -> Result<(), Error> {
        let contents = self.contents_of(progress).await?;
        let mut tx = self.begin_growing().await?;
        write_progress(&mut tx, owner, (progress, contents), now).await?;
        self.commit(tx).await
    }

    /// Ends a job well: its last history, the new version with its parameters, its report, and `succeeded`, in one
    /// transaction.
    ///
    /// Returns the version. Errors: the job is no longer this attempt's; its model is gone.
    pub async fn succeed(
        &self,
        owner: Owner,
        progress: &Progress,
        publication: Publication,
        now: &Timestamp,
    ) -> Result<u64, Error> {
        let Publication {
            name,
            model,
            lineage,
            ended_by,
            report,
        } = publication;
        let artifact = Artifact::of(&model).await?;
        let (contents, content) = (
            self.contents_of(progress).await?,
            artifact.content(self).await?,
        );
        let mut tx = self.begin().await?;
        write_progress(&mut tx, owner, (progress, contents), now).await?;
        let version: Option<i64> = sqlx::query_scalar(
            "UPDATE models SET latest_version = latest_version + 1 WHERE name = $1 RETURNING latest_version",
        )
        .bind(&name)
        .fetch_optional(&mut *tx)
        .await?;
        let version = version.ok_or_else(|| Error::not_found("model", &name))? as u64;
        let job = owner.id.to_string();
        artifact
            .insert(
                &mut tx,
                content,
                (&name, version),
                (Some(&job), &lineage),
                now,
            )
            .await?;
        sqlx::query("UPDATE jobs SET version = $2, metrics = $3, ended_by = $4 WHERE id = $1")
            .bind(&job)
            .bind(version as i64)
            .bind(serde_json::to_string(&lineage.metrics)?)
            .bind(ended_by.name())
            .execute(&mut *tx)
            .await?;
        insert_report(&mut tx, owner.id, &report).await?;
        leave(&mut tx, owner, JobStatus::Succeeded, None, now).await?;
        drop_leavings(&mut tx, owner.id, JobStatus::Succeeded).await?;
        self.publish(
            tx,
            Change::Published {
                name,
                version,
                model,
            },
        )
        .await?;
        Ok(version)
    }

    /// Ends or sets aside a job without a version, with what it last told, in one transaction.
    ///
    /// Errors: the job is no longer this attempt's.
    pub async fn release(
        &self,
        owner: Owner,
        to: JobStatus,
        progress: &Progress,
        error: Option<JobError>,
        now: &Timestamp,
    ) -> Result<(), Error> {
        let contents = self.contents_of(progress).await?;
        let mut tx = self.begin().await?;
        write_progress(&mut tx, owner, (progress, contents), now).await?;
        leave(&mut tx, owner, to, error, now).await?;
        if to.is_final() {
            drop_leavings(&mut tx, owner.id, to).await?;
        }
        self.commit(tx).await
    }
}

impl Store {
    /// The bytes of the checkpoints, written ahead where they are many.
    async fn contents_of<'a>(&self, progress: &'a Progress) -> Result<Vec<Content<'a>>, Error> {
        let mut contents = Vec::with_capacity(progress.checkpoints.len());
        for checkpoint in &progress.checkpoints {
            contents.push(self.content(&checkpoint.bytes).await?);
        }
        Ok(contents)
    }
}

/// Moves an owned job out of `running`.
async fn leave(
    tx: &mut Tx,
    owner: Owner,
    to: JobStatus,
    error: Option<JobError>,
    now: &Timestamp,
) -> Result<(), Error> {
    assert!(
        JobStatus::Running.may_become(to),
        "a runner moves jobs along the table only"
    );
    let error = error
        .map(|error| serde_json::to_string(&error))
        .transpose()?;
    let left = sqlx::query(
        "UPDATE jobs SET status = $3, error = $4, updated_at = $5, finished_at = $6, requested = NULL,
         estimated_finish_at = NULL WHERE id = $1 AND attempt = $2 AND status = 'running'",
    )
    .bind(owner.id.to_string())
    .bind(owner.attempt as i64)
    .bind(to.name())
    .bind(error)
    .bind(now.as_str())
    .bind(to.is_final().then(|| now.as_str()))
    .execute(&mut **tx)
    .await?;
    if left.rows_affected() != 1 {
        return Err(Error::Fenced);
    }
    tell_status(tx, &owner.id.to_string(), now).await
}

/// Sets a job back to its last checkpoint; the epoch of that.
pub(crate) async fn set_back(tx: &mut Tx, id: Uuid) -> Result<u64, Error> {
    let epoch: Option<i64> =
        sqlx::query_scalar("SELECT MAX(epoch) FROM checkpoints WHERE job_id = $1")
            .bind(id.to_string())
            .fetch_one(&mut **tx)
            .await?;
    let epoch = epoch.unwrap_or(0) as u64;
    rewind(tx, id, epoch).await?;
    Ok(epoch)
}

/// Sets a job back to an epoch: the history beyond it is dropped, and the figures shown are those of that epoch.
async fn rewind(tx: &mut Tx, id: Uuid, epoch: u64) -> Result<(), Error> {
    sqlx::query("DELETE FROM history WHERE job_id = $1 AND epoch > $2")
        .bind(id.to_string())
        .bind(epoch as i64)
        .execute(&mut **tx)
        .await?;
    let metrics = match metrics_of(tx, id, epoch).await {
        Err(error) if error.is_damage() => {
            tracing::error!(job = %id, epoch, %error, "a job goes on without the figures of its last epoch");
            JobMetrics::default()
        }
        read => read?.unwrap_or_default(),
    };
    sqlx::query(
        "UPDATE jobs SET epoch = $2, metrics = $3, samples_per_second = NULL, estimated_finish_at = NULL
         WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(epoch as i64)
    .bind(serde_json::to_string(&metrics)?)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Fails a job whose row this program cannot read.
async fn fail_unreadable(
    tx: &mut Tx,
    id: String,
    error: &Error,
    now: &Timestamp,
) -> Result<(), Error> {
    tracing::error!(job = id, %error, "a job cannot be read and fails");
    let error = JobError {
        code: "unreadable_job".to_owned(),
        detail: "what is stored of the job cannot be read by this program".to_owned(),
        epoch: None,
        step: None,
    };
    sqlx::query(
        "UPDATE jobs SET status = 'failed', error = $2, metrics = $3, updated_at = $4, finished_at = $4
         WHERE id = $1 AND status = 'running'",
    )
    .bind(&id)
    .bind(serde_json::to_string(&error)?)
    .bind(serde_json::to_string(&JobMetrics::default())?)
    .bind(now.as_str())
    .execute(&mut **tx)
    .await?;
    tell_status(tx, &id, now).await
}

async fn write_progress(
    tx: &mut Tx,
    owner: Owner,
    (progress, contents): (&Progress, Vec<Content<'_>>),
    now: &Timestamp,
) -> Result<(), Error> {
    let Progress {
        rows,
        fold_epochs,
        checkpoints,
        samples_per_second,
        estimated_finish_at,
    } = progress;
    let last = rows.last();
    let metrics = last.map(|row| JobMetrics {
        train: Some(row.train),
        validation: row.validation,
    });
    let metrics = metrics
        .map(|metrics| serde_json::to_string(&metrics))
        .transpose()?;
    let updated = sqlx::query(
        "UPDATE jobs SET epoch = COALESCE($3, epoch), metrics = COALESCE($4, metrics),
         samples_per_second = COALESCE($5, samples_per_second), estimated_finish_at = COALESCE($6, estimated_finish_at), updated_at = $7,
         fold_epochs = COALESCE($8, fold_epochs)
         WHERE id = $1 AND attempt = $2 AND status = 'running'",
    )
    .bind(owner.id.to_string())
    .bind(owner.attempt as i64)
    .bind(last.map(|row| row.epoch as i64))
    .bind(metrics)
    .bind(samples_per_second)
    .bind(estimated_finish_at.as_ref().map(Timestamp::as_str))
    .bind(now.as_str())
    .bind(fold_epochs.map(|epochs| epochs as i64))
    .execute(&mut **tx)
    .await?;
    if updated.rows_affected() != 1 {
        return Err(Error::Fenced);
    }
    insert_history(tx, owner.id, rows).await?;
    if let Some(row) = last {
        let newest = EventData::Epoch(row.clone());
        tell(tx, &owner.id.to_string(), &newest, now).await?;
    }
    for checkpoint in checkpoints.iter().zip(contents) {
        insert_checkpoint(tx, owner.id, checkpoint, now).await?;
    }
    Ok(())
}
