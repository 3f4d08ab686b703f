//! Loss functions: their values, and the deltas of the last layer.

mod cross_entropy;
mod differences;
mod probabilities;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::nn::hyperparameter::violations;
use crate::nn::kernel::vectorize;
use crate::nn::loss::cross_entropy::{cross_entropy, cross_entropy_deltas};
use crate::nn::loss::differences::{
    LogCoshSlopes, POISSON_EPSILON, Poisson, add_up, clamped, huber, log_cosh, pinball,
    pinball_slope, set, sign,
};
use crate::nn::loss::probabilities::{Probabilities, focal, focal_deltas};
use crate::nn::{Activation, Hyperparameter, Range, Scalar};

/// What training makes small: C = (1/N) Σₙ Cₙ over the samples, or Σ wₙ Cₙ / Σ wₙ where they weigh. J is the number of outputs.
///
/// In JSON by its name, or with its parameters: `{"type":"huber","delta":0.5}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// Cₙ = ½ Σⱼ (y − a)². Source: Arango, C = (1/N) Σ ½‖y − aᴸ‖². PyTorch's `MSELoss` has no ½ and also divides by J.
    Quadratic,
    /// After softmax, Cₙ = −Σⱼ y ln a; after sigmoid, the sum over the outputs of −y ln a − (1 − y) ln(1 − a).
    ///
    /// Both are computed from z, never from a rounded a, so that they stay finite where a is 0 or 1. PyTorch's
    /// `binary_cross_entropy_with_logits` would average over the outputs by default; we sum, as its `CrossEntropyLoss` does.
    CrossEntropy {
        /// s, in [0, 1): the targets become y (1 − s) + s/J after softmax, y (1 − s) + s/2 after sigmoid.
        ///
        /// Source: Szegedy et al. (2016), section 7; for softmax as in PyTorch, for sigmoid as in Keras. 0 smooths nothing,
        /// and is not written.
        #[serde(default, skip_serializing_if = "is_zero")]
        label_smoothing: f64,
    },
    /// Cₙ = (1/J) Σⱼ (y − a)², PyTorch's `MSELoss`.
    MeanSquaredError,
    /// Cₙ = (1/J) Σⱼ |y − a|, PyTorch's `L1Loss`; the derivative at y = a is 0, as there.
    MeanAbsoluteError,
    /// Cₙ = (1/J) Σⱼ of ½ (y − a)² where |y − a| ≤ δ, else δ (|y − a| − ½ δ).
    ///
    /// Source: Huber (1964), "Robust estimation of a location parameter"; PyTorch's `HuberLoss`, also in δ = 1.
    Huber {
        /// δ, in [0.000001, 1000000].
        #[serde(default = "default_delta")]
        delta: f64,
    },
    /// Cₙ = (1/J) Σⱼ ln cosh(y − a): about ½ (y − a)² near 0, |y − a| − ln 2 far from it. As in Keras; PyTorch has none.
    LogCosh,
    /// Cₙ = (1/J) Σⱼ (a − y ln(a + 10⁻⁸)): −ln of the Poisson distribution of mean a at y, less what depends on y alone.
    ///
    /// PyTorch's `PoissonNLLLoss` without `log_input`, also in the 10⁻⁸, which keeps loss and deltas finite where an output
    /// has come down to 0. Wants outputs that cannot be negative, and targets of at least 0.
    Poisson,
    /// Cₙ = (1/J) Σⱼ of q (y − a) where y ≥ a, else (1 − q)(a − y): least where a is the q-quantile of y.
    ///
    /// Source: Koenker and Bassett (1978), "Regression quantiles", equation 3.1. At y = a we take the derivative 0. With
    /// q = ½ it is half the mean absolute error.
    Quantile {
        /// q, in (0, 1).
        #[serde(default = "default_q")]
        q: f64,
    },
    /// After softmax, Cₙ = −Σⱼ y (1 − a)^γ ln a; after sigmoid, the sum of −y (1 − a)^γ ln a − (1 − y) a^γ ln(1 − a).
    ///
    /// Source: Lin et al. (2017), "Focal loss for dense object detection", equation 4, with γ = 2 and no α. With γ = 0 it is
    /// cross entropy, and it is computed from z like it. torchvision's `sigmoid_focal_loss` agrees where y is 0 or 1.
    Focal {
        /// γ, in [0, 10].
        #[serde(default = "default_gamma")]
        gamma: f64,
    },
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

impl Loss {
    /// Every loss, with the parameters it has where none are given.
    pub const ALL: [Self; 9] = [
        Self::Quadratic,
        Self::CrossEntropy {
            label_smoothing: 0.0,
        },
        Self::MeanSquaredError,
        Self::MeanAbsoluteError,
        Self::Huber {
            delta: default_delta(),
        },
        Self::LogCosh,
        Self::Poisson,
        Self::Quantile { q: default_q() },
        Self::Focal {
            gamma: default_gamma(),
        },
    ];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quadratic => "quadratic",
            Self::CrossEntropy { .. } => "cross_entropy",
            Self::MeanSquaredError => "mean_squared_error",
            Self::MeanAbsoluteError => "mean_absolute_error",
            Self::Huber { .. } => "huber",
            Self::LogCosh => "log_cosh",
            Self::Poisson => "poisson",
            Self::Quantile { .. } => "quantile",
            Self::Focal { .. } => "focal",
        }
    }

    /// Every parameter, as it is set, with its range.
    pub fn hyperparameters(self) -> Vec<Hyperparameter> {
        let (name, value, range, meaning) = match self {
            Self::CrossEntropy { label_smoothing } => (
                "label_smoothing",
                label_smoothing,
                Range::below(0.0, 1.0),
                "s, the share of each target that is spread over all classes",
            ),
            Self::Huber { delta } => (
                "delta",
                delta,
                Range::closed(1e-6, 1e6),
                "δ, from where the loss is a line",
            ),
            Self::Quantile { q } => ("q", q, Range::open(0.0, 1.0), "which quantile is learned"),
            Self::Focal { gamma } => (
                "gamma",
                gamma,
                Range::closed(0.0, 10.0),
                "γ, how little the rows count that are answered well",
            ),
            Self::Quadratic
            | Self::MeanSquaredError
            | Self::MeanAbsoluteError
            | Self::LogCosh
            | Self::Poisson => return Vec::new(),
        };
        vec![Hyperparameter::number(name, value, range, meaning)]
    }

    /// What is wrong with the parameters: names and details.
    pub fn violations(self) -> Vec<(&'static str, String)> {
        violations(self.hyperparameters())
    }

    /// The activations that the last layer may have; any, where there is no list.
    ///
    /// Cross entropy and focal need probabilities, Poisson outputs that are never negative.
    pub fn last_activations(self) -> Option<&'static [Activation]> {
        match self {
            Self::CrossEntropy { .. } | Self::Focal { .. } => {
                Some(&[Activation::Softmax, Activation::Sigmoid])
            }
            Self::Poisson => Some(&[
                Activation::Softplus,
                Activation::Relu,
                Activation::Sigmoid,
                Activation::Softmax,
                Activation::HardSigmoid,
            ]),
            Self::Quadratic
            | Self::MeanSquaredError
            | Self::MeanAbsoluteError
            | Self::Huber { .. }
            | Self::LogCosh
            | Self::Quantile { .. } => None,
        }
    }

    /// Whether the loss is defined on a last layer of this activation.
    pub fn accepts(self, last: Activation) -> bool {
        self.last_activations()
            .is_none_or(|accepted| accepted.contains(&last))
    }

    /// The least and the largest target that the loss is defined for.
    pub fn target_range(self) -> (f64, f64) {
        match self {
            Self::CrossEntropy { .. } | Self::Focal { .. } => (0.0, 1.0),
            Self::Poisson => (0.0, f64::INFINITY),
            Self::Quadratic
            | Self::MeanSquaredError
            | Self::MeanAbsoluteError
            | Self::Huber { .. }
            | Self::LogCosh
            | Self::Quantile { .. } => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// The differences a − y where the first or second derivative of the loss jumps.
    pub(crate) fn kinks(self) -> Vec<f64> {
        match self {
            Self::MeanAbsoluteError | Self::Quantile { .. } => vec![0.0],
            Self::Huber { delta } => vec![-delta, delta],
            Self::Quadratic
            | Self::CrossEntropy { .. }
            | Self::MeanSquaredError
            | Self::LogCosh
            | Self::Poisson
            | Self::Focal { .. } => Vec::new(),
        }
    }

    /// Σₙ Cₙ over the rows of a batch, added up in f64, in an order that depends on the numbers of rows and units alone.
    ///
    /// Panics: where the loss does not accept `last`, the caller's bug.
    pub(crate) fn sum<T: Scalar>(self, last: Activation, output: Output<'_, T>) -> f64 {
        let Output { units, a, y, .. } = output;
        let outputs = units as f64;
        match self {
            Self::Quadratic => add_up(a, y, |a, y| {
                let difference = y - a;
                0.5 * difference * difference
            }),
            Self::CrossEntropy { label_smoothing } => {
                cross_entropy(Probabilities::expected(last), label_smoothing, output)
            }
            Self::MeanSquaredError => add_up(a, y, |a, y| (y - a) * (y - a)) / outputs,
            Self::MeanAbsoluteError => add_up(a, y, |a, y| (y - a).abs()) / outputs,
            Self::Huber { delta } => add_up(a, y, |a, y| huber(delta, y - a)) / outputs,
            Self::LogCosh => add_up(a, y, |a, y| log_cosh(y - a)) / outputs,
            Self::Poisson => vectorize(Poisson { a, y }) / outputs,
            Self::Quantile { q } => add_up(a, y, |a, y| pinball(q, y - a)) / outputs,
            Self::Focal { gamma } => focal(Probabilities::expected(last), gamma, output),
        }
    }

    /// δᴸ = ∂Cₙ/∂zᴸ, one row per sample.
    ///
    /// Of losses of a and y: g = ∂Cₙ/∂a, which is a − y for quadratic, then the activation's own backward step. Of those
    /// of probabilities: from z, where σ′ cancels; with cross entropy a·Σy − y after softmax (which is a − y where the
    /// targets sum to 1) and a − y after sigmoid.
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
        let mean = T::from_f64(1.0 / units as f64);
        match self {
            Self::Quadratic => set(deltas, a, y, |a, y| a - y),
            Self::CrossEntropy { label_smoothing } => {
                let of = Probabilities::expected(last);
                return cross_entropy_deltas(of, label_smoothing, output, deltas);
            }
            Self::MeanSquaredError => {
                let twice = T::from_f64(2.0 / units as f64);
                set(deltas, a, y, |a, y| twice * (a - y));
            }
            Self::MeanAbsoluteError => set(deltas, a, y, |a, y| mean * sign(a - y)),
            Self::Huber { delta } => {
                let delta = T::from_f64(delta);
                set(deltas, a, y, |a, y| mean * clamped(delta, a - y));
            }
            Self::LogCosh => vectorize(LogCoshSlopes {
                factor: mean,
                deltas,
                a,
                y,
            }),
            Self::Poisson => {
                let epsilon = T::from_f64(POISSON_EPSILON);
                set(deltas, a, y, |a, y| mean * (T::one() - y / (a + epsilon)));
            }
            Self::Quantile { q } => {
                let q = T::from_f64(q);
                set(deltas, a, y, |a, y| mean * pinball_slope(q, a - y));
            }
            Self::Focal { gamma } => {
                return focal_deltas(Probabilities::expected(last), gamma, output, deltas);
            }
        }
        last.backward(units, z, a, deltas);
    }
}

const fn default_delta() -> f64 {
    1.0
}

const fn default_q() -> f64 {
    0.5
}

const fn default_gamma() -> f64 {
    2.0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(number: &f64) -> bool {
    *number == 0.0
}
