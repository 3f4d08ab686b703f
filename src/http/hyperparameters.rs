//! What models and jobs can be made of: every choice with its parameters, from the tables that check requests.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::http::App;
use crate::nn::{
    Activation, Hyperparameter, Initializer, LayerRule, Loss, Normalization, OptimizerSpec,
    Regularization, Schedule, Setting,
};
use crate::train::{Metric, Needs};

/// Every choice.
#[derive(Serialize)]
pub(crate) struct Hyperparameters {
    activations: Vec<Choice>,
    normalizations: Vec<Choice>,
    losses: Vec<Choice>,
    initializers: Vec<Choice>,
    optimizers: Vec<Choice>,
    schedules: Vec<Choice>,
    metrics: Vec<MetricChoice>,
    regularization: Vec<Parameter>,
    layers: Vec<Parameter>,
}

/// A choice by name, and its parameters.
#[derive(Serialize)]
struct Choice {
    #[serde(rename = "type")]
    name: &'static str,
    parameters: Vec<Parameter>,
}

/// A metric by name, and its parameters.
#[derive(Serialize)]
struct MetricChoice {
    #[serde(flatten)]
    choice: Choice,
    meaning: &'static str,
    larger_is_better: bool,
    needs: Needs,
}

/// A parameter.
#[derive(Serialize)]
struct Parameter {
    name: &'static str,
    kind: &'static str,
    required: bool,
    /// Null where it must be given.
    default: Option<Setting>,
    /// Null where it is no number.
    range: Option<String>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    meaning: &'static str,
}

/// `GET /v1/hyperparameters`
pub(crate) async fn list(State(app): State<App>) -> Json<Hyperparameters> {
    let most_classes = app.limits.model.units as usize;
    Json(Hyperparameters {
        activations: Activation::ALL
            .map(|choice| described(choice.name(), choice.hyperparameters()))
            .into(),
        normalizations: Normalization::ALL
            .map(|choice| described(choice.name(), choice.hyperparameters()))
            .into(),
        losses: Loss::ALL
            .map(|choice| described(choice.name(), choice.hyperparameters()))
            .into(),
        initializers: Initializer::ALL
            .map(|choice| described(choice.name(), choice.hyperparameters()))
            .into(),
        optimizers: OptimizerSpec::all()
            .map(|choice| described(choice.name(), choice.hyperparameters()))
            .into(),
        schedules: Schedule::all()
            .map(|choice| described(choice.name(), choice.hyperparameters()))
            .into(),
        metrics: Metric::ALL.map(|one| metric(one, most_classes)).into(),
        regularization: parameters(Regularization::default().hyperparameters()),
        layers: parameters(LayerRule::default().hyperparameters()),
    })
}

fn metric(of: Metric, most_classes: usize) -> MetricChoice {
    MetricChoice {
        choice: described(of.name(), of.hyperparameters(most_classes)),
        meaning: of.meaning(),
        larger_is_better: of.is_larger_better(),
        needs: of.needs(),
    }
}

fn described(name: &'static str, of: Vec<Hyperparameter>) -> Choice {
    let parameters = parameters(of);
    Choice { name, parameters }
}

fn parameters(of: Vec<Hyperparameter>) -> Vec<Parameter> {
    of.into_iter().map(parameter).collect()
}

fn parameter(of: Hyperparameter) -> Parameter {
    let kind = match &of.setting {
        Setting::Number(_) | Setting::Optional(_) => "number",
        Setting::Whole(_) => "integer",
        Setting::Flag(_) => "boolean",
        Setting::Word(_) => "string",
        Setting::List(_) | Setting::Numbers(_) => "array",
    };
    let range = (!matches!(of.setting, Setting::Flag(_) | Setting::Word(_))).then_some(of.range);
    Parameter {
        name: of.name,
        kind,
        required: of.required,
        default: (!of.required).then_some(of.setting),
        range: range.map(|range| range.to_string()),
        minimum: range.map(|range| range.least),
        maximum: range.map(|range| range.most),
        meaning: of.meaning,
    }
}
