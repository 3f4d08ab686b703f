//! What a job has come to so far: its loss history, gradient statistics and checkpoints, and at its end the full report.

use std::iter;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use crate::http::App;
use crate::http::answer::{accepts, bytes};
use crate::http::jobs::job_id;
use crate::http::path::Path;
use crate::http::problem::Problem;
use crate::http::query::{FromQuery, Parameters, Query};
use crate::nn::NetworkStatistics;
use crate::store::{CheckpointRow, HistoryRow, Page, ReportRow, StatisticsRow};
use crate::train::Metric;

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
    histograms: bool,
}

/// Epochs of a page where the query does not say.
const DEFAULT_EPOCHS: u64 = 1000;
/// Epochs of a page, at most.
const MOST_EPOCHS: u64 = 10_000;
const CSV: &str = "text/csv; charset=utf-8";
/// The columns of the loss history as CSV.
const CSV_COLUMNS: [&str; 4] = ["epoch", "step", "learning_rate", "seconds"];
/// Its last column.
const CSV_DIGEST: &str = "parameter_digest";
/// Figures that every table of epochs has; others only where the job asked for them.
const CSV_FIGURES: [Metric; 2] = [Metric::Loss, Metric::Accuracy];
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
        let histograms = parameters.word("histogram", &[("true", true), ("false", false)]);
        Self {
            after,
            limit,
            layer,
            histograms: histograms.unwrap_or(false),
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
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let LossQuery {
        after,
        limit,
        every,
    } = query;
    let rows = app.store.history(job_id(&id)?, after, limit, every);
    let page = rows.await?;
    let answer = if accepts(&headers, "text/csv") {
        let numbers = page.data.len() * (CSV_COLUMNS.len() + 2 * Metric::ALL.len());
        bytes(&app.memory, numbers, CSV, move || Ok(csv(&page.data))).await?
    } else {
        Json(page).into_response()
    };
    Ok(([(header::VARY, "Accept")], answer).into_response())
}

/// The rows as a table with a header; empty where there is no figure.
fn csv(rows: &[HistoryRow]) -> Vec<u8> {
    let figures: Vec<_> = Metric::ALL
        .into_iter()
        .filter(|metric| {
            CSV_FIGURES.contains(metric) || rows.iter().any(|row| metric.of(&row.train).is_some())
        })
        .collect();
    let split = |name: &str| -> Vec<String> {
        let each = figures.iter();
        each.map(|metric| format!("{name}_{}", metric.name()))
            .collect()
    };
    let columns = CSV_COLUMNS.map(str::to_owned).into_iter();
    let columns: Vec<_> = columns
        .chain(split("train"))
        .chain(split("validation"))
        .chain([CSV_DIGEST.to_owned()])
        .collect();
    let lines = rows.iter().map(|row| {
        let train = figures.iter().map(|metric| metric.of(&row.train));
        let validation = figures
            .iter()
            .map(|metric| row.validation.and_then(|validation| metric.of(&validation)));
        let numbers = [Some(row.learning_rate), Some(row.seconds)];
        let cells = numbers.into_iter().chain(train).chain(validation);
        let cells =
            cells.map(|figure| figure.map_or_else(String::new, |figure| format!("{figure:?}")));
        let digest = row.parameter_digest.map(|digest| digest.to_string());
        let cells: Vec<_> = cells.chain([digest.unwrap_or_default()]).collect();
        format!("{},{},{}\n", row.epoch, row.step, cells.join(","))
    });
    let header = format!("{}\n", columns.join(","));
    iter::once(header)
        .chain(lines)
        .collect::<String>()
        .into_bytes()
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
        histograms,
    } = query;
    let mut page = app.store.statistics(job_id(&id)?, after, limit).await?;
    for row in &mut page.data {
        let NetworkStatistics { layers, embeddings } = &mut row.statistics;
        layers.retain(|found| layer.is_none_or(|layer| found.layer as u64 == layer));
        embeddings.retain(|_| layer.is_none());
        if !histograms {
            for found in layers {
                found.histograms = None;
            }
            for found in embeddings {
                found.histograms = None;
            }
        }
    }
    Ok(Json(page))
}

/// `GET /v1/jobs/{id}/report`
pub(crate) async fn report(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<ReportRow>, Problem> {
    Ok(Json(app.store.report(job_id(&id)?).await?))
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
