//! The routes, written in full in one table.

use std::convert::Infallible;

use axum::routing::{MethodRouter, get, post, put};
use axum::{Extension, Router, middleware};

use crate::http::body::BodyLimit;
use crate::http::{
    App, aliases, batch_predictions as batch, checkpoints, datasets, docs, evaluations, events,
    gradients, health, history, hyperparameters, jobs, metrics, models, paths, predictions,
    problem, requests, rows as shown, upload, versions,
};

/// Every operation there is. `openapi.yaml` describes the same ones; a test says so otherwise. A `bare` one takes no
/// query (so do all methods named inside it, not those after it); the others read theirs, but for the probes, who add
/// what no cache has seen.
#[rustfmt::skip]
pub(crate) fn routes(app: &App) -> Router<App> {
    let limits = &app.limits;
    let bare = |route: MethodRouter<App>| route.route_layer(middleware::from_fn(requests::without_query));
    let limited = |route, bytes, objects| {
        let slowest = limits.pace;
        limited(route, BodyLimit { bytes, objects, slowest, memory: app.memory.clone() })
    };
    let control = |route| limited(bare(route), limits.body_control, limits.body_objects);
    let rows = |route| limited(route, limits.body_rows, limits.body_objects);
    // A row may be an object, and they are in one.
    let predict = |route| limited(route, limits.body_predict, limits.predict_rows + 1);
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", bare(get(metrics::scrape)))
        .route("/problems", bare(get(problem::list)))
        .route("/problems/{slug}", bare(get(problem::explain)))
        .route("/openapi.yaml", bare(get(docs::yaml)))
        .route("/openapi.json", bare(get(docs::json)))
        .route("/docs", bare(get(docs::page)))
        .route("/docs/{file}", bare(get(docs::file)))
        .route("/v1/limits", bare(get(health::limits)))
        .route("/v1/hyperparameters", bare(get(hyperparameters::list)))
        .route("/v1/models", rows(bare(post(models::create)).get(models::list)))
        .route("/v1/models/{name}", control(get(models::show).delete(models::delete)))
        .route("/v1/models/{name}/predict", predict(post(predictions::predict)))
        .route("/v1/models/{name}/predictions", limited(bare(post(batch::create)).get(batch::list), limits.body_control, limits.body_objects))
        .route("/v1/models/{name}/predictions/{id}", bare(get(batch::show).delete(batch::delete)))
        .route("/v1/models/{name}/predictions/{id}/result", bare(get(batch::result)))
        .route("/v1/models/{name}/predictions/{id}/cancel", bare(post(batch::cancel)))
        .route("/v1/models/{name}/gradients", predict(bare(post(gradients::inspect))))
        .route("/v1/models/{name}/gradient-check", predict(bare(post(gradients::check))))
        .route("/v1/models/{name}/aliases/{alias}", control(put(aliases::set).delete(aliases::delete)))
        .route("/v1/models/{name}/versions", get(versions::list))
        .route("/v1/models/{name}/versions/{version}", bare(get(versions::show).delete(versions::delete)))
        .route("/v1/models/{name}/versions/{version}/parameters", bare(get(versions::parameters)))
        .route("/v1/models/{name}/versions/{version}/selftest", bare(get(versions::selftest)))
        .route("/v1/models/{name}/versions/{version}/predict", predict(post(predictions::predict_version)))
        .route("/v1/models/{name}/versions/{version}/gradients", predict(bare(post(gradients::inspect_version))))
        .route("/v1/models/{name}/versions/{version}/evaluate", rows(bare(post(evaluations::evaluate))))
        .route("/v1/jobs", rows(get(jobs::list).post(jobs::create)))
        .route("/v1/jobs/{id}", bare(get(jobs::show).delete(jobs::delete)))
        .route("/v1/jobs/{id}/cancel", bare(post(jobs::cancel)))
        .route("/v1/jobs/{id}/pause", bare(post(jobs::pause)))
        .route("/v1/jobs/{id}/resume", bare(post(jobs::resume)))
        .route("/v1/jobs/{id}/verify", control(post(jobs::verify)))
        .route("/v1/jobs/{id}/loss", get(history::loss))
        .route("/v1/jobs/{id}/report", bare(get(history::report)))
        .route("/v1/jobs/{id}/events", get(events::events))
        .route("/v1/jobs/{id}/gradients", get(history::gradients))
        .route("/v1/jobs/{id}/checkpoints", bare(get(history::checkpoints)))
        .route("/v1/jobs/{id}/checkpoints/{epoch}/predict", predict(bare(post(checkpoints::predict))))
        .route("/v1/jobs/{id}/checkpoints/{epoch}/publish", bare(post(checkpoints::publish)))
        .route("/v1/datasets", get(datasets::list).post(upload::create))
        .route("/v1/datasets/{name}", bare(get(datasets::show).delete(datasets::delete)))
        .route("/v1/datasets/{name}/summary", get(datasets::summary))
        .route("/v1/datasets/{name}/revisions", get(datasets::revisions))
        .route("/v1/datasets/{name}/rows", get(shown::list).post(upload::append))
        .fallback(paths::no_such_path)
        .method_not_allowed_fallback(paths::no_such_method)
}

fn limited(route: MethodRouter<App>, limit: BodyLimit) -> MethodRouter<App> {
    route.layer::<_, Infallible>(Extension(limit))
}
