//! What a model answers: output rows in its own dtype, and predictions in the table's own terms.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView1};
use serde::{Serialize, Serializer};

use crate::model::columns::Affine;
use crate::model::{Matrix, Model, Targets};
use crate::nn::Scalar;

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
    /// The same, where only the most probable classes are asked for.
    Top {
        /// The most probable class.
        class: String,
        /// Its probability.
        probability: f64,
        /// The most probable classes, falling; of equal ones those first in the order of the classes.
        top: Vec<ClassProbability>,
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

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassProbability {
    /// The class.
    pub class: String,
    /// Its probability.
    pub probability: f64,
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
        self.first_not_finite().is_none()
    }

    /// The first row that has an output that is not finite.
    pub fn first_not_finite(&self) -> Option<usize> {
        match self {
            Self::Float32(rows) => first_not_finite(rows),
            Self::Float64(rows) => first_not_finite(rows),
        }
    }

    /// Hands out the outputs of each row, each as the f64 that is written with its digits.
    pub(crate) fn each_row(&self, mut take: impl FnMut(&mut dyn Iterator<Item = f64>)) {
        match self {
            Self::Float32(rows) => rows
                .rows()
                .into_iter()
                .for_each(|row| take(&mut row.iter().copied().map(shortest))),
            Self::Float64(rows) => rows
                .rows()
                .into_iter()
                .for_each(|row| take(&mut row.iter().copied().map(shortest))),
        }
    }
}

impl Prediction {
    /// Whether its numbers are finite: in the targets' own units they may be larger than the outputs.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Number(number) => number.is_finite(),
            Self::Numbers(numbers) => numbers.values().all(|number| number.is_finite()),
            Self::Class { .. } | Self::Probable { .. } | Self::Top { .. } | Self::Labels { .. } => {
                true
            }
        }
    }

    /// The same with the k most probable classes alone; as it is where it has no probabilities of classes.
    ///
    /// `classes` are the model's, in order.
    #[must_use]
    pub fn top(self, k: usize, classes: &[String]) -> Self {
        let Self::Probable {
            class,
            probability,
            mut probabilities,
        } = self
        else {
            return self;
        };
        let mut top: Vec<_> = classes
            .iter()
            .filter_map(|class| {
                let (class, probability) = probabilities.remove_entry(class)?;
                Some(ClassProbability { class, probability })
            })
            .collect();
        top.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        top.truncate(k);
        Self::Top {
            class,
            probability,
            top,
        }
    }
}

impl Model {
    /// The classes that have probabilities; none where the outputs are no probabilities of classes.
    pub fn probable_classes(&self) -> Option<&[String]> {
        self.targets.probable_classes(&self.network.shape())
    }

    /// Predictions in the table's own terms. `None` where the model was not trained on named targets.
    pub fn predictions(&self, outputs: &Outputs) -> Option<Vec<Prediction>> {
        let probable = self.probable_classes().is_some();
        let scaling = self.target_scaling();
        match outputs {
            Outputs::Float32(rows) => predictions((&self.targets, scaling), probable, rows),
            Outputs::Float64(rows) => predictions((&self.targets, scaling), probable, rows),
        }
    }
}

fn first_not_finite<T: Scalar>(rows: &Array2<T>) -> Option<usize> {
    let mut rows = rows.rows().into_iter();
    rows.position(|row| row.iter().any(|value| !value.is_finite()))
}

fn predictions<T: Scalar>(
    (targets, scaling): (&Targets, &[Affine]),
    probable: bool,
    rows: &Array2<T>,
) -> Option<Vec<Prediction>> {
    match targets {
        Targets::Values { names: None } | Targets::Labels { names: None } => None,
        Targets::Values { names: Some(names) } => Some(
            rows.rows()
                .into_iter()
                .map(|row| numbers(names, scaling, &row))
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

fn numbers<T: Scalar>(names: &[String], scaling: &[Affine], row: &ArrayView1<T>) -> Prediction {
    let number = |place: usize| match scaling.get(place) {
        Some(scaling) => scaling.undo(row[place].to_f64()),
        None => shortest(row[place]),
    };
    if names.len() == 1 {
        return Prediction::Number(number(0));
    }
    let numbers = (0..row.len()).map(number);
    Prediction::Numbers(names.iter().cloned().zip(numbers).collect())
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
    if let ([no, yes], 1) = (classes, row.len()) {
        return binary([no, yes], row[0]);
    }
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

/// Of two classes with one output: the probability of the second.
fn binary<T: Scalar>([no, yes]: [&String; 2], p: T) -> Prediction {
    let q = T::one() - p;
    let (class, probability) = if p >= T::from_f64(0.5) {
        (yes, p)
    } else {
        (no, q)
    };
    Prediction::Probable {
        class: class.clone(),
        probability: shortest(probability),
        probabilities: [(no, q), (yes, p)]
            .map(|(class, p)| (class.clone(), shortest(p)))
            .into(),
    }
}

/// The f64 whose shortest digits are those of the number in its own dtype: 0.1f32 is written 0.1.
fn shortest<T: Scalar>(value: T) -> f64 {
    format!("{value}")
        .parse()
        .expect("a finite number reads back")
}
