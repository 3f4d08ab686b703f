//! A job's event log: written in the transactions that do what it tells, and read after any of its events.

use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::sync::watch;
use uuid::Uuid;

use crate::store::jobs::parse_status;
use crate::store::{Error, HistoryRow, JobError, JobStatus, Page, Store, Timestamp, Tx, seal};
use crate::train::Warning;

/// An event of a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Its number in the job's log, from 1.
    pub id: u64,
    /// When it happened.
    pub created_at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub data: EventData,
}

/// What happened to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "most are epochs")]
pub enum EventData {
    /// It moved.
    Status {
        /// Where it now stands.
        status: JobStatus,
        /// How often it was started.
        attempt: u64,
        /// The version that it published.
        version: Option<u64>,
        /// Why it failed.
        error: Option<JobError>,
    },
    /// Epochs were stored, of which this is the newest.
    Epoch(HistoryRow),
    /// A checkpoint was stored.
    Checkpoint {
        /// Epochs finished.
        epoch: u64,
        /// Steps taken in the epoch after that.
        step: u64,
    },
    /// Something that its user should know.
    Warning {
        /// A stable word.
        code: String,
        /// A sentence.
        detail: String,
        /// The epoch that the job was set back to, where it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<u64>,
    },
}

impl EventData {
    /// The word for its type.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Epoch(_) => "epoch",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Warning { .. } => "warning",
        }
    }

    /// The warning that a job was set back to an epoch.
    pub(crate) fn set_back(code: &str, cause: &str, epoch: u64) -> Self {
        Self::Warning {
            code: code.to_owned(),
            detail: format!("{cause}; epochs after {epoch} are made again"),
            epoch: Some(epoch),
        }
    }

    /// A warning of what the job trains on.
    pub(crate) fn of_data(warning: &Warning) -> Self {
        Self::Warning {
            code: warning.code.to_owned(),
            detail: warning.detail.clone(),
            epoch: None,
        }
    }
}

/// Adds an event to a job's log inside a transaction.
pub(crate) async fn tell(
    tx: &mut Tx,
    id: &str,
    event: &EventData,
    now: &Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO events (job_id, id, created_at, event)
         SELECT $1, COALESCE(MAX(id), 0) + 1, $2, $3 FROM events WHERE job_id = $1",
    )
    .bind(id)
    .bind(now.as_str())
    .bind(serde_json::to_string(event)?)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Tells the status that a transaction has given to a job. To be called after every move.
pub(crate) async fn tell_status(tx: &mut Tx, id: &str, now: &Timestamp) -> Result<(), Error> {
    let (status, attempt, version, error): (String, i64, Option<i64>, Option<String>) =
        sqlx::query_as("SELECT status, attempt, version, error FROM jobs WHERE id = $1")
            .bind(id)
            .fetch_one(&mut **tx)
            .await?;
    let event = EventData::Status {
        status: parse_status(&status)?,
        attempt: attempt as u64,
        version: version.map(|version| version as u64),
        error: error.as_deref().map(serde_json::from_str).transpose()?,
    };
    tell(tx, id, &event, now).await
}

impl Store {
    /// A job's events after one, oldest first, and the status that it had before they were read: where that is final,
    /// there will be no others.
    ///
    /// Errors: there is no such job.
    pub async fn events(
        &self,
        id: Uuid,
        after: u64,
        limit: u32,
    ) -> Result<(Page<Event>, JobStatus), Error> {
        let _guard = self.reading_catalogue().await;
        let status: Option<String> = sqlx::query_scalar("SELECT status FROM jobs WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.reader())
            .await?;
        let status = parse_status(&status.ok_or_else(|| Error::not_found("job", id))?)?;
        let rows =
            sqlx::query("SELECT * FROM events WHERE job_id = $1 AND id > $2 ORDER BY id LIMIT $3")
                .bind(id.to_string())
                .bind(after as i64)
                .bind(i64::from(limit) + 1)
                .fetch_all(self.reader())
                .await?;
        Ok((Page::readable(rows, limit, "event", event_row), status))
    }

    /// Changes after each commit that may have added events, of whatever job.
    pub fn told(&self) -> watch::Receiver<u64> {
        self.inner.told.subscribe()
    }
}

fn event_row(row: &SqliteRow) -> Result<Event, Error> {
    seal::check(row, "events", || {
        let (job, id) = (row.try_get("job_id"), row.try_get("id"));
        format!("event {} of job {}", id.unwrap_or(0), job.unwrap_or("?"))
    })?;
    Ok(Event {
        id: row.try_get::<i64, _>("id")? as u64,
        created_at: Timestamp::stored(row.try_get("created_at")?),
        data: serde_json::from_str(row.try_get("event")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::opening::options;

    #[tokio::test]
    async fn the_log_of_a_job_of_an_older_program_begins_with_where_the_job_stands() {
        let directory = tempfile::tempdir().expect("a directory");
        let pool = sqlx::SqlitePool::connect_with(options(directory.path()));
        let pool = pool.await.expect("a database");
        let mut older = sqlx::migrate!("migrations/sqlite");
        let before = older.iter().filter(|migration| migration.version < 2);
        older.migrations = before.cloned().collect::<Vec<_>>().into();
        older.run(&pool).await.expect("the schema of 0.1.0");
        let (id, at) = (Uuid::now_v7(), "2026-11-23T22:55:01.204Z");
        sqlx::query(
            "INSERT INTO jobs (id, model, status, attempt, base_version, spec, epoch, epochs, metrics, error, metadata,
             created_at, updated_at) VALUES ($1, 'xor', 'failed', 2, 1, '{}', 0, 1, '{}', $2, '{}', $3, $3)",
        )
        .bind(id.to_string())
        .bind("{\"code\":\"diverged\",\"detail\":\"so it did\"}")
        .bind(at)
        .execute(&pool)
        .await
        .expect("a job");
        pool.close().await;

        let store = Store::open(directory.path()).await.expect("opens");
        let (page, status) = store.events(id, 0, 10).await.expect("a log");
        let error = JobError {
            code: "diverged".to_owned(),
            detail: "so it did".to_owned(),
            epoch: None,
            step: None,
        };
        let event = Event {
            id: 1,
            created_at: Timestamp::stored(at.to_owned()),
            data: EventData::Status {
                status: JobStatus::Failed,
                attempt: 2,
                version: None,
                error: Some(error),
            },
        };
        assert_eq!((page.data, status), (vec![event], JobStatus::Failed));
    }
}
