//! How good predictions are, beside the loss: figures of outputs against targets.
//!
//! Notation: a are the outputs and y the targets, one row for each of N samples and one column for each of J outputs; vₙ
//! are the weights of the samples, all 1 where there are none. Three kinds of answer are told apart by whom a caller
//! asks: **classes**, where a row names the class of its largest entry (the first of equals) or, of one output, the
//! second of two classes where the entry is at least ½; **labels**, where each of several outputs says yes or no for
//! itself, yes from ½ on; and **numbers**.
//!
//! The numbers are scikit-learn's (1.9) to 1e-12. Where it warns and answers NaN, there is no figure: a figure is finite
//! or `None`. It is `None` too where there is no row or no column, where an output or a target is NaN or infinite, and
//! where a weight is, or is negative, or all are 0, or their sum is beyond f64. Sums over samples are added up in the
//! fixed tree or one after another, in the order of rows, so that nothing but the rows decides their bits.
//!
//! Panics: where `outputs` and `targets` have different shapes, or there is not one weight per row, the caller's bug.

mod classification;
mod ranking;
mod regression;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::nn::sum_over_samples;

pub use classification::{Confusion, Tallies, Tally, subset_accuracy, top_k_accuracy};
pub use ranking::{RocAreas, brier, log_loss, roc_auc};
pub use regression::{
    mean_absolute_error, mean_absolute_percentage_error, mean_squared_error, r2,
    root_mean_squared_error,
};

/// How the figures of several classes or labels become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// Their mean: each counts the same, however rare it is.
    Macro,
    /// The figure of all their counts added up: each decision counts the same.
    Micro,
    /// Their mean weighted by support, the samples of which each is true.
    Weighted,
}

impl Average {
    /// Every average.
    pub const ALL: [Self; 3] = [Self::Macro, Self::Micro, Self::Weighted];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Macro => "macro",
            Self::Micro => "micro",
            Self::Weighted => "weighted",
        }
    }
}

/// Outputs, targets and weights that figures can be made of: finite, at least one, weights with a sum.
struct Rows<'a> {
    outputs: Cow<'a, [f64]>,
    targets: Cow<'a, [f64]>,
    weights: Option<&'a [f64]>,
    /// N.
    len: usize,
    /// J.
    columns: usize,
    /// Σ vₙ, greater than 0.
    total: f64,
}

impl<'a> Rows<'a> {
    fn new(
        outputs: ArrayView2<'a, f64>,
        targets: ArrayView2<'a, f64>,
        weights: Option<&'a [f64]>,
    ) -> Option<Self> {
        assert_eq!(outputs.dim(), targets.dim(), "a target for each output");
        let (len, columns) = outputs.dim();
        if let Some(weights) = weights {
            assert_eq!(weights.len(), len, "a weight for each row");
        }
        let total = weights.map_or(len as f64, |weights| weights.iter().sum());
        let (outputs, targets) = (row_major(outputs), row_major(targets));
        // The weight of all entries, so that no sum of counts over several outputs is beyond f64 either.
        let entries = total * columns as f64;
        let sound = entries > 0.0
            && entries.is_finite()
            && weights.is_none_or(|weights| weights.iter().all(|&weight| weight >= 0.0))
            && all_finite(&outputs)
            && all_finite(&targets);
        sound.then_some(Self {
            outputs,
            targets,
            weights,
            len,
            columns,
            total,
        })
    }

    /// a of a row.
    fn output(&self, row: usize) -> &[f64] {
        &self.outputs[row * self.columns..][..self.columns]
    }

    /// y of a row.
    fn target(&self, row: usize) -> &[f64] {
        &self.targets[row * self.columns..][..self.columns]
    }

    /// v of a row.
    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row])
    }

    /// Σₙ vₙ value(n) / Σₙ vₙ.
    fn mean(&self, value: impl Fn(usize) -> f64) -> Option<f64> {
        let sum = sum_over_samples(self.len, |row| self.weight(row) * value(row));
        finite(sum / self.total)
    }

    /// The share of the rows, by weight, of which something holds.
    fn share(&self, holds: impl Fn(usize) -> bool) -> Option<f64> {
        self.mean(|row| if holds(row) { 1.0 } else { 0.0 })
    }
}

fn row_major(matrix: ArrayView2<'_, f64>) -> Cow<'_, [f64]> {
    match matrix.to_slice() {
        Some(entries) => Cow::Borrowed(entries),
        None => Cow::Owned(matrix.iter().copied().collect()),
    }
}

/// Whether every entry is finite; all are looked at, several at a time.
fn all_finite(entries: &[f64]) -> bool {
    entries
        .iter()
        .fold(true, |all, entry| all & entry.is_finite())
}

/// A figure, where it is one.
fn finite(figure: f64) -> Option<f64> {
    figure.is_finite().then_some(figure)
}

/// Whether an entry says yes.
fn is_yes(entry: f64) -> bool {
    entry >= 0.5
}
