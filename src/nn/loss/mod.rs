//! Loss functions: their values, and the deltas of the last layer.

mod probabilities;

use serde::{Deserialize, Serialize};

use crate::nn::loss::probabilities::{binary_cross_entropy, softmax_cross_entropy};
use crate::nn::{Activation, Scalar};

/// What training makes small: C = (1/N) Σₙ Cₙ over the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cₙ = ½ Σⱼ (y − a)². Source: Arango, C = (1/N) Σ ½‖y − aᴸ‖². PyTorch's `MSELoss` has no ½ and also divides by J.
    Quadratic,
    /// After softmax, Cₙ = −Σⱼ y ln a; after sigmoid, the sum over the outputs of −y ln a − (1 − y) ln(1 − a).
    ///
    /// Both are computed from z, never from a rounded a, so that they stay finite where a is 0 or 1. PyTorch's
    /// `binary_cross_entropy_with_logits` would average over the outputs by default; we sum, as its `CrossEntropyLoss` does.
    CrossEntropy,
}

/// What the last layer has made of a batch, and what it should have: each (n × units), row-major.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output<'a, T> {
    /// Units of the last layer.
    pub(crate) units: usize,
    /// Its weighted inputs.
    pub(crate) z: &'a [T],
    /// Its activations.
    pub(crate) a: &'a [T],
    /// The targets.
    pub(crate) y: &'a [T],
}

/// Of what the outputs are the probabilities.
#[derive(Clone, Copy, Debug)]
enum Probabilities {
    /// Of the classes, of which one holds: softmax.
    OfClasses,
    /// Each of its own event: sigmoid.
    OfEach,
}

impl Loss {
    /// Every loss.
    pub const ALL: [Self; 2] = [Self::Quadratic, Self::CrossEntropy];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quadratic => "quadratic",
            Self::CrossEntropy => "cross_entropy",
        }
    }

    /// Whether the loss is defined on a last layer of this activation: cross entropy needs softmax or sigmoid.
    pub fn accepts(self, last: Activation) -> bool {
        match self {
            Self::Quadratic => true,
            Self::CrossEntropy => Probabilities::of(last).is_some(),
        }
    }

    /// Σₙ Cₙ over the rows of a batch, added up in f64 in the order of rows and units.
    ///
    /// Panics: where the loss does not accept `last`, the caller's bug.
    pub(crate) fn sum<T: Scalar>(self, last: Activation, output: Output<'_, T>) -> f64 {
        let Output { units, z, a, y } = output;
        match self {
            Self::Quadratic => {
                let mut sum = 0.0;
                for (&a, &y) in a.iter().zip(y) {
                    let difference = y.to_f64() - a.to_f64();
                    sum += 0.5 * difference * difference;
                }
                sum
            }
            Self::CrossEntropy => match Probabilities::expected(last) {
                Probabilities::OfClasses => {
                    let mut sum = 0.0;
                    for (z, y) in z.chunks_exact(units).zip(y.chunks_exact(units)) {
                        sum += softmax_cross_entropy(z, y);
                    }
                    sum
                }
                Probabilities::OfEach => {
                    let mut sum = 0.0;
                    for (&z, &y) in z.iter().zip(y) {
                        sum += binary_cross_entropy(z.to_f64(), y.to_f64());
                    }
                    sum
                }
            },
        }
    }

    /// δᴸ = ∂Cₙ/∂zᴸ, one row per sample.
    ///
    /// Quadratic: g = a − y, then the activation's own backward step. Cross entropy: a·Σy − y after softmax (which is
    /// a − y where the targets sum to 1) and a − y after sigmoid; σ′ has cancelled.
    ///
    /// Shapes: `deltas` (n × units), row-major. Source: Arango, δᴸ = (aᴸ − y) σ′(zᴸ).
    ///
    /// Panics: where the loss does not accept `last`, the caller's bug.
    pub(crate) fn output_deltas<T: Scalar>(
        self,
        last: Activation,
        output: Output<'_, T>,
        deltas: &mut [T],
    ) {
        let Output { units, z, a, y } = output;
        match self {
            Self::Quadratic => {
                subtract(a, y, deltas);
                last.backward(units, z, a, deltas);
            }
            Self::CrossEntropy => match Probabilities::expected(last) {
                Probabilities::OfClasses => {
                    let rows = a.chunks_exact(units).zip(y.chunks_exact(units));
                    for ((a, y), deltas) in rows.zip(deltas.chunks_exact_mut(units)) {
                        let total: T = y.iter().copied().sum();
                        for ((delta, &a), &y) in deltas.iter_mut().zip(a).zip(y) {
                            *delta = a * total - y;
                        }
                    }
                }
                Probabilities::OfEach => subtract(a, y, deltas),
            },
        }
    }
}

impl Probabilities {
    /// Those of a layer of this activation; none where its outputs are no probabilities.
    fn of(last: Activation) -> Option<Self> {
        match last {
            Activation::Softmax => Some(Self::OfClasses),
            Activation::Sigmoid => Some(Self::OfEach),
            Activation::Tanh
            | Activation::Relu
            | Activation::Identity
            | Activation::LeakyRelu { .. }
            | Activation::Elu { .. }
            | Activation::Selu
            | Activation::Gelu { .. }
            | Activation::Silu
            | Activation::Softplus
            | Activation::Softsign
            | Activation::HardSigmoid => None,
        }
    }

    /// Those of a layer that the loss accepts.
    fn expected(last: Activation) -> Self {
        Self::of(last).expect("the caller has checked that the loss accepts the last activation")
    }
}

fn subtract<T: Scalar>(a: &[T], y: &[T], deltas: &mut [T]) {
    for ((delta, &a), &y) in deltas.iter_mut().zip(a).zip(y) {
        *delta = a - y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(loss: Loss, last: Activation, z: &[f64], a: &[f64], y: &[f64]) -> f64 {
        let units = z.len();
        loss.sum(last, Output { units, z, a, y })
    }

    #[test]
    fn quadratic_is_half_the_squared_distance() {
        // ½ ((1 − 0.5)² + (0 − 0.25)²) = ½ (0.25 + 0.0625) = 0.15625
        let a = [0.5, 0.25];
        let sum = sum(Loss::Quadratic, Activation::Identity, &a, &a, &[1.0, 0.0]);
        assert_eq!(sum, 0.15625);
    }

    #[test]
    fn cross_entropy_stays_finite_where_the_activation_has_rounded_to_zero_or_one() {
        // Softmax of (1000, −1000) is (1, 0) in floating point; −ln of its second entry is exactly 2000.
        let (loss, z) = (Loss::CrossEntropy, [1000.0, -1000.0]);
        let softmax = sum(loss, Activation::Softmax, &z, &[1.0, 0.0], &[0.0, 1.0]);
        assert_eq!(softmax, 2000.0);
        // −ln(1 − σ(800)) = 800 + ln(1 + e⁻⁸⁰⁰) = 800, and −ln σ(800) = 0.
        let (z, a) = ([800.0, 800.0], [1.0, 1.0]);
        assert_eq!(sum(loss, Activation::Sigmoid, &z, &a, &[0.0, 1.0]), 800.0);
    }

    #[test]
    fn a_nan_is_not_swallowed_by_any_loss() {
        for loss in Loss::ALL {
            for last in [Activation::Sigmoid, Activation::Softmax] {
                assert!(
                    sum(loss, last, &[f64::NAN], &[f64::NAN], &[1.0]).is_nan(),
                    "{loss:?} {last:?}"
                );
            }
        }
    }

    #[test]
    fn cross_entropy_is_refused_for_all_but_softmax_and_sigmoid() {
        for last in Activation::ALL {
            let accepted = matches!(last, Activation::Softmax | Activation::Sigmoid);
            assert_eq!(Loss::CrossEntropy.accepts(last), accepted);
            assert!(Loss::Quadratic.accepts(last));
        }
    }

    #[test]
    fn a_loss_is_spelled_as_in_the_api() {
        for loss in Loss::ALL {
            let json = serde_json::to_string(&loss).expect("a loss serializes");
            assert_eq!(json, format!("\"{}\"", loss.name()));
        }
    }
}
