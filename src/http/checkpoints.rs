//! Checkpoints: predicted with, and published as versions.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use crate::http::App;
use crate::http::answer::json;
use crate::http::body::Body;
use crate::http::jobs::job_id;
use crate::http::path::Path;
use crate::http::predictions::Predict;
use crate::http::problem::Problem;
use crate::model::{Outputs, Prediction};
use crate::store::Timestamp;

/// What a checkpoint predicts.
#[derive(Serialize)]
struct Predicted {
    job: Uuid,
    epoch: u64,
    outputs: Outputs,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<Vec<Prediction>>,
}

/// `POST /v1/jobs/{id}/checkpoints/{epoch}/predict`
pub(crate) async fn predict(
    State(app): State<App>,
    Path((id, epoch)): Path<(String, String)>,
    Body(body): Body<Predict>,
) -> Result<Response, Problem> {
    let (job, question) = (job_id(&id)?, body.question()?);
    let (epoch, answer) = app.serve.predict_checkpoint(job, &epoch, question).await?;
    json(answer.numbers as usize, move || Predicted {
        job,
        epoch,
        outputs: answer.outputs,
        predictions: answer.predictions,
    })
    .await
}

/// `POST /v1/jobs/{id}/checkpoints/{epoch}/publish`
pub(crate) async fn publish(
    State(app): State<App>,
    Path((id, epoch)): Path<(String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let (id, now) = (job_id(&id)?, Timestamp::now());
    let version = app.store.publish_checkpoint(id, &epoch, &now).await?;
    let location = format!("/v1/models/{}/versions/{}", version.model, version.version);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(version),
    ))
}
