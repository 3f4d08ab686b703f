//! The routes, written in full in one table.

use std::convert::Infallible;

use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post, put};
use axum::{Extension, Router};

use crate::http::body::BodyLimit;
use crate::http::{
    App, aliases, checkpoints, datasets, docs, evaluations, events, gradients, health, history, jobs,
    metrics, models, predictions, problem, upload, versions,
};

/// Every operation there is. `openapi.yaml` describes the same ones; a test says so otherwise.
#[rustfmt::skip]
pub(crate) fn routes(app: &App) -> Router<App> {
    let limits = &app.limits;
    let control = |route| limited(route, limits.body_control);
    let rows = |route| limited(route, limits.body_rows);
    let predict = |route| limited(route, limits.body_predict);
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::scrape))
        .route("/problems", get(problem::list))
        .route("/problems/{slug}", get(problem::explain))
        .route("/openapi.yaml", get(docs::yaml))
        .route("/openapi.json", get(docs::json))
        .route("/docs", get(docs::page))
        .route("/docs/{file}", get(docs::file))
        .route("/v1/limits", get(health::limits))
        .route("/v1/models", rows(get(models::list).post(models::create)))
        .route("/v1/models/{name}", control(get(models::show).delete(models::delete)))
        .route("/v1/models/{name}/predict", predict(post(predictions::predict)))
        .route("/v1/models/{name}/gradients", predict(post(gradients::inspect)))
        .route("/v1/models/{name}/gradient-check", predict(post(gradients::check)))
        .route("/v1/models/{name}/aliases/{alias}", control(put(aliases::set).delete(aliases::delete)))
        .route("/v1/models/{name}/versions", get(versions::list))
        .route("/v1/models/{name}/versions/{version}", get(versions::show).delete(versions::delete))
        .route("/v1/models/{name}/versions/{version}/parameters", get(versions::parameters))
        .route("/v1/models/{name}/versions/{version}/predict", predict(post(predictions::predict_version)))
        .route("/v1/models/{name}/versions/{version}/gradients", predict(post(gradients::inspect_version)))
        .route("/v1/models/{name}/versions/{version}/evaluate", rows(post(evaluations::evaluate)))
        .route("/v1/jobs", rows(get(jobs::list).post(jobs::create)))
        .route("/v1/jobs/{id}", get(jobs::show).delete(jobs::delete))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/jobs/{id}/pause", post(jobs::pause))
        .route("/v1/jobs/{id}/resume", post(jobs::resume))
        .route("/v1/jobs/{id}/loss", get(history::loss))
        .route("/v1/jobs/{id}/events", get(events::events))
        .route("/v1/jobs/{id}/gradients", get(history::gradients))
        .route("/v1/jobs/{id}/checkpoints", get(history::checkpoints))
        .route("/v1/jobs/{id}/checkpoints/{epoch}/predict", predict(post(checkpoints::predict)))
        .route("/v1/jobs/{id}/checkpoints/{epoch}/publish", post(checkpoints::publish))
        .route("/v1/datasets", get(datasets::list).post(upload::create))
        .route("/v1/datasets/{name}", get(datasets::show).delete(datasets::delete))
        .route("/v1/datasets/{name}/summary", get(datasets::summary))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
}

fn limited(route: MethodRouter<App>, bytes: usize) -> MethodRouter<App> {
    route
        .layer::<_, Infallible>(Extension(BodyLimit(bytes)))
        .layer(DefaultBodyLimit::max(bytes))
}
