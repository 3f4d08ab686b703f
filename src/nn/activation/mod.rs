//! Activation functions and their derivatives.

mod functions;
mod loops;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::nn::activation::loops::{Apply, Backward, Saturated};
use crate::nn::hyperparameter::violations;
use crate::nn::kernel::{vectorize, worked};
use crate::nn::{Hyperparameter, Range, Scalar};

/// Numbers that a function is applied to without a pause, in whole rows.
const TOGETHER: usize = 16 << 10;
/// Multiply-adds that take about as long as an activation, or a derivative.
const WORK: usize = 64;

/// As many numbers of rows of so many units.
fn at_once(units: usize) -> usize {
    (TOGETHER / units).max(1) * units
}

/// The function σ of a layer: a = σ(z).
///
/// In JSON by its name, or with its parameters: `{"type":"leaky_relu","slope":0.2}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Activation {
    /// σ(z) = 1 / (1 + e⁻ᶻ), σ′ = a (1 − a). Source: Arango, "the sigmoid function".
    Sigmoid,
    /// σ(z) = tanh z, σ′ = 1 − a².
    Tanh,
    /// σ(z) = max(z, 0), σ′ = 1 where z > 0, else 0; at the kink z = 0 we take 0, as PyTorch does.
    Relu,
    /// σ(z) = z, σ′ = 1.
    Identity,
    /// σ(z)ⱼ = e^{zⱼ} / Σᵢ e^{zᵢ}, over the units of the layer; ∂aⱼ/∂zᵢ = aⱼ (δᵢⱼ − aᵢ).
    Softmax,
    /// σ(z) = z where z > 0, else s z; σ′ = 1 or s, and s at the kink z = 0, as in PyTorch.
    ///
    /// Source: Maas, Hannun and Ng (2013), section 2, with s = 0.01.
    LeakyRelu {
        /// s, in [0, 1).
        #[serde(default = "default_slope")]
        slope: f64,
    },
    /// σ(z) = z where z > 0, else α (eᶻ − 1); σ′ = 1 or α eᶻ, and α at z = 0, as in PyTorch.
    ///
    /// Source: Clevert, Unterthiner and Hochreiter (2016), section 3, with α = 1.
    Elu {
        /// α, in (0, 100].
        #[serde(default = "default_alpha")]
        alpha: f64,
    },
    /// σ(z) = λ z where z > 0, else λ α (eᶻ − 1); σ′ = λ or λ α eᶻ. λ ≈ 1.0507 and α ≈ 1.6733 leave mean 0 and variance 1
    /// as they are. Source: Klambauer et al. (2017), equation 2.
    Selu,
    /// σ(z) = z Φ(z), Φ the distribution function of N(0, 1); σ′ = Φ(z) + z φ(z).
    ///
    /// Source: Hendrycks and Gimpel (2016), section 2. Φ is ½ erfc(−z/√2); PyTorch's ½ (1 + erf(z/√2)) is the same number
    /// but has lost its digits below z = −5.
    Gelu {
        /// Whether Φ is itself or its approximation.
        #[serde(default)]
        approximation: GeluApproximation,
    },
    /// σ(z) = z s with s = 1 / (1 + e⁻ᶻ), σ′ = s (1 + z (1 − s)); also called swish.
    ///
    /// Source: Elfwing, Uchibe and Doya (2018), section 2.
    Silu,
    /// σ(z) = ln(1 + eᶻ), σ′ = 1 / (1 + e⁻ᶻ).
    ///
    /// Source: Dugas et al. (2001). PyTorch goes over to z above z = 20, where they differ by 2e-9; ours has no such step.
    Softplus,
    /// σ(z) = z / (1 + |z|), σ′ = 1 / (1 + |z|)². Source: Bergstra et al. (2009), as in Glorot and Bengio (2010).
    Softsign,
    /// σ(z) = min(max(z + 3, 0), 6) / 6, σ′ = 1/6 between −3 and 3, else 0, and 0 at both kinks, as in PyTorch.
    ///
    /// Source: Howard et al. (2019), section 5.2. Keras 2 had another slope, 0.2; PyTorch's `hardsigmoid` has the slope of 1/6
    /// rounded to float32, in float64 too.
    HardSigmoid,
}

/// How the Φ of gelu is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeluApproximation {
    /// Exactly, by the error function.
    #[default]
    None,
    /// ½ (1 + tanh(√(2/π) (z + 0.044715 z³))), within 5e-4 of it. Source: Hendrycks and Gimpel (2016), section 2.
    Tanh,
}

impl GeluApproximation {
    /// The name used in JSON.
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tanh => "tanh",
        }
    }
}

impl Activation {
    /// Every activation, with the parameters it has where none are given.
    pub const ALL: [Self; 13] = [
        Self::Sigmoid,
        Self::Tanh,
        Self::Relu,
        Self::Identity,
        Self::Softmax,
        Self::LeakyRelu {
            slope: default_slope(),
        },
        Self::Elu {
            alpha: default_alpha(),
        },
        Self::Selu,
        Self::Gelu {
            approximation: GeluApproximation::None,
        },
        Self::Silu,
        Self::Softplus,
        Self::Softsign,
        Self::HardSigmoid,
    ];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::Identity => "identity",
            Self::Softmax => "softmax",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Elu { .. } => "elu",
            Self::Selu => "selu",
            Self::Gelu { .. } => "gelu",
            Self::Silu => "silu",
            Self::Softplus => "softplus",
            Self::Softsign => "softsign",
            Self::HardSigmoid => "hard_sigmoid",
        }
    }

    /// Every parameter, as it is set, with its range.
    pub fn hyperparameters(self) -> Vec<Hyperparameter> {
        match self {
            Self::LeakyRelu { slope } => {
                let range = Range::below(0.0, 1.0);
                vec![Hyperparameter::number("slope", slope, range, "σ′ below 0")]
            }
            Self::Elu { alpha } => {
                let (range, meaning) = (Range::above(0.0, 100.0), "α, which σ falls to below 0");
                vec![Hyperparameter::number("alpha", alpha, range, meaning)]
            }
            Self::Gelu { approximation } => {
                let meaning = "none, or the one by tanh";
                vec![Hyperparameter::word(
                    "approximation",
                    approximation.name(),
                    meaning,
                )]
            }
            Self::Sigmoid
            | Self::Tanh
            | Self::Relu
            | Self::Identity
            | Self::Softmax
            | Self::Selu
            | Self::Silu
            | Self::Softplus
            | Self::Softsign
            | Self::HardSigmoid => Vec::new(),
        }
    }

    /// What is wrong with the parameters: names and details.
    pub fn violations(self) -> Vec<(&'static str, String)> {
        violations(self.hyperparameters())
    }

    /// a = σ(z) for a whole batch.
    ///
    /// Shapes: `z` and `a` are (n × units), row-major. A NaN stays NaN, so that a network that diverged cannot hide it.
    pub(crate) fn apply<T: Scalar>(self, units: usize, z: &[T], a: &mut [T]) {
        for (z, a) in z.chunks(at_once(units)).zip(a.chunks_mut(at_once(units))) {
            worked(WORK * a.len());
            vectorize(Apply {
                activation: self,
                units,
                z,
                a,
            });
        }
    }

    /// Turns ∂C/∂a into δ = ∂C/∂z in place: δ = g ⊙ σ′(z), or for softmax the Jacobian product δ = a ⊙ (g − Σ g ⊙ a).
    ///
    /// Each takes σ′ from whichever of z and a gives it with less work and more digits.
    ///
    /// Shapes: `z`, `a` (the layer's own) and `deltas` (g on entry, δ on return) are (n × units), row-major.
    ///
    /// Source: Arango, δˡ = σ′(zˡ) Σ δˡ⁺¹ wˡ⁺¹, of which `deltas` brings the sum.
    pub(crate) fn backward<T: Scalar>(self, units: usize, z: &[T], a: &[T], deltas: &mut [T]) {
        let (z, a) = (z.chunks(at_once(units)), a.chunks(at_once(units)));
        for ((z, a), deltas) in z.zip(a).zip(deltas.chunks_mut(at_once(units))) {
            worked(WORK * a.len());
            vectorize(Backward {
                activation: self,
                units,
                z,
                a,
                deltas,
            });
        }
    }

    /// Where σ′ or σ″ jumps: across such a z a difference quotient does not show the derivative.
    pub(crate) fn kinks(self) -> &'static [f64] {
        match self {
            Self::Relu | Self::LeakyRelu { .. } | Self::Elu { .. } | Self::Selu => &[0.0],
            Self::HardSigmoid => &[-3.0, 3.0],
            Self::Sigmoid
            | Self::Tanh
            | Self::Identity
            | Self::Softmax
            | Self::Gelu { .. }
            | Self::Silu
            | Self::Softplus
            | Self::Softsign => &[],
        }
    }

    /// How many activations lie where σ′ has all but vanished.
    ///
    /// For sigmoid a < 0.01 or a > 0.99, for tanh and softsign |a| > 0.99, for hard_sigmoid a = 0 or a = 1; no unit of
    /// another kind is ever called saturated.
    pub(crate) fn saturated<T: Scalar>(self, a: &[T]) -> u64 {
        vectorize(Saturated {
            activation: self,
            a,
        })
    }
}

const fn default_slope() -> f64 {
    0.01
}

const fn default_alpha() -> f64 {
    1.0
}
