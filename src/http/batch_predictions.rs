//! Batch predictions: submitted, listed, shown, cancelled and deleted, and their results sent.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::try_unfold;
use serde::Serialize;
use uuid::Uuid;

use crate::data::TableFormat;
use crate::http::App;
use crate::http::format::{CSV, PARQUET};
use crate::http::idempotency::{Keyed, made};
use crate::http::jobs::known_id;
use crate::http::path::Path;
use crate::http::problem::Problem;
use crate::http::query::{FromQuery, Parameters, Query};
use crate::store::{
    Answer, BatchPrediction as Stored, Error, JobError, JobStatus, Once, Page, PageQuery,
    PredictionFilter, Store, Timestamp,
};
use crate::train::{Kept, PredictionSpec};

/// A batch prediction as it is answered.
#[derive(Serialize)]
pub(crate) struct BatchPrediction {
    id: Uuid,
    model: String,
    version: u64,
    dataset: String,
    digest: String,
    format: TableFormat,
    top_k: Option<u64>,
    keep: Vec<String>,
    status: JobStatus,
    progress: Progress,
    bytes: u64,
    error: Option<JobError>,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    metadata: BTreeMap<String, String>,
}

/// How far it is.
#[derive(Serialize)]
struct Progress {
    rows_done: u64,
    rows: u64,
    fraction: f64,
    rows_per_second: Option<f64>,
}

/// Which ones are wanted.
pub(crate) struct PredictionsQuery {
    filter: PredictionFilter,
    page: PageQuery,
}

/// The chunks of a result that are still to be sent.
struct Rest {
    store: Store,
    id: Uuid,
    next: u64,
    bytes: u64,
    /// The next chunk, where it was read before.
    read: Option<Bytes>,
}

impl FromQuery for PredictionsQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let statuses = JobStatus::NEVER_PAUSED.map(|status| (status.name(), status));
        let filter = PredictionFilter {
            status: parameters.word("status", &statuses),
            metadata: parameters.metadata(),
        };
        let page = parameters.page();
        Self { filter, page }
    }
}

impl From<Stored> for BatchPrediction {
    fn from(stored: Stored) -> Self {
        let kept = stored.spec.keep.into_iter();
        Self {
            id: stored.id,
            model: stored.model,
            version: stored.version,
            dataset: stored.dataset,
            digest: stored.digest,
            format: stored.spec.format,
            top_k: stored.spec.top_k,
            keep: kept.map(|Kept { name, .. }| name).collect(),
            status: stored.status,
            progress: Progress {
                rows_done: stored.rows_done,
                rows: stored.rows,
                fraction: stored.rows_done as f64 / stored.rows as f64,
                rows_per_second: stored.rows_per_second,
            },
            bytes: stored.bytes,
            error: stored.error,
            created_at: stored.created_at,
            started_at: stored.started_at,
            finished_at: stored.finished_at,
            metadata: stored.metadata,
        }
    }
}

/// `POST /v1/models/{name}/predictions`
pub(crate) async fn create(
    State(app): State<App>,
    Path(model): Path<String>,
    Keyed {
        body: spec,
        key,
        room: _room,
    }: Keyed<PredictionSpec>,
) -> Result<Response, Problem> {
    let once = Once {
        idempotency: key,
        answer: accepted,
    };
    let answer = app.jobs.submit_prediction(&model, spec, once).await?;
    Ok(answer.into_response())
}

fn accepted(stored: &Stored) -> Answer {
    let location = format!("/v1/models/{}/predictions/{}", stored.model, stored.id);
    let body = BatchPrediction::from(stored.clone());
    made(StatusCode::ACCEPTED, location, &body)
}

/// `GET /v1/models/{name}/predictions`
pub(crate) async fn list(
    State(app): State<App>,
    Path(model): Path<String>,
    Query(query): Query<PredictionsQuery>,
) -> Result<Json<Page<BatchPrediction>>, Problem> {
    let found = app.store.predictions(&model, &query.filter, &query.page);
    let Page { data, has_more } = found.await?;
    Ok(Json(Page {
        data: data.into_iter().map(BatchPrediction::from).collect(),
        has_more,
    }))
}

/// `GET /v1/models/{name}/predictions/{id}`
pub(crate) async fn show(
    State(app): State<App>,
    Path((model, id)): Path<(String, String)>,
) -> Result<Json<BatchPrediction>, Problem> {
    let id = prediction_id(&id)?;
    Ok(Json(app.store.prediction(&model, id).await?.into()))
}

/// `GET /v1/models/{name}/predictions/{id}/result`
pub(crate) async fn result(
    State(app): State<App>,
    Path((model, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let found = app.store.prediction(&model, prediction_id(&id)?).await?;
    let Stored { id, status, .. } = found;
    if status != JobStatus::Succeeded {
        return Err(Error::NoResult { id, status }.into());
    }
    let media_type = match found.spec.format {
        TableFormat::Csv => CSV,
        TableFormat::Parquet => PARQUET,
    };
    let rest = Rest::begin(app.store.clone(), id, found.bytes).await?;
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_LENGTH, found.bytes.to_string()),
    ];
    let body = Body::from_stream(try_unfold(rest, Rest::piece));
    Ok((headers, body).into_response())
}

/// `POST /v1/models/{name}/predictions/{id}/cancel`
pub(crate) async fn cancel(
    State(app): State<App>,
    Path((model, id)): Path<(String, String)>,
) -> Result<Json<BatchPrediction>, Problem> {
    let id = prediction_id(&id)?;
    Ok(Json(app.jobs.cancel_prediction(&model, id).await?.into()))
}

/// `DELETE /v1/models/{name}/predictions/{id}`
pub(crate) async fn delete(
    State(app): State<App>,
    Path((model, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let id = prediction_id(&id)?;
    app.store.delete_prediction(&model, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn prediction_id(text: &str) -> Result<Uuid, Problem> {
    known_id("batch prediction", text)
}

impl Rest {
    /// All chunks, of which the first is read at once: where that is damaged, there is still a status to tell it by.
    async fn begin(store: Store, id: Uuid, bytes: u64) -> Result<Self, Error> {
        let mut rest = Self {
            store,
            id,
            next: 0,
            bytes,
            read: None,
        };
        rest.read = Some(rest.chunk().await?);
        Ok(rest)
    }

    /// The next piece, and what is left after it; none at the end.
    async fn piece(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        let chunk = match self.read.take() {
            Some(chunk) => chunk,
            None if self.bytes == 0 => return Ok(None),
            None => self.chunk().await.inspect_err(|error| {
                tracing::error!(%error, "a result could not be sent to its end");
            })?,
        };
        self.bytes = self.bytes.saturating_sub(chunk.len() as u64);
        Ok(Some((chunk, self)))
    }

    async fn chunk(&mut self) -> Result<Bytes, Error> {
        let (id, chunk) = (self.id, self.next);
        self.next += 1;
        let read = self.store.prediction_chunk(id, chunk).await?;
        let status = JobStatus::Succeeded;
        let read = read.ok_or(Error::NoResult { id, status })?;
        Ok(read.into())
    }
}
