//! What a job has come to so far: its loss history, gradient statistics and checkpoints.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;

use crate::http::App;
use crate::http::jobs::job_id;
use crate::http::problem::{INVALID_QUERY, Problem};
use crate::http::query::{Query, limit_within};
use crate::store::{CheckpointRow, HistoryRow, Page, StatisticsRow};

/// Which epochs of the loss history are wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LossQuery {
    after: Option<u64>,
    limit: Option<u32>,
    every: Option<u64>,
}

/// Which epochs and layers of the gradient statistics are wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GradientsQuery {
    after: Option<u64>,
    limit: Option<u32>,
    layer: Option<usize>,
}

/// Epochs of a page where the query does not say.
const DEFAULT_EPOCHS: u32 = 1000;
/// Epochs of a page, at most.
const MOST_EPOCHS: u32 = 10_000;
/// Epochs that a job can have at all, and thus the largest number that makes sense here.
const LAST_EPOCH: u64 = i64::MAX as u64;

/// `GET /v1/jobs/{id}/loss`
pub(crate) async fn loss(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<LossQuery>,
) -> Result<Json<Page<HistoryRow>>, Problem> {
    let limit = limit_within(query.limit, DEFAULT_EPOCHS, MOST_EPOCHS)?;
    let every = query.every.unwrap_or(1);
    if !(1..=LAST_EPOCH).contains(&every) {
        return Err(Problem::violation(
            INVALID_QUERY,
            "/every",
            format!("must be at least 1, got {every}"),
        ));
    }
    let after = query.after.unwrap_or(0).min(LAST_EPOCH);
    Ok(Json(
        app.store.history(job_id(&id)?, after, limit, every).await?,
    ))
}

/// `GET /v1/jobs/{id}/gradients`
pub(crate) async fn gradients(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<GradientsQuery>,
) -> Result<Json<Page<StatisticsRow>>, Problem> {
    let limit = limit_within(query.limit, DEFAULT_EPOCHS, MOST_EPOCHS)?;
    let after = query.after.unwrap_or(0).min(LAST_EPOCH);
    let mut page = app.store.statistics(job_id(&id)?, after, limit).await?;
    if let Some(layer) = query.layer {
        page.data
            .iter_mut()
            .for_each(|row| row.layers.retain(|statistics| statistics.layer == layer));
    }
    Ok(Json(page))
}

/// `GET /v1/jobs/{id}/checkpoints`
pub(crate) async fn checkpoints(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Page<CheckpointRow>>, Problem> {
    let data = app.store.checkpoints(job_id(&id)?).await?;
    Ok(Json(Page {
        data,
        has_more: false,
    }))
}
