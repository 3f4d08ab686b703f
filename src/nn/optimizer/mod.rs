//! How the gradient moves the parameters: which optimizer, and its hyperparameters.

mod lbfgs;
mod line_search;
mod rules;
mod update;

use serde::{Deserialize, Serialize};

use crate::nn::hyperparameter::violations;
use crate::nn::optimizer::rules::slots;
use crate::nn::{Hyperparameter, Range};

pub use lbfgs::{Lbfgs, LbfgsSpec, MOST_STATE_SLOTS, Progress};
pub(super) use rules::{MOST_SLOTS, Rule, sign};
pub(super) use update::inputs_at_once;
pub use update::{LayerRule, Optimizer, OptimizerState};

/// Which optimizer, and its hyperparameters, as in JSON: `{"type":"gradient_descent","learning_rate":0.1}`.
///
/// g is the gradient of the batch, (1/N) Σₙ ∂Cₙ/∂p, with what regularization adds to it; η the learning rate; t the
/// step, from 1. Where nothing else is said, what is remembered (m, v, …) starts at 0, and defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// p ← p − η g. With momentum μ: b ← μ b + g, and p ← p − η b, or with Nesterov's p ← p − η (g + μ b).
    ///
    /// Source: Arango, "gradient descent"; Sutskever et al. (2013), section 2, in PyTorch's form, where η stands outside
    /// of b. The default of η, 0.1, is ours: the source leaves η to the reader.
    GradientDescent {
        /// η.
        #[serde(default = "default_learning_rate")]
        learning_rate: f64,
        /// μ.
        #[serde(default)]
        momentum: f64,
        /// Whether the momentum is Nesterov's.
        #[serde(default)]
        nesterov: bool,
    },
    /// s ← s + g², p ← p − η g / (√s + ε). Source: Duchi et al. (2011), figure 1, diagonal.
    Adagrad {
        /// η.
        #[serde(default = "one_hundredth")]
        learning_rate: f64,
        /// ε.
        #[serde(default = "tiny")]
        epsilon: f64,
    },
    /// s ← ρ s + (1 − ρ) g², d = √(u + ε) / √(s + ε) · g, u ← ρ u + (1 − ρ) d², p ← p − η d.
    ///
    /// Source: Zeiler (2012), algorithm 1, which has no η: the default is 1. ρ is PyTorch's 0.9; the paper tries 0.95.
    Adadelta {
        /// η.
        #[serde(default = "one")]
        learning_rate: f64,
        /// ρ.
        #[serde(default = "nine_tenths")]
        rho: f64,
        /// ε.
        #[serde(default = "millionth")]
        epsilon: f64,
    },
    /// s ← ρ s + (1 − ρ) g², p ← p − η g / (√s + ε); centered, c ← ρ c + (1 − ρ) g and √(s − c²) instead of √s; with
    /// momentum, b ← μ b + g / (√s + ε) and p ← p − η b.
    ///
    /// Source: Tieleman and Hinton (2012), lecture 6e; centered: Graves (2013), equations 38 to 41. Where rounding makes
    /// s − c² negative we take 0; PyTorch would take NaN.
    Rmsprop {
        /// η.
        #[serde(default = "one_hundredth")]
        learning_rate: f64,
        /// ρ.
        #[serde(default = "ninety_nine_hundredths")]
        rho: f64,
        /// ε.
        #[serde(default = "small")]
        epsilon: f64,
        /// μ.
        #[serde(default)]
        momentum: f64,
        /// Whether the mean gradient is taken off.
        #[serde(default)]
        centered: bool,
    },
    /// g ← g + λ p, m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g²,
    /// p ← p − η/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε).
    ///
    /// Source: Kingma and Ba (2015), algorithm 1. λ is PyTorch's weight decay: part of the gradient, of every parameter.
    Adam {
        /// η.
        #[serde(default = "thousandth")]
        learning_rate: f64,
        /// β₁.
        #[serde(default = "nine_tenths")]
        beta1: f64,
        /// β₂.
        #[serde(default = "nine_hundred_ninety_nine_thousandths")]
        beta2: f64,
        /// ε.
        #[serde(default = "small")]
        epsilon: f64,
        /// λ.
        #[serde(default)]
        weight_decay: f64,
    },
    /// p ← (1 − η λ) p, then Adam's step without λ: the decay is decoupled from the gradient.
    ///
    /// Source: Loshchilov and Hutter (2019), algorithm 2, with η before λ as in PyTorch.
    Adamw {
        /// η.
        #[serde(default = "thousandth")]
        learning_rate: f64,
        /// β₁.
        #[serde(default = "nine_tenths")]
        beta1: f64,
        /// β₂.
        #[serde(default = "nine_hundred_ninety_nine_thousandths")]
        beta2: f64,
        /// ε.
        #[serde(default = "small")]
        epsilon: f64,
        /// λ.
        #[serde(default = "one_hundredth")]
        weight_decay: f64,
    },
    /// Adam's step with û ← max(û, v) in the place of v.
    ///
    /// Source: Reddi et al. (2018), algorithm 2, with Adam's bias corrections, as in PyTorch; the paper has none.
    Amsgrad {
        /// η.
        #[serde(default = "thousandth")]
        learning_rate: f64,
        /// β₁.
        #[serde(default = "nine_tenths")]
        beta1: f64,
        /// β₂.
        #[serde(default = "nine_hundred_ninety_nine_thousandths")]
        beta2: f64,
        /// ε.
        #[serde(default = "small")]
        epsilon: f64,
        /// λ, part of the gradient as Adam's.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adam with Nesterov's momentum: with μₜ = β₁ (1 − ½·0.96^{ψ t}) and Πₜ = μ₁⋯μₜ,
    /// p ← p − η ((1 − μₜ)/(1 − Πₜ) g + μₜ₊₁/(1 − Πₜ₊₁) m) / (√(v/(1 − β₂ᵗ)) + ε).
    ///
    /// Source: Dozat (2016), algorithm 2, as in PyTorch.
    Nadam {
        /// η.
        #[serde(default = "two_thousandths")]
        learning_rate: f64,
        /// β₁.
        #[serde(default = "nine_tenths")]
        beta1: f64,
        /// β₂.
        #[serde(default = "nine_hundred_ninety_nine_thousandths")]
        beta2: f64,
        /// ε.
        #[serde(default = "small")]
        epsilon: f64,
        /// ψ.
        #[serde(default = "four_thousandths")]
        momentum_decay: f64,
    },
    /// p ← p − η (sign(β₁ m + (1 − β₁) g) + λ p), then m ← β₂ m + (1 − β₂) g; the sign of 0 is 0.
    ///
    /// Source: Chen et al. (2023), algorithm 2; defaults as there. PyTorch has no Lion.
    Lion {
        /// η.
        #[serde(default = "ten_thousandth")]
        learning_rate: f64,
        /// β₁.
        #[serde(default = "nine_tenths")]
        beta1: f64,
        /// β₂.
        #[serde(default = "ninety_nine_hundredths")]
        beta2: f64,
        /// λ.
        #[serde(default)]
        weight_decay: f64,
    },
    /// L-BFGS, for whole batches. Source: at its spec.
    Lbfgs(LbfgsSpec),
}

macro_rules! defaults {
    ($($name:ident = $value:literal),* $(,)?) => {
        $(fn $name() -> f64 { $value })*
    };
}

defaults!(
    default_learning_rate = 0.1,
    one = 1.0,
    one_hundredth = 0.01,
    thousandth = 1e-3,
    two_thousandths = 2e-3,
    four_thousandths = 4e-3,
    ten_thousandth = 1e-4,
    millionth = 1e-6,
    small = 1e-8,
    tiny = 1e-10,
    nine_tenths = 0.9,
    ninety_nine_hundredths = 0.99,
    nine_hundred_ninety_nine_thousandths = 0.999,
);

/// Learning rates that are accepted.
const RATES: Range = Range::above(0.0, 1e6);
/// Momenta and decay rates of means.
const SHARES: Range = Range::below(0.0, 1.0);
/// What keeps a divisor from 0.
const EPSILONS: Range = Range::above(0.0, 1.0);
/// Weight decays.
const DECAYS: Range = Range::closed(0.0, 1e6);

fn learning_rate(value: f64) -> Hyperparameter {
    Hyperparameter::number("learning_rate", value, RATES, "η, the size of a step")
}

fn momentum(value: f64) -> Hyperparameter {
    let meaning = "μ, the share of the last step's direction that is kept";
    Hyperparameter::number("momentum", value, SHARES, meaning)
}

fn rho(value: f64) -> Hyperparameter {
    let meaning = "ρ, the share of the running mean of g² that is kept";
    Hyperparameter::number("rho", value, SHARES, meaning)
}

fn beta1(value: f64) -> Hyperparameter {
    let meaning = "β₁, the share of the running mean of g that is kept";
    Hyperparameter::number("beta1", value, SHARES, meaning)
}

fn beta2(value: f64, meaning: &'static str) -> Hyperparameter {
    Hyperparameter::number("beta2", value, SHARES, meaning)
}

fn epsilon(value: f64) -> Hyperparameter {
    let meaning = "ε, which keeps the divisor from 0";
    Hyperparameter::number("epsilon", value, EPSILONS, meaning)
}

fn weight_decay(value: f64, meaning: &'static str) -> Hyperparameter {
    Hyperparameter::number("weight_decay", value, DECAYS, meaning)
}

const OF_SQUARES: &str = "β₂, the share of the running mean of g² that is kept";
const COUPLED: &str = "λ, times the parameter added to its gradient";
const DECOUPLED: &str = "λ, times η the share of each parameter that a step takes off";

impl OptimizerSpec {
    /// Plain gradient descent.
    pub const fn descent(learning_rate: f64) -> Self {
        Self::GradientDescent {
            learning_rate,
            momentum: 0.0,
            nesterov: false,
        }
    }

    /// Every optimizer, with its defaults.
    pub fn all() -> [Self; 10] {
        let (beta1, beta2, epsilon) = (
            nine_tenths(),
            nine_hundred_ninety_nine_thousandths(),
            small(),
        );
        [
            Self::default(),
            Self::Adagrad {
                learning_rate: one_hundredth(),
                epsilon: tiny(),
            },
            Self::Adadelta {
                learning_rate: one(),
                rho: nine_tenths(),
                epsilon: millionth(),
            },
            Self::Rmsprop {
                learning_rate: one_hundredth(),
                rho: ninety_nine_hundredths(),
                epsilon,
                momentum: 0.0,
                centered: false,
            },
            Self::Adam {
                learning_rate: thousandth(),
                beta1,
                beta2,
                epsilon,
                weight_decay: 0.0,
            },
            Self::Adamw {
                learning_rate: thousandth(),
                beta1,
                beta2,
                epsilon,
                weight_decay: one_hundredth(),
            },
            Self::Amsgrad {
                learning_rate: thousandth(),
                beta1,
                beta2,
                epsilon,
                weight_decay: 0.0,
            },
            Self::Nadam {
                learning_rate: two_thousandths(),
                beta1,
                beta2,
                epsilon,
                momentum_decay: four_thousandths(),
            },
            Self::Lion {
                learning_rate: ten_thousandth(),
                beta1,
                beta2: ninety_nine_hundredths(),
                weight_decay: 0.0,
            },
            Self::Lbfgs(LbfgsSpec::default()),
        ]
    }

    /// The name used in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GradientDescent { .. } => "gradient_descent",
            Self::Adagrad { .. } => "adagrad",
            Self::Adadelta { .. } => "adadelta",
            Self::Rmsprop { .. } => "rmsprop",
            Self::Adam { .. } => "adam",
            Self::Adamw { .. } => "adamw",
            Self::Amsgrad { .. } => "amsgrad",
            Self::Nadam { .. } => "nadam",
            Self::Lion { .. } => "lion",
            Self::Lbfgs(_) => "lbfgs",
        }
    }

    /// How many numbers it remembers of each parameter.
    pub fn slots(&self) -> usize {
        slots(self)
    }

    /// η.
    pub fn learning_rate(&self) -> f64 {
        match *self {
            Self::GradientDescent { learning_rate, .. }
            | Self::Adagrad { learning_rate, .. }
            | Self::Adadelta { learning_rate, .. }
            | Self::Rmsprop { learning_rate, .. }
            | Self::Adam { learning_rate, .. }
            | Self::Adamw { learning_rate, .. }
            | Self::Amsgrad { learning_rate, .. }
            | Self::Nadam { learning_rate, .. }
            | Self::Lion { learning_rate, .. }
            | Self::Lbfgs(LbfgsSpec { learning_rate, .. }) => learning_rate,
        }
    }

    /// Every hyperparameter, as it is set, with its range.
    pub fn hyperparameters(&self) -> Vec<Hyperparameter> {
        let rate = learning_rate(self.learning_rate());
        match *self {
            Self::GradientDescent {
                momentum: share,
                nesterov,
                ..
            } => {
                let meaning = "whether the momentum is Nesterov's; needs momentum above 0";
                let nesterov = Hyperparameter::flag("nesterov", nesterov, meaning);
                vec![rate, momentum(share), nesterov]
            }
            Self::Adagrad { epsilon: e, .. } => vec![rate, epsilon(e)],
            Self::Adadelta {
                rho: r, epsilon: e, ..
            } => vec![rate, rho(r), epsilon(e)],
            Self::Rmsprop {
                rho: r,
                epsilon: e,
                momentum: share,
                centered,
                ..
            } => {
                let meaning = "whether the running mean of g is taken off";
                let centered = Hyperparameter::flag("centered", centered, meaning);
                vec![rate, rho(r), epsilon(e), momentum(share), centered]
            }
            Self::Adam {
                beta1: b1,
                beta2: b2,
                epsilon: e,
                weight_decay: d,
                ..
            }
            | Self::Amsgrad {
                beta1: b1,
                beta2: b2,
                epsilon: e,
                weight_decay: d,
                ..
            } => vec![
                rate,
                beta1(b1),
                beta2(b2, OF_SQUARES),
                epsilon(e),
                weight_decay(d, COUPLED),
            ],
            Self::Adamw {
                beta1: b1,
                beta2: b2,
                epsilon: e,
                weight_decay: d,
                ..
            } => vec![
                rate,
                beta1(b1),
                beta2(b2, OF_SQUARES),
                epsilon(e),
                weight_decay(d, DECOUPLED),
            ],
            Self::Nadam {
                beta1: b1,
                beta2: b2,
                epsilon: e,
                momentum_decay,
                ..
            } => {
                let meaning = "ψ, how fast the momentum rises to β₁";
                let range = Range::closed(0.0, 1.0);
                let decay =
                    Hyperparameter::number("momentum_decay", momentum_decay, range, meaning);
                vec![rate, beta1(b1), beta2(b2, OF_SQUARES), epsilon(e), decay]
            }
            Self::Lion {
                beta1: b1,
                beta2: b2,
                weight_decay: d,
                ..
            } => {
                let kept = "β₂, the share of the momentum that is kept";
                vec![rate, beta1(b1), beta2(b2, kept), weight_decay(d, DECOUPLED)]
            }
            Self::Lbfgs(spec) => spec.hyperparameters(),
        }
    }

    /// What is wrong with the hyperparameters: names and details, each range and what one asks of another.
    pub fn violations(&self) -> Vec<(&'static str, String)> {
        let mut found = violations(self.hyperparameters());
        if let Self::GradientDescent {
            momentum: 0.0,
            nesterov: true,
            ..
        } = self
        {
            let detail = "must be false where momentum is 0: Nesterov's step looks ahead by it";
            found.push(("nesterov", detail.to_owned()));
        }
        found
    }
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        Self::descent(default_learning_rate())
    }
}
