//! Reports in the store: what jobs came to at their ends.

use serde::Serialize;
use sqlx::Row;
use uuid::Uuid;

use crate::store::{Error, JobStatus, Store, Tx, seal};
use crate::train::FullReport;

/// What a job came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportRow {
    /// The job.
    pub job: Uuid,
    /// The version that it published.
    pub version: u64,
    /// Every figure of that version's parameters.
    #[serde(flatten)]
    pub report: FullReport,
}

/// Writes a job's report inside the transaction that publishes its version.
pub(crate) async fn insert_report(tx: &mut Tx, id: Uuid, report: &FullReport) -> Result<(), Error> {
    sqlx::query("INSERT INTO reports (job_id, report) VALUES ($1, $2)")
        .bind(id.to_string())
        .bind(serde_json::to_string(report)?)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Store {
    /// The report of a job that has succeeded.
    ///
    /// Errors: there is no such job; it has no report (yet).
    pub async fn report(&self, id: Uuid) -> Result<ReportRow, Error> {
        let job = self.job(id).await?;
        let row = sqlx::query("SELECT * FROM reports WHERE job_id = $1")
            .bind(id.to_string())
            .fetch_optional(self.reader())
            .await?;
        match (row, job.version) {
            (Some(row), Some(version)) => {
                seal::check(&row, "reports", || format!("the report of job {id}"))?;
                Ok(ReportRow {
                    job: id,
                    version,
                    report: serde_json::from_str(row.try_get("report")?)?,
                })
            }
            _ => Err(Error::NoReport {
                job: id,
                status: job.status,
                why: why(job.status),
            }),
        }
    }
}

/// Why a job in this status has no report.
fn why(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Queued | JobStatus::Running | JobStatus::Paused => {
            "it is made at the end, of the version that the job publishes"
        }
        JobStatus::Failed | JobStatus::Cancelled => "it published no version to report on",
        JobStatus::Succeeded => "it ended before there were reports: evaluate its version",
    }
}
