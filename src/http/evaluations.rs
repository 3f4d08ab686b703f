//! Evaluations: every figure of a version on rows or on a dataset.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::http::App;
use crate::http::body::Body;
use crate::http::path::Path;
use crate::http::problem::Problem;
use crate::http::versions::version_name;
use crate::train::{EvaluationSpec, Figures};

/// The figures of a version.
#[derive(Serialize)]
pub(crate) struct Evaluation {
    model: String,
    version: u64,
    rows: usize,
    metrics: Figures,
}

/// `POST /v1/models/{name}/versions/{version}/evaluate`
pub(crate) async fn evaluate(
    State(app): State<App>,
    Path((model, version)): Path<(String, String)>,
    Body(spec, _room): Body<EvaluationSpec>,
) -> Result<Json<Evaluation>, Problem> {
    let version = version_name(&version);
    let evaluated = app.serve.evaluate(&model, &version, spec).await?;
    Ok(Json(Evaluation {
        model,
        version: evaluated.version,
        rows: evaluated.rows,
        metrics: evaluated.figures,
    }))
}
