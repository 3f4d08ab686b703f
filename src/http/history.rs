//! What a job has come to so far: its loss history, gradient statistics and checkpoints.

use axum::Json;
use axum::extract::State;

use crate::http::App;
use crate::http::jobs::job_id;
use crate::http::path::Path;
use crate::http::problem::Problem;
use crate::http::query::{FromQuery, Parameters, Query};
use crate::nn::LayerStatistics;
use crate::store::{CheckpointRow, HistoryRow, Page, StatisticsRow};

/// Which epochs of the loss history are wanted.
pub(crate) struct LossQuery {
    after: u64,
    limit: u32,
    every: u64,
}

/// Which epochs and layers of the gradient statistics are wanted.
pub(crate) struct GradientsQuery {
    after: u64,
    limit: u32,
    layer: Option<u64>,
}

/// Epochs of a page where the query does not say.
const DEFAULT_EPOCHS: u64 = 1000;
/// Epochs of a page, at most.
const MOST_EPOCHS: u64 = 10_000;
/// The largest number that an epoch or a layer can have.
const LAST: u64 = i64::MAX as u64;

impl FromQuery for LossQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let (after, limit) = epochs(parameters);
        let every = parameters.number("every", 1..=LAST).unwrap_or(1);
        Self {
            after,
            limit,
            every,
        }
    }
}

impl FromQuery for GradientsQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let (after, limit) = epochs(parameters);
        let layer = parameters.number("layer", 1..=LAST);
        Self {
            after,
            limit,
            layer,
        }
    }
}

/// The epoch after which a page begins, and how many it has.
fn epochs(parameters: &mut Parameters) -> (u64, u32) {
    let after = parameters.number("after", 0..=LAST).unwrap_or(0);
    let limit = parameters.number("limit", 1..=MOST_EPOCHS);
    (after, limit.unwrap_or(DEFAULT_EPOCHS) as u32)
}

/// `GET /v1/jobs/{id}/loss`
pub(crate) async fn loss(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<LossQuery>,
) -> Result<Json<Page<HistoryRow>>, Problem> {
    let LossQuery {
        after,
        limit,
        every,
    } = query;
    let id = job_id(&id)?;
    Ok(Json(app.store.history(id, after, limit, every).await?))
}

/// `GET /v1/jobs/{id}/gradients`
pub(crate) async fn gradients(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<GradientsQuery>,
) -> Result<Json<Page<StatisticsRow>>, Problem> {
    let GradientsQuery {
        after,
        limit,
        layer,
    } = query;
    let mut page = app.store.statistics(job_id(&id)?, after, limit).await?;
    if let Some(layer) = layer {
        let wanted = |statistics: &LayerStatistics| statistics.layer as u64 == layer;
        page.data
            .iter_mut()
            .for_each(|row| row.layers.retain(wanted));
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
