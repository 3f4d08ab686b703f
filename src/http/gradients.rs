//! Gradient inspection: the seed's algorithm laid open for given rows, and its check against finite differences.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::http::App;
use crate::http::answer::bytes;
use crate::http::body::Body;
use crate::http::errors::internal;
use crate::http::path::Path;
use crate::http::predictions::input_rows;
use crate::http::problem::{Problem, TOO_LARGE};
use crate::http::versions::version_name;
use crate::model::columns::Instance;
use crate::model::{Matrix, Model, Rows, TargetRows, choice, given};
use crate::nn::{
    Activation, CheckOptions, Dtype, EmbeddingInspection, GradientCheck, LayerInspection,
    Statistics,
};
use crate::serve::{Inspected, VersionName};

/// What to inspect.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inspect {
    #[serde(default, deserialize_with = "given")]
    inputs: Option<Rows>,
    #[serde(default, deserialize_with = "given")]
    instances: Option<Vec<Instance>>,
    targets: TargetRows,
    #[serde(default, deserialize_with = "given")]
    include: Option<Vec<Include>>,
}

/// A part of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Include {
    WeightedInputs,
    Activations,
    Deltas,
    WeightGradient,
    BiasGradient,
    ScaleGradient,
    Statistics,
    InputGradient,
}

/// The gradients of a version for given rows.
#[derive(Serialize)]
struct Gradients<'a> {
    model: &'a str,
    version: u64,
    dtype: Dtype,
    loss: f64,
    layers: Vec<Layer<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    embeddings: Vec<EmbeddingAnswer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_gradient: Option<Matrix<'a, f64>>,
}

/// z, a and δ of each row, and ∂C/∂w and ∂C/∂b over all rows, of one layer.
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct Layer<'a> {
    layer: usize,
    units: usize,
    #[serde(serialize_with = "choice::serialize")]
    activation: Activation,
    #[serde(skip_serializing_if = "Option::is_none")]
    weighted_inputs: Option<Matrix<'a, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activations: Option<Matrix<'a, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deltas: Option<Matrix<'a, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_gradient: Option<Matrix<'a, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bias_gradient: Option<Vec<f64>>,
    /// None where the layer is not normalized.
    #[serde(skip_serializing_if = "Option::is_none")]
    scale_gradient: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statistics: Option<BTreeMap<&'static str, Statistics>>,
}

/// ∂C/∂E over all rows, of the vectors of one column.
#[derive(Serialize)]
struct EmbeddingAnswer<'a> {
    column: &'a str,
    categories: usize,
    dimensions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_gradient: Option<Matrix<'a, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statistics: Option<BTreeMap<&'static str, Statistics>>,
}

/// What to check.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    #[serde(default, deserialize_with = "given")]
    inputs: Option<Rows>,
    #[serde(default, deserialize_with = "given")]
    instances: Option<Vec<Instance>>,
    targets: TargetRows,
    #[serde(default = "default_epsilon")]
    epsilon: f64,
    #[serde(default = "default_sample")]
    sample: u64,
    #[serde(default)]
    seed: u64,
}

/// A gradient check as it is answered.
#[derive(Serialize)]
pub(crate) struct Checked {
    model: String,
    version: u64,
    #[serde(flatten)]
    check: GradientCheck,
}

fn default_epsilon() -> f64 {
    1e-5
}

fn default_sample() -> u64 {
    200
}

/// The relative error up to which a gradient check passes.
const TOLERANCE: f64 = 1e-6;

/// `POST /v1/models/{name}/gradients`
pub(crate) async fn inspect(
    State(app): State<App>,
    Path(name): Path<String>,
    Body(body, _room): Body<Inspect>,
) -> Result<Response, Problem> {
    answer(&app, &name, &VersionName::Latest, body).await
}

/// `POST /v1/models/{name}/versions/{version}/gradients`
pub(crate) async fn inspect_version(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
    Body(body, _room): Body<Inspect>,
) -> Result<Response, Problem> {
    answer(&app, &name, &version_name(&version), body).await
}

/// `POST /v1/models/{name}/gradient-check`
pub(crate) async fn check(
    State(app): State<App>,
    Path(name): Path<String>,
    Body(body, _room): Body<Check>,
) -> Result<Json<Checked>, Problem> {
    let options = CheckOptions {
        epsilon: body.epsilon,
        sample: usize::try_from(body.sample).unwrap_or(usize::MAX),
        seed: body.seed,
        tolerance: TOLERANCE,
    };
    let (version, check) = app
        .serve
        .check_gradients(
            &name,
            input_rows(body.inputs, body.instances)?,
            body.targets,
            options,
        )
        .await?;
    Ok(Json(Checked {
        model: name,
        version: version.number,
        check,
    }))
}

async fn answer(
    app: &App,
    name: &str,
    version: &VersionName,
    body: Inspect,
) -> Result<Response, Problem> {
    let parts = body.include;
    let include = move |part| parts.as_ref().is_none_or(|parts| parts.contains(&part));
    let model = app.serve.version(name, version).await?.model;
    let rows = input_rows(body.inputs, body.instances)?;
    let numbers = numbers(&model, rows.len() as u64, &include);
    let most = app.limits.answer_numbers;
    if numbers > most {
        let detail = format!(
            "the answer must have at most {most} numbers, got {numbers}: limit it with include"
        );
        return Err(Problem::new(TOO_LARGE, detail));
    }
    let inspected = app.serve.inspect(name, version, rows, body.targets).await?;
    // Statistics look at every parameter, however short the answer is.
    let size = numbers as usize + model.network.parameter_count();
    bytes(&app.memory, size, "application/json", move || {
        serde_json::to_vec(&gradients(&inspected, &include)).map_err(|error| internal(&error))
    })
    .await
}

fn gradients<'a>(inspected: &'a Inspected, include: &impl Fn(Include) -> bool) -> Gradients<'a> {
    let Inspected {
        version,
        inspection,
    } = inspected;
    let shape = version.model.network.shape();
    let layers = inspection.layers.iter().zip(&shape).zip(1..);
    Gradients {
        model: &version.name,
        version: version.number,
        dtype: version.model.network.dtype(),
        loss: inspection.loss,
        layers: layers
            .map(|((layer, shape), number)| layer_answer(number, shape.activation, layer, include))
            .collect(),
        embeddings: (inspection.embeddings.iter())
            .map(|embedding| embedding_answer(embedding, include))
            .collect(),
        input_gradient: include(Include::InputGradient)
            .then(|| Matrix(inspection.input_gradient.view())),
    }
}

/// How many numbers the answer will hold.
fn numbers(model: &Model, rows: u64, include: &impl Fn(Include) -> bool) -> u64 {
    let mut inputs = model.network.reads() as u64;
    let mut count = if include(Include::InputGradient) {
        rows.saturating_mul(inputs)
    } else {
        0
    };
    let per_row = [
        Include::WeightedInputs,
        Include::Activations,
        Include::Deltas,
    ];
    let per_row = per_row.into_iter().filter(|part| include(*part)).count() as u64;
    for layer in model.network.shape() {
        let units = layer.units as u64;
        count = count.saturating_add(rows.saturating_mul(units).saturating_mul(per_row));
        if include(Include::WeightGradient) {
            count = count.saturating_add(units.saturating_mul(inputs));
        }
        inputs = units;
    }
    if include(Include::WeightGradient) {
        let tables = model.header().embeddings();
        let numbers = tables
            .iter()
            .map(|table| table.categories * table.dimensions);
        count = count.saturating_add(numbers.sum::<usize>() as u64);
    }
    count
}

fn embedding_answer<'a>(
    embedding: &'a EmbeddingInspection,
    include: &impl Fn(Include) -> bool,
) -> EmbeddingAnswer<'a> {
    let gradient = embedding.weight_gradient.view();
    let (categories, dimensions) = gradient.dim();
    let statistics = || {
        let of_gradient = Statistics::of(gradient.iter().copied());
        BTreeMap::from([("weight_gradient", of_gradient)])
    };
    EmbeddingAnswer {
        column: &embedding.column,
        categories,
        dimensions,
        weight_gradient: include(Include::WeightGradient).then_some(Matrix(gradient)),
        statistics: include(Include::Statistics).then(statistics),
    }
}

fn layer_answer<'a>(
    number: usize,
    activation: Activation,
    layer: &'a LayerInspection,
    include: &impl Fn(Include) -> bool,
) -> Layer<'a> {
    let bias_gradient = layer.bias_gradient.view();
    let statistics = || {
        BTreeMap::from([
            (
                "weighted_inputs",
                Statistics::of(layer.weighted_inputs.iter().copied()),
            ),
            (
                "activations",
                Statistics::of(layer.activations.iter().copied()),
            ),
            ("deltas", Statistics::of(layer.deltas.iter().copied())),
            (
                "weight_gradient",
                Statistics::of(layer.weight_gradient.iter().copied()),
            ),
            (
                "bias_gradient",
                Statistics::of(bias_gradient.iter().copied()),
            ),
        ])
    };
    Layer {
        layer: number,
        units: bias_gradient.len(),
        activation,
        weighted_inputs: include(Include::WeightedInputs)
            .then(|| Matrix(layer.weighted_inputs.view())),
        activations: include(Include::Activations).then(|| Matrix(layer.activations.view())),
        deltas: include(Include::Deltas).then(|| Matrix(layer.deltas.view())),
        weight_gradient: include(Include::WeightGradient)
            .then(|| Matrix(layer.weight_gradient.view())),
        bias_gradient: include(Include::BiasGradient).then(|| bias_gradient.to_vec()),
        scale_gradient: (include(Include::ScaleGradient) && !layer.scale_gradient.is_empty())
            .then(|| layer.scale_gradient.to_vec()),
        statistics: include(Include::Statistics).then(statistics),
    }
}
