//! Models: declared, listed, shown and deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::http::App;
use crate::http::body::Body;
use crate::http::path::Path;
use crate::http::problem::{INVALID_SPEC, Problem};
use crate::http::query::Query;
use crate::model::ModelSpec;
use crate::store::{ModelRow, Page, PageQuery, Timestamp};

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
    Body(spec): Body<ModelSpec>,
) -> Result<impl IntoResponse, Problem> {
    let checked = spec.check(&app.limits.model);
    let checked = checked.map_err(|violations| Problem::violations(INVALID_SPEC, violations))?;
    let built = tokio::task::spawn_blocking(move || (Arc::new(checked.build()), checked)).await;
    let (model, checked) = built.expect("a checked spec can be built");
    let row = app
        .store
        .create_model(&checked, model, &Timestamp::now())
        .await?;
    let location = format!("/v1/models/{}", row.spec.name);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(Model::from(row)),
    ))
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
) -> Result<Json<Model>, Problem> {
    Ok(Json(app.store.model(&name).await?.into()))
}

/// `DELETE /v1/models/{name}`
pub(crate) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    app.store.delete_model(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
