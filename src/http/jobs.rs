//! Jobs: submitted, listed, shown, cancelled, paused, resumed and deleted.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use crate::http::App;
use crate::http::body::Body;
use crate::http::idempotency::{Keyed, made};
use crate::http::path::Path;
use crate::http::problem::{NOT_FOUND, Problem};
use crate::http::query::{FromQuery, Parameters, Query};
use crate::jobs::{Verification, VerificationSpec};
use crate::store::{
    Answer, Job as StoredJob, JobError, JobFilter, JobStatus, Once, Page, PageQuery, Timestamp,
};
use crate::train::{CheckedSpec, EndedBy, JobSpec, Metrics};

/// A job as it is answered.
#[derive(Serialize)]
pub(crate) struct Job {
    id: Uuid,
    model: String,
    status: JobStatus,
    waiting_for: Option<&'static str>,
    base_version: u64,
    version: Option<u64>,
    attempt: u64,
    spec: CheckedSpec,
    progress: Progress,
    metrics: JobMetrics,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    ended_by: Option<EndedBy>,
    error: Option<JobError>,
    priority: i64,
    metadata: BTreeMap<String, String>,
}

/// How far a job is.
#[derive(Serialize)]
struct Progress {
    epoch: u64,
    epochs: u64,
    fraction: f64,
    samples_per_second: Option<f64>,
    estimated_finish_at: Option<Timestamp>,
}

/// The last figures of a job.
#[derive(Serialize)]
struct JobMetrics {
    train: TrainMetrics,
    validation: Option<Metrics>,
}

/// The last training figures; a null loss before the first epoch.
#[derive(Serialize)]
#[serde(untagged)]
enum TrainMetrics {
    Known(Box<Metrics>),
    Unknown { loss: Option<f64> },
}

/// Which jobs are wanted.
pub(crate) struct JobsQuery {
    filter: JobFilter,
    page: PageQuery,
}

impl FromQuery for JobsQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let statuses = JobStatus::ALL.map(|status| (status.name(), status));
        let filter = JobFilter {
            model: parameters.text("model"),
            status: parameters.word("status", &statuses),
            metadata: parameters.metadata(),
        };
        Self {
            filter,
            page: parameters.page(),
        }
    }
}

/// Whether a job is only to be tried.
pub(crate) struct SubmitQuery {
    dry_run: Option<bool>,
}

impl FromQuery for SubmitQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let dry_run = parameters.word("dry_run", &[("true", true), ("false", false)]);
        Self { dry_run }
    }
}

impl From<StoredJob> for Job {
    fn from(job: StoredJob) -> Self {
        let epochs = job.spec.epochs_of_all_runs();
        let epoch = job.fold_epochs + job.epoch;
        let train = job.metrics.train;
        Self {
            id: job.id,
            model: job.model,
            status: job.status,
            waiting_for: None,
            base_version: job.base_version,
            version: job.version,
            attempt: job.attempt,
            progress: Progress {
                epoch,
                epochs,
                fraction: if job.status == JobStatus::Succeeded {
                    1.0
                } else {
                    epoch as f64 / epochs as f64
                },
                samples_per_second: job.samples_per_second,
                estimated_finish_at: job.estimated_finish_at,
            },
            metrics: JobMetrics {
                train: train.map_or(TrainMetrics::Unknown { loss: None }, |train| {
                    TrainMetrics::Known(Box::new(train))
                }),
                validation: job.metrics.validation,
            },
            spec: job.spec,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            ended_by: job.ended_by,
            error: job.error,
            priority: job.priority,
            metadata: job.metadata,
        }
    }
}

/// The id of a job that a path names.
pub(crate) fn job_id(text: &str) -> Result<Uuid, Problem> {
    known_id("job", text)
}

/// The id of a thing of this kind that a path names.
pub(crate) fn known_id(kind: &str, text: &str) -> Result<Uuid, Problem> {
    let id = text.parse::<Uuid>().ok();
    // One spelling for each id, so that it can be compared as text.
    id.filter(|id| id.to_string() == text).ok_or_else(|| {
        Problem::new(
            NOT_FOUND,
            format!("there is no {kind} {text:?}: ids are UUIDs, hyphenated and in lower case"),
        )
    })
}

/// `POST /v1/jobs`
pub(crate) async fn create(
    State(app): State<App>,
    Query(SubmitQuery { dry_run }): Query<SubmitQuery>,
    Keyed {
        body: spec,
        key,
        room: _room,
    }: Keyed<JobSpec>,
) -> Result<Response, Problem> {
    if dry_run == Some(true) {
        return Ok(Json(app.jobs.estimate(spec).await?).into_response());
    }
    let once = Once {
        idempotency: key,
        answer: accepted,
    };
    Ok(app.jobs.submit(spec, once).await?.into_response())
}

fn accepted(job: &StoredJob) -> Answer {
    let location = format!("/v1/jobs/{}", job.id);
    made(StatusCode::ACCEPTED, location, &Job::from(job.clone()))
}

/// `GET /v1/jobs`
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<JobsQuery>,
) -> Result<Json<Page<Job>>, Problem> {
    let Page { data, has_more } = app.store.jobs(&query.filter, &query.page).await?;
    Ok(Json(Page {
        data: data.into_iter().map(|job| shown(&app, job)).collect(),
        has_more,
    }))
}

/// `GET /v1/jobs/{id}`
pub(crate) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Job>, Problem> {
    Ok(Json(shown(&app, app.store.job(job_id(&id)?).await?)))
}

/// A job, and what it waits for where it stands still though it runs.
fn shown(app: &App, job: StoredJob) -> Job {
    Job {
        waiting_for: app.jobs.waits_for(&job),
        ..Job::from(job)
    }
}

/// `POST /v1/jobs/{id}/cancel`
pub(crate) async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Job>, Problem> {
    Ok(Json(app.jobs.cancel(job_id(&id)?).await?.into()))
}

/// `POST /v1/jobs/{id}/pause`
pub(crate) async fn pause(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Job>, Problem> {
    Ok(Json(app.jobs.pause(job_id(&id)?).await?.into()))
}

/// `POST /v1/jobs/{id}/resume`
pub(crate) async fn resume(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Job>, Problem> {
    Ok(Json(app.jobs.resume(job_id(&id)?).await?.into()))
}

/// `POST /v1/jobs/{id}/verify`
pub(crate) async fn verify(
    State(app): State<App>,
    Path(id): Path<String>,
    Body(spec, _room): Body<VerificationSpec>,
) -> Result<Json<Verification>, Problem> {
    Ok(Json(app.jobs.verify(job_id(&id)?, spec).await?))
}

/// `DELETE /v1/jobs/{id}`
pub(crate) async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    app.store.delete_job(job_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
