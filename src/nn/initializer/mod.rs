//! The parameters that a network starts from.

mod orthogonal;
#[cfg(test)]
mod tests;

use ndarray::{Array1, Array2};
use rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::nn::hyperparameter::violations;
use crate::nn::initializer::orthogonal::orthonormal;
use crate::nn::random::{normal, uniform};
use crate::nn::{Activation, Hyperparameter, Layer, Range, Scalar};

/// The distribution of a layer's first weights. K is its inputs (fan in), J its units (fan out); biases start at 0.
///
/// In JSON by its name, or with its parameters: `{"type":"uniform","low":-0.1,"high":0.1}`.
///
/// Differs from Keras, whose `_normal` initializers truncate at two standard deviations; ours, like PyTorch's, do not.
/// Differs from PyTorch in that no gain is applied for tanh.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Initializer {
    /// N(0, 2/(K + J)). Source: Glorot and Bengio (2010), equation 12.
    GlorotNormal,
    /// U(−r, r), r = √(6/(K + J)). Source: Glorot and Bengio (2010), equation 16.
    GlorotUniform,
    /// N(0, 2/K). Source: He et al. (2015), equation 10.
    HeNormal,
    /// U(−r, r), r = √(6/K), of the same variance. Source: He et al. (2015), equation 10.
    HeUniform,
    /// N(0, 1/K). Source: LeCun et al. (1998), "Efficient BackProp", equation 16.
    LecunNormal,
    /// U(−r, r), r = √(3/K), of the same variance. Source: LeCun et al. (1998), equation 16.
    LecunUniform,
    /// N(0, 1) for weights and biases alike. Source: Nielsen (2015), chapter 1, `network.py`.
    StandardNormal,
    /// Every weight 0: all units of a hidden layer then stay alike for ever, which is worth seeing once.
    Zeros,
    /// The rows orthonormal where J ≤ K, else the columns: w wᵀ = 1 or wᵀ w = 1, uniform among such w.
    ///
    /// Source: Saxe, McClelland and Ganguli (2014), with gain 1.
    Orthogonal,
    /// N(m, s²). Source: Keras's `RandomNormal`, with its defaults; PyTorch's `normal_` has s = 1.
    Normal {
        /// m, in [−1000000, 1000000].
        #[serde(default)]
        mean: f64,
        /// s, in (0, 1000000].
        #[serde(default = "default_std")]
        std: f64,
    },
    /// N(m, s²), drawn again until within m ± 2 s, which leaves a standard deviation of 0.88 s.
    ///
    /// Source: Keras's `TruncatedNormal`, with its defaults; PyTorch's `trunc_normal_` has s = 1 and truncates at ±2.
    TruncatedNormal {
        /// m, in [−1000000, 1000000].
        #[serde(default)]
        mean: f64,
        /// s, in (0, 1000000].
        #[serde(default = "default_std")]
        std: f64,
    },
    /// U(l, h). Source: Keras's `RandomUniform`, with its defaults; PyTorch's `uniform_` has 0 and 1.
    Uniform {
        /// l, in [−1000000, 1000000].
        #[serde(default = "default_low")]
        low: f64,
        /// h, in (l, 1000000].
        #[serde(default = "default_high")]
        high: f64,
    },
    /// Every weight the same: all units of a hidden layer then stay alike for ever.
    Constant {
        /// In [−1000000, 1000000].
        #[serde(default)]
        value: f64,
    },
}

/// What a weight is drawn from.
#[derive(Clone, Copy, Debug)]
enum Distribution {
    Normal { mean: f64, std: f64 },
    TruncatedNormal { mean: f64, std: f64 },
    Uniform { low: f64, high: f64 },
    Constant { value: f64 },
}

/// Means and bounds lie within ± this, standard deviations up to it: far beyond use, and far within float32.
const LARGEST: f64 = 1e6;

impl Initializer {
    /// Every initializer, with the parameters it has where none are given.
    pub const ALL: [Self; 13] = [
        Self::GlorotNormal,
        Self::GlorotUniform,
        Self::HeNormal,
        Self::HeUniform,
        Self::LecunNormal,
        Self::LecunUniform,
        Self::StandardNormal,
        Self::Zeros,
        Self::Orthogonal,
        Self::Normal {
            mean: 0.0,
            std: default_std(),
        },
        Self::TruncatedNormal {
            mean: 0.0,
            std: default_std(),
        },
        Self::Uniform {
            low: default_low(),
            high: default_high(),
        },
        Self::Constant { value: 0.0 },
    ];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::GlorotNormal => "glorot_normal",
            Self::GlorotUniform => "glorot_uniform",
            Self::HeNormal => "he_normal",
            Self::HeUniform => "he_uniform",
            Self::LecunNormal => "lecun_normal",
            Self::LecunUniform => "lecun_uniform",
            Self::StandardNormal => "standard_normal",
            Self::Zeros => "zeros",
            Self::Orthogonal => "orthogonal",
            Self::Normal { .. } => "normal",
            Self::TruncatedNormal { .. } => "truncated_normal",
            Self::Uniform { .. } => "uniform",
            Self::Constant { .. } => "constant",
        }
    }

    /// Every parameter, as it is set, with its range.
    pub fn hyperparameters(self) -> Vec<Hyperparameter> {
        let within = |name, value, meaning| {
            Hyperparameter::number(name, value, Range::closed(-LARGEST, LARGEST), meaning)
        };
        let above = |name, value, least, meaning| {
            Hyperparameter::number(name, value, Range::above(least, LARGEST), meaning)
        };
        match self {
            Self::Normal { mean, std } | Self::TruncatedNormal { mean, std } => vec![
                within("mean", mean, "the mean of the weights"),
                above("std", std, 0.0, "their standard deviation"),
            ],
            Self::Uniform { low, high } => vec![
                within("low", low, "the least weight"),
                above("high", high, low, "the bound that none reaches"),
            ],
            Self::Constant { value } => vec![within("value", value, "every weight")],
            Self::GlorotNormal
            | Self::GlorotUniform
            | Self::HeNormal
            | Self::HeUniform
            | Self::LecunNormal
            | Self::LecunUniform
            | Self::StandardNormal
            | Self::Zeros
            | Self::Orthogonal => Vec::new(),
        }
    }

    /// What is wrong with the parameters: names and details.
    pub fn violations(self) -> Vec<(&'static str, String)> {
        violations(self.hyperparameters())
    }

    /// Multiplications that drawing a layer takes beyond one for each weight, about: min(J, K)² max(J, K) for orthogonal.
    pub fn multiplications(self, units: u64, inputs: u64) -> u64 {
        if self != Self::Orthogonal {
            return 0;
        }
        let (less, more) = (units.min(inputs), units.max(inputs));
        less.saturating_mul(less).saturating_mul(more)
    }

    /// What a layer of this activation starts from where nothing was asked for.
    ///
    /// He for the relu family, LeCun for selu, else Glorot. Source: He et al. (2015), section 2.2, for relu, whose half of
    /// zeros the variance 2/K makes up for, and its smooth kin; Klambauer et al. (2017) for selu, which wants the variance 1/K.
    pub fn default_for(activation: Activation) -> Self {
        match activation {
            Activation::Relu
            | Activation::LeakyRelu { .. }
            | Activation::Elu { .. }
            | Activation::Gelu { .. }
            | Activation::Silu
            | Activation::Softplus => Self::HeUniform,
            Activation::Selu => Self::LecunNormal,
            Activation::Sigmoid
            | Activation::Tanh
            | Activation::Identity
            | Activation::Softmax
            | Activation::Softsign
            | Activation::HardSigmoid => Self::GlorotUniform,
        }
    }

    /// Draws a layer of `units` × `inputs` weights.
    ///
    /// Weights are drawn row by row (those of `orthogonal` vector by vector) in f64 and then rounded to `T`, so that both
    /// dtypes start from the same numbers; the biases of `standard_normal` are drawn after them.
    pub fn draw<T: Scalar>(
        self,
        units: usize,
        inputs: usize,
        activation: Activation,
        random: &mut impl Rng,
    ) -> Layer<T> {
        let weights = match self.distribution(units, inputs) {
            Some(each) => {
                let draw = || T::from_f64(each.draw(random));
                Array2::from_shape_simple_fn((units, inputs), draw)
            }
            None => orthogonal(units, inputs, random),
        };
        let biases = if self == Self::StandardNormal {
            Array1::from_shape_simple_fn(units, || T::from_f64(normal(random)))
        } else {
            Array1::zeros(units)
        };
        Layer {
            weights,
            biases,
            activation,
            normalization: None,
        }
    }

    /// What each weight is drawn from; none where they are not drawn one by one.
    fn distribution(self, units: usize, inputs: usize) -> Option<Distribution> {
        let (fan_in, fan_out) = (inputs as f64, units as f64);
        Some(match self {
            Self::GlorotNormal => Distribution::of_variance(2.0 / (fan_in + fan_out)),
            Self::GlorotUniform => Distribution::up_to(2.0 / (fan_in + fan_out)),
            Self::HeNormal => Distribution::of_variance(2.0 / fan_in),
            Self::HeUniform => Distribution::up_to(2.0 / fan_in),
            Self::LecunNormal => Distribution::of_variance(1.0 / fan_in),
            Self::LecunUniform => Distribution::up_to(1.0 / fan_in),
            Self::StandardNormal => Distribution::of_variance(1.0),
            Self::Zeros => Distribution::Constant { value: 0.0 },
            Self::Orthogonal => return None,
            Self::Normal { mean, std } => Distribution::Normal { mean, std },
            Self::TruncatedNormal { mean, std } => Distribution::TruncatedNormal { mean, std },
            Self::Uniform { low, high } => Distribution::Uniform { low, high },
            Self::Constant { value } => Distribution::Constant { value },
        })
    }
}

impl Distribution {
    /// N(0, variance).
    fn of_variance(variance: f64) -> Self {
        Self::Normal {
            mean: 0.0,
            std: variance.sqrt(),
        }
    }

    /// U(−r, r) of this variance, which is r²/3.
    fn up_to(variance: f64) -> Self {
        let limit = (3.0 * variance).sqrt();
        Self::Uniform {
            low: -limit,
            high: limit,
        }
    }

    fn draw(self, random: &mut impl Rng) -> f64 {
        match self {
            Self::Normal { mean, std } => mean + std * normal(random),
            Self::TruncatedNormal { mean, std } => loop {
                let drawn = normal(random);
                if drawn.abs() <= 2.0 {
                    return mean + std * drawn;
                }
            },
            Self::Uniform { low, high } => uniform(random, low, high),
            Self::Constant { value } => value,
        }
    }
}

/// w (J × K) with orthonormal rows, or columns where there are more rows than columns.
fn orthogonal<T: Scalar>(units: usize, inputs: usize, random: &mut impl Rng) -> Array2<T> {
    let (less, more) = (units.min(inputs), units.max(inputs));
    let vectors = orthonormal(less, more, random);
    let place = |(row, column): (usize, usize)| {
        let (vector, number) = if units <= inputs {
            (row, column)
        } else {
            (column, row)
        };
        T::from_f64(vectors[vector * more + number])
    };
    Array2::from_shape_fn((units, inputs), place)
}

const fn default_std() -> f64 {
    0.05
}

const fn default_low() -> f64 {
    -0.05
}

const fn default_high() -> f64 {
    0.05
}
