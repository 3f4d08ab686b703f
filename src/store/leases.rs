//! Leases: how it is told that nobody runs a job any longer, and what becomes of it then.
//!
//! Whoever runs a job counts its beat up. No clock is compared: who sees a beat stand still for as long as a lease, by a clock of its
//! own that only goes forward, takes the job over. The attempt fences the one who ran it: none of its writes finds its row.

use sqlx::Row;

use crate::store::events::{EventData, tell, tell_status};
use crate::store::jobs::{drop_leavings, parse_id, parse_status};
use crate::store::page::ids;
use crate::store::runs::set_back;
use crate::store::{Error, JobError, JobStatus, Owner, Store, Timestamp, Tx};

/// A running job: who owns it, and its beat.
pub type Beat = (Owner, i64);

impl Store {
    /// Takes up the jobs that a process left running: puts them back into the queue, or where their users asked them to be. One
    /// whose process has ended `most` times in a row without a new checkpoint fails.
    ///
    /// Returns how many. To be called once, before any job is claimed.
    pub async fn take_up(&self, most: u64, now: &Timestamp) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        let left = sqlx::query_scalar("SELECT id FROM jobs WHERE status = 'running'")
            .fetch_all(&mut *tx)
            .await?;
        let left = ids("job", &left);
        for id in &left {
            abandon(&mut tx, &id.to_string(), most, now).await?;
        }
        tx.leaves_something();
        self.commit(tx).await?;
        Ok(left.len() as u64)
    }

    /// Counts the beats of running jobs up, for those that are still owned.
    pub async fn beat(&self, owners: &[Owner]) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        for owner in owners {
            sqlx::query("UPDATE jobs SET beat = beat + 1 WHERE id = $1 AND attempt = $2 AND status = 'running'")
                .bind(owner.id.to_string())
                .bind(owner.attempt as i64)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }

    /// The beats of all running jobs.
    pub async fn beats(&self) -> Result<Vec<Beat>, Error> {
        let rows = sqlx::query("SELECT id, attempt, beat FROM jobs WHERE status = 'running'")
            .fetch_all(self.reader())
            .await?;
        let beat = |row: &sqlx::sqlite::SqliteRow| {
            let (id, attempt): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
            let id = parse_id(id)?;
            let attempt = attempt as u64;
            Ok((Owner { id, attempt }, row.try_get(2)?))
        };
        rows.iter().map(beat).collect()
    }

    /// Takes up a job whose beat stood still, as [`Store::take_up`] does. Returns whether it still does.
    pub async fn take_over(
        &self,
        (owner, beat): Beat,
        most: u64,
        now: &Timestamp,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let id = owner.id.to_string();
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM jobs WHERE id = $1 AND attempt = $2 AND beat = $3 AND status = 'running'",
        )
        .bind(&id)
        .bind(owner.attempt as i64)
        .bind(beat)
        .fetch_optional(&mut *tx)
        .await?;
        if found.is_none() {
            return Ok(false);
        }
        abandon(&mut tx, &id, most, now).await?;
        tx.leaves_something();
        self.commit(tx).await?;
        Ok(true)
    }
}

/// Moves a running job that nobody runs to where it belongs.
async fn abandon(tx: &mut Tx, label: &str, most: u64, now: &Timestamp) -> Result<(), Error> {
    let id = parse_id(label)?;
    let (requested, crashes): (Option<String>, i64) = sqlx::query_as(
        "UPDATE jobs SET crashes = crashes + 1 WHERE id = $1 RETURNING requested, crashes",
    )
    .bind(label)
    .fetch_one(&mut **tx)
    .await?;
    let (to, error) = match requested {
        Some(requested) => (parse_status(&requested)?, None),
        None if crashes as u64 >= most => (JobStatus::Failed, Some(repeatedly(crashes))),
        None => (JobStatus::Queued, None),
    };
    assert!(
        JobStatus::Running.may_become(to),
        "jobs move along the table only"
    );
    sqlx::query(
        "UPDATE jobs SET status = $2, error = $3, requested = NULL, updated_at = $4, finished_at = $5
         WHERE id = $1 AND status = 'running'",
    )
    .bind(label)
    .bind(to.name())
    .bind(error.map(|error| serde_json::to_string(&error)).transpose()?)
    .bind(now.as_str())
    .bind(to.is_final().then(|| now.as_str()))
    .execute(&mut **tx)
    .await?;
    let epoch = set_back(tx, id).await?;
    if to.is_final() {
        drop_leavings(tx, id, to).await?;
    } else {
        let cause = "the process that ran the job ended without a checkpoint of where it stood";
        let warning = EventData::set_back("process_ended", cause, epoch);
        tell(tx, label, &warning, now).await?;
    }
    tell_status(tx, label, now).await
}

/// Why a job or batch prediction is not tried again.
pub(crate) fn repeatedly(crashes: i64) -> JobError {
    let detail = format!(
        "the process that ran it ended {crashes} times in a row without a new checkpoint between: look whether it has the memory that this takes, then submit it again"
    );
    JobError {
        code: "crashed_repeatedly".to_owned(),
        detail,
        epoch: None,
        step: None,
    }
}

/// Errors: the job is no longer this attempt's.
pub(crate) async fn check_owner(tx: &mut Tx, owner: Owner) -> Result<(), Error> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM jobs WHERE id = $1 AND attempt = $2 AND status = 'running'",
    )
    .bind(owner.id.to_string())
    .bind(owner.attempt as i64)
    .fetch_optional(&mut **tx)
    .await?;
    found.map(|_| ()).ok_or(Error::Fenced)
}
