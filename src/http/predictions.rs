//! Predictions: rows in, outputs out, in the table's own terms where the model was trained on one.

use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::http::App;
use crate::http::answer::json;
use crate::http::batches;
use crate::http::body::{Body, JSON, media_type};
use crate::http::format::{CSV, TableOptions};
use crate::http::path::Path;
use crate::http::problem::{INVALID_SPEC, Problem};
use crate::http::query::Query;
use crate::http::versions::version_name;
use crate::model::columns::Instance;
use crate::model::{InputRows, Outputs, Prediction, Rows, given};
use crate::serve::{Question, VersionName};

/// How to send rows.
const HINT: &str =
    "use curl --json, or -H 'Content-Type: text/csv' --data-binary @FILE for rows of CSV";

/// What to predict: `inputs` or `instances`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Predict {
    #[serde(default, deserialize_with = "given")]
    inputs: Option<Rows>,
    #[serde(default, deserialize_with = "given")]
    instances: Option<Vec<Instance>>,
    #[serde(default, deserialize_with = "given")]
    top_k: Option<u64>,
}

/// What is predicted.
#[derive(Serialize)]
struct Predicted {
    model: String,
    version: u64,
    outputs: Outputs,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<Vec<Prediction>>,
}

impl Predict {
    /// What is asked. Errors: neither or both of `inputs` and `instances`.
    pub(crate) fn question(self) -> Result<Question, Problem> {
        Ok(Question {
            rows: input_rows(self.inputs, self.instances)?,
            top_k: self.top_k,
        })
    }
}

/// The rows of a body that has one of `inputs` and `instances`.
///
/// Errors: it has neither or both.
pub(crate) fn input_rows(
    inputs: Option<Rows>,
    instances: Option<Vec<Instance>>,
) -> Result<InputRows, Problem> {
    match (inputs, instances) {
        (Some(inputs), None) => Ok(InputRows::Inputs(inputs)),
        (None, Some(instances)) => Ok(InputRows::Instances(instances)),
        _ => Err(Problem::violation(
            INVALID_SPEC,
            "",
            "the body must have either inputs or instances",
        )),
    }
}

/// `POST /v1/models/{name}/predict`
pub(crate) async fn predict(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(options): Query<TableOptions>,
    request: Request,
) -> Result<Response, Problem> {
    answer(&app, (name, &VersionName::Latest), &options, request).await
}

/// `POST /v1/models/{name}/versions/{version}/predict`
pub(crate) async fn predict_version(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
    Query(options): Query<TableOptions>,
    request: Request,
) -> Result<Response, Problem> {
    answer(&app, (name, &version_name(&version)), &options, request).await
}

async fn answer(
    app: &App,
    (model, version): (String, &VersionName),
    options: &TableOptions,
    request: Request,
) -> Result<Response, Problem> {
    let media_type = media_type(request.headers(), &[JSON, CSV], HINT)?;
    if media_type == CSV {
        let (parts, body) = request.into_parts();
        let body = (body, options.csv());
        return batches::predict(app, (&model, version), &parts.headers, body).await;
    }
    options.refuse_beside(media_type)?;
    let Body(body, _room) = Body::<Predict>::from_request(request, app).await?;
    let question = body.question()?;
    let (version, answer) = app.serve.predict(&model, version, question).await?;
    json(&app.memory, answer.numbers as usize, move || Predicted {
        model,
        version,
        outputs: answer.outputs,
        predictions: answer.predictions,
    })
    .await
}
