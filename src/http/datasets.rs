//! Datasets: listed, shown with their revisions, summed up and deleted.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::data::{self, Summarizer};
use crate::http::App;
use crate::http::path::Path;
use crate::http::problem::{INVALID_QUERY, Problem};
use crate::http::query::{FromQuery, Parameters, Query};
use crate::machine::Use;
use crate::model::{Violations, known};
use crate::store::{self, Dataset, DatasetRevision, Page, PageQuery, Store};

/// What is in each column of a dataset, and what may spoil what is trained on it.
#[derive(Serialize)]
pub(crate) struct Summary {
    name: String,
    rows: u64,
    #[serde(flatten)]
    table: data::Summary,
}

/// What a summary is to be about.
pub(crate) struct SummaryQuery {
    target: Option<String>,
}

impl FromQuery for SummaryQuery {
    fn read(parameters: &mut Parameters) -> Self {
        Self {
            target: parameters.text("target"),
        }
    }
}

impl SummaryQuery {
    /// The target, where it is named.
    ///
    /// Errors: the dataset has no such column.
    fn target(self, dataset: &Dataset) -> Result<Option<String>, Problem> {
        let Some(target) = self.target else {
            return Ok(None);
        };
        let names: Vec<_> = dataset.columns.iter().map(|column| &column.name).collect();
        if names.contains(&&target) {
            return Ok(Some(target));
        }
        let known = known(&target, &names);
        let detail = format!("must name a column of the dataset, got {target:?}: {known}");
        let mut violations = Violations::default();
        violations.add("/target", detail);
        Err(Problem::violations(INVALID_QUERY, violations.into_vec()))
    }
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
    Query(query): Query<SummaryQuery>,
) -> Result<Json<Summary>, Problem> {
    let dataset = app.store.dataset(&name).await?;
    let target = query.target(&dataset)?;
    // A column and the target, and a hash of each row.
    let bytes = dataset.rows.saturating_mul(48) + 3 * dataset.word_bytes();
    let _room = app.memory.try_reserve(Use::Requests, bytes)?;
    let table = summarized(&app.store, &dataset, target).await?;
    Ok(Json(Summary {
        name,
        rows: dataset.rows,
        table,
    }))
}

/// `GET /v1/datasets/{name}/revisions`
pub(crate) async fn revisions(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<DatasetRevision>>, Problem> {
    Ok(Json(app.store.dataset_revisions(&name, &page).await?))
}

/// `DELETE /v1/datasets/{name}`
pub(crate) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    app.store.delete_dataset(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads and sums up the columns one after the other, so that no more than one is in memory beside the target.
async fn summarized(
    store: &Store,
    dataset: &Dataset,
    target: Option<String>,
) -> Result<data::Summary, store::Error> {
    let target = match target {
        Some(target) => store
            .dataset_columns(&dataset.name, &dataset.digest, &[target])
            .await?
            .pop(),
        None => None,
    };
    let mut summarizer = Summarizer::new(target.as_ref());
    drop(target);
    for column in &dataset.columns {
        let name = std::slice::from_ref(&column.name);
        let read = store
            .dataset_columns(&dataset.name, &dataset.digest, name)
            .await?;
        let added = tokio::task::spawn_blocking(move || {
            for column in &read {
                summarizer.add(column);
            }
            summarizer
        });
        summarizer = added.await.expect("a summary does not panic");
    }
    let finished = tokio::task::spawn_blocking(move || summarizer.finish());
    Ok(finished.await.expect("a summary does not panic"))
}
