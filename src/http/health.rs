//! Health: whether the process lives, whether requests should come, and how large they may be.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::http::App;
use crate::http::problem::{NOT_READY, Problem};

#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
}

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// `GET /readyz`: requests may come: models are loaded and the database answers.
pub(crate) async fn readyz(State(app): State<App>) -> Result<Json<Health>, Problem> {
    if app.is_ready() && app.store.is_up().await {
        return Ok(Json(Health { status: "ready" }));
    }
    Err(Problem {
        retry_after_seconds: Some(1),
        ..Problem::new(
            NOT_READY,
            "the server is ending or its database does not answer",
        )
    })
}

/// `GET /v1/limits`: every limit in force.
pub(crate) async fn limits(State(app): State<App>) -> Json<serde_json::Value> {
    Json(app.limits.in_force.clone())
}
