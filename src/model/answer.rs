//! What a model answers: output rows in its own dtype, and predictions in the table's own terms.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView1};
use serde::{Serialize, Serializer};

use crate::model::{AnyNetwork, Matrix, Model, Targets};
use crate::nn::{Activation, Network, Scalar};

/// Output activations (N × J) in the model's dtype, so that each number is written with its shortest exact digits.
#[derive(Clone, Debug, PartialEq)]
pub enum Outputs {
    /// Of a float32 model.
    Float32(Array2<f32>),
    /// Of a float64 model.
    Float64(Array2<f64>),
}

/// One row's prediction.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Prediction {
    /// Of a categorical target, where the outputs are no probabilities: the class with the largest output.
    Class {
        /// The class.
        class: String,
    },
    /// Of a categorical target, where the outputs are probabilities.
    Probable {
        /// The most probable class.
        class: String,
        /// Its probability.
        probability: f64,
        /// The probability of every class.
        probabilities: BTreeMap<String, f64>,
    },
    /// Of labels: those that are more likely than not, and the probability of each.
    Labels {
        /// The labels whose output is at least ½, in the order of the outputs.
        labels: Vec<String>,
        /// The probability of every label.
        probabilities: BTreeMap<String, f64>,
    },
    /// Of one numeric target, in its own units.
    Number(f64),
    /// Of several numeric targets, by name.
    Numbers(BTreeMap<String, f64>),
}

impl Serialize for Outputs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Float32(rows) => Matrix(rows.view()).serialize(serializer),
            Self::Float64(rows) => Matrix(rows.view()).serialize(serializer),
        }
    }
}

impl Outputs {
    /// Whether every output is finite.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Float32(rows) => rows.iter().all(|value| value.is_finite()),
            Self::Float64(rows) => rows.iter().all(|value| value.is_finite()),
        }
    }
}

impl Model {
    /// Predictions in the table's own terms. `None` where the model was not trained on named targets.
    pub fn predictions(&self, outputs: &Outputs) -> Option<Vec<Prediction>> {
        let probable = match &self.network {
            AnyNetwork::Float32(network) => is_probable(network),
            AnyNetwork::Float64(network) => is_probable(network),
        };
        match outputs {
            Outputs::Float32(rows) => predictions(&self.targets, probable, rows),
            Outputs::Float64(rows) => predictions(&self.targets, probable, rows),
        }
    }
}

/// Whether the outputs are probabilities.
fn is_probable<T: Scalar>(network: &Network<T>) -> bool {
    let last = network.layers().last();
    last.is_some_and(|layer| layer.activation == Activation::Softmax)
}

fn predictions<T: Scalar>(
    targets: &Targets,
    probable: bool,
    rows: &Array2<T>,
) -> Option<Vec<Prediction>> {
    match targets {
        Targets::Values { names: None } | Targets::Labels { names: None } => None,
        Targets::Values { names: Some(names) } => Some(
            rows.rows()
                .into_iter()
                .map(|row| numbers(names, &row))
                .collect(),
        ),
        Targets::Classes { classes, .. } => Some(
            rows.rows()
                .into_iter()
                .map(|row| class(classes, &row, probable))
                .collect(),
        ),
        Targets::Labels { names: Some(names) } => Some(
            rows.rows()
                .into_iter()
                .map(|row| labels(names, &row))
                .collect(),
        ),
    }
}

fn numbers<T: Scalar>(names: &[String], row: &ArrayView1<T>) -> Prediction {
    if names.len() == 1 {
        return Prediction::Number(shortest(row[0]));
    }
    Prediction::Numbers(
        names
            .iter()
            .cloned()
            .zip(row.iter().map(|&value| shortest(value)))
            .collect(),
    )
}

fn labels<T: Scalar>(names: &[String], row: &ArrayView1<T>) -> Prediction {
    let each = || names.iter().cloned().zip(row.iter().copied());
    let said = each().filter(|(_, value)| *value >= T::from_f64(0.5));
    Prediction::Labels {
        labels: said.map(|(name, _)| name).collect(),
        probabilities: each()
            .map(|(name, value)| (name, shortest(value)))
            .collect(),
    }
}

fn class<T: Scalar>(classes: &[String], row: &ArrayView1<T>, probable: bool) -> Prediction {
    let best = (1..row.len()).fold(
        0,
        |best, index| if row[index] > row[best] { index } else { best },
    );
    let class = classes[best].clone();
    if !probable {
        return Prediction::Class { class };
    }
    let probabilities = classes
        .iter()
        .cloned()
        .zip(row.iter().map(|&value| shortest(value)))
        .collect();
    Prediction::Probable {
        class,
        probability: shortest(row[best]),
        probabilities,
    }
}

/// The f64 whose shortest digits are those of the number in its own dtype: 0.1f32 is written 0.1.
fn shortest<T: Scalar>(value: T) -> f64 {
    format!("{value}")
        .parse()
        .expect("a finite number reads back")
}
