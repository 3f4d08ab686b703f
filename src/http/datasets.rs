//! Datasets: listed, shown, summed up and deleted.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::data::{ColumnSummary, summarize};
use crate::http::App;
use crate::http::path::Path;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::store::{Dataset, Page, PageQuery};

/// What is in each column of a dataset.
#[derive(Serialize)]
pub(crate) struct Summary {
    name: String,
    rows: u64,
    columns: Vec<ColumnSummary>,
}

/// `GET /v1/datasets`
pub(crate) async fn list(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Dataset>>, Problem> {
    Ok(Json(app.store.datasets(&page).await?))
}

/// `GET /v1/datasets/{name}`
pub(crate) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Dataset>, Problem> {
    Ok(Json(app.store.dataset(&name).await?))
}

/// `GET /v1/datasets/{name}/summary`
pub(crate) async fn summary(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Summary>, Problem> {
    let Dataset { rows, columns, .. } = app.store.dataset(&name).await?;
    let mut summaries = Vec::with_capacity(columns.len());
    for column in columns {
        let column = app
            .store
            .dataset_columns(&name, &[column.name])
            .await?
            .remove(0);
        let summary = tokio::task::spawn_blocking(move || summarize(&column)).await;
        summaries.push(summary.expect("a summary does not panic"));
    }
    Ok(Json(Summary {
        name,
        rows,
        columns: summaries,
    }))
}

/// `DELETE /v1/datasets/{name}`
pub(crate) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    app.store.delete_dataset(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
