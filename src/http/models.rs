//! Models: declared, listed, shown and deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::http::App;
use crate::http::etag::{IfMatch, IfNoneMatch};
use crate::http::idempotency::{Keyed, made};
use crate::http::path::Path;
use crate::http::problem::{INVALID_SPEC, Problem};
use crate::http::query::Query;
use crate::machine::Use;
use crate::model::{ModelDeclaration, ModelSpec, TableView};
use crate::store::{Answer, Dataset, Error, ModelRow, Once, Page, PageQuery, Timestamp};

/// A model as it is answered.
#[derive(Serialize)]
pub(crate) struct Model {
    #[serde(flatten)]
    spec: ModelSpec,
    parameter_count: u64,
    created_at: Timestamp,
    latest_version: u64,
    aliases: BTreeMap<String, u64>,
}

impl From<ModelRow> for Model {
    fn from(row: ModelRow) -> Self {
        let ModelRow {
            spec,
            parameter_count,
            latest_version,
            created_at,
            aliases,
            ..
        } = row;
        Self {
            spec,
            parameter_count,
            created_at,
            latest_version,
            aliases,
        }
    }
}

/// `POST /v1/models`
pub(crate) async fn create(
    State(app): State<App>,
    Keyed {
        body: declaration,
        key,
        room: _room,
    }: Keyed<ModelDeclaration>,
) -> Result<Answer, Problem> {
    let table = table(&app, &declaration).await?;
    let checked = declaration.check(table.as_ref(), &app.limits.model);
    let checked = checked.map_err(|violations| Problem::violations(INVALID_SPEC, violations))?;
    // Its numbers as arrays, as tensors and as bytes, and what the database holds of those while they are stored.
    let bytes = checked.bytes().saturating_mul(4);
    let _stored = app.memory.try_reserve(Use::Requests, bytes)?;
    let built = tokio::task::spawn_blocking(move || (Arc::new(checked.build()), checked)).await;
    let (model, checked) = built.expect("a checked spec can be built");
    let once = Once {
        idempotency: key,
        answer: created,
    };
    let now = Timestamp::now();
    Ok(app.store.create_model(&checked, model, once, &now).await?)
}

/// The dataset that a model is declared from, where there is one of that name.
async fn table(app: &App, declaration: &ModelDeclaration) -> Result<Option<TableView>, Problem> {
    let Some(name) = &declaration.dataset else {
        return Ok(None);
    };
    let dataset = match app.store.dataset(name).await {
        Err(Error::NotFound { .. }) => return Ok(None),
        found => found?,
    };
    // In the table, in the declaration, in the model and in the answer.
    let of_words = dataset.word_bytes().saturating_mul(4);
    let Dataset {
        columns,
        digest,
        rows,
        ..
    } = dataset;
    let names = declaration.to_load(&columns);
    // As they are in chunks, and as they are read.
    let bytes = rows.saturating_mul(16 * names.len() as u64);
    let bytes = bytes.saturating_add(of_words);
    let _room = app.memory.try_reserve(Use::Requests, bytes)?;
    let read = app.store.dataset_columns(name, &digest, &names).await?;
    let most = app.limits.table.categories;
    let words = tokio::task::spawn_blocking(move || {
        let words = read
            .iter()
            .map(|column| column.classes(most).unwrap_or_default());
        names.into_iter().zip(words).collect()
    });
    let words = words.await.expect("classes can be counted");
    Ok(Some(TableView { columns, words }))
}

fn created(row: &ModelRow) -> Answer {
    let location = format!("/v1/models/{}", row.spec.name);
    made(StatusCode::CREATED, location, &Model::from(row.clone()))
}

/// `GET /v1/models`
pub(crate) async fn list(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Model>>, Problem> {
    let Page { data, has_more } = app.store.models(&page).await?;
    Ok(Json(Page {
        data: data.into_iter().map(Model::from).collect(),
        has_more,
    }))
}

/// `GET /v1/models/{name}`
pub(crate) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    known: IfNoneMatch,
) -> Result<Response, Problem> {
    let row = app.store.model(&name).await?;
    Ok(known.answer(row.revision, Json(Model::from(row))))
}

/// `DELETE /v1/models/{name}`
pub(crate) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    app.store.delete_model(&name, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}
