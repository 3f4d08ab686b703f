//! Checkpoints: predicted with, and published as versions.

use axum::body::to_bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;

use crate::http::App;
use crate::http::answer::json;
use crate::http::body::Body;
use crate::http::idempotency::{IdempotencyKey, made};
use crate::http::jobs::job_id;
use crate::http::path::Path;
use crate::http::predictions::Predict;
use crate::http::problem::{INVALID_BODY, Problem};
use crate::machine::Use;
use crate::model::{Outputs, Prediction, digest};
use crate::store::{Answer, Once, Timestamp, VersionRow};

/// Bytes that are read of a body where there must be none.
const LONGEST_IGNORED: usize = 1024;

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
    Body(body, _room): Body<Predict>,
) -> Result<Response, Problem> {
    let (job, question) = (job_id(&id)?, body.question()?);
    let (epoch, answer) = app.serve.predict_checkpoint(job, &epoch, question).await?;
    json(&app.memory, answer.numbers as usize, move || Predicted {
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
    key: IdempotencyKey,
    body: axum::body::Body,
) -> Result<Answer, Problem> {
    let (id, now) = (job_id(&id)?, Timestamp::now());
    let refused = || {
        let detail = "must be left out: the path says what is published";
        Problem::violation(INVALID_BODY, "", detail)
    };
    let body = to_bytes(body, LONGEST_IGNORED)
        .await
        .map_err(|_| refused())?;
    // First of all: what the key stands for is there even where the checkpoint no longer is.
    if let Some(known) = key.known(&app).await? {
        return Ok(known.answer(&digest(&body))?);
    }
    if !body.is_empty() {
        return Err(refused());
    }
    let once = Once {
        idempotency: key.with(|| digest(&body)),
        answer: published,
    };
    // As bytes, as tensors and as arrays, and once more as a version's.
    let bytes = app.store.checkpoint_bytes(id, &epoch).await?;
    let bytes = bytes.saturating_mul(4);
    let _room = app.memory.try_reserve(Use::Requests, bytes)?;
    Ok(app.store.publish_checkpoint(id, &epoch, once, &now).await?)
}

fn published(version: &VersionRow) -> Answer {
    let location = format!("/v1/models/{}/versions/{}", version.model, version.version);
    made(StatusCode::CREATED, location, version)
}
