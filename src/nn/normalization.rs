//! Normalization of a layer's weighted inputs: over the samples of a batch, or over the units of the layer.

use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::nn::hyperparameter::violations;
use crate::nn::{Hyperparameter, Range, Scalar};

/// How the weighted inputs of a layer are normalized before its activation: z = γ ⊙ n(w·a) + b.
///
/// In JSON by its name, or with its parameters: `{"type":"batch","momentum":0.01}`. The biases b are added after it, where
/// they are the β of the papers: n takes off any that were added before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Normalization {
    /// n(u) = (u − μ) / √(v + ε), for each unit by itself. A training step takes the mean μ and the variance v over the
    /// samples of its batch, with 1/N; everything else takes the running ones, and an answer depends on its own row alone.
    ///
    /// After each step, running ← (1 − m) running + m (that of the batch), the variance with 1/(N − 1). A batch of one sample
    /// has no variance: its step takes the running ones, and leaves them. A frozen layer does that too. As PyTorch's
    /// `BatchNorm1d` after a `Linear` without biases; weights of samples do not count in μ and v, as in Keras.
    ///
    /// Source: Ioffe and Szegedy (2015), algorithms 1 and 2.
    Batch {
        /// m, in (0, 1].
        #[serde(default = "default_momentum")]
        momentum: f64,
        /// ε, in [10⁻¹², 1].
        #[serde(default = "default_epsilon")]
        epsilon: f64,
    },
    /// n(u) = (u − μ) / √(v + ε), for each sample by itself: μ and v are over the units of the layer, with 1/J.
    ///
    /// As PyTorch's `LayerNorm` after a `Linear` without biases. Source: Ba, Kiros and Hinton (2016), equation 3.
    Layer {
        /// ε, in [10⁻¹², 1].
        #[serde(default = "default_epsilon")]
        epsilon: f64,
    },
}

const fn default_momentum() -> f64 {
    0.1
}

const fn default_epsilon() -> f64 {
    1e-5
}

impl Normalization {
    /// Every normalization, with the parameters it has where none are given.
    pub const ALL: [Self; 2] = [
        Self::Batch {
            momentum: default_momentum(),
            epsilon: default_epsilon(),
        },
        Self::Layer {
            epsilon: default_epsilon(),
        },
    ];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Batch { .. } => "batch",
            Self::Layer { .. } => "layer",
        }
    }

    /// Whether a training step needs the whole batch before it can go beyond the layer.
    pub fn is_of_batch(self) -> bool {
        match self {
            Self::Batch { .. } => true,
            Self::Layer { .. } => false,
        }
    }

    /// ε.
    pub fn epsilon(self) -> f64 {
        match self {
            Self::Batch { epsilon, .. } | Self::Layer { epsilon } => epsilon,
        }
    }

    /// Every hyperparameter, as it is set, with its range.
    pub fn hyperparameters(self) -> Vec<Hyperparameter> {
        let epsilon = Hyperparameter::number(
            "epsilon",
            self.epsilon(),
            Range::closed(1e-12, 1.0),
            "ε, what is added to the variance",
        );
        match self {
            Self::Batch { momentum, .. } => {
                let meaning = "m, the share of the running mean and variance that a step replaces";
                let range = Range::above(0.0, 1.0);
                let momentum = Hyperparameter::number("momentum", momentum, range, meaning);
                vec![momentum, epsilon]
            }
            Self::Layer { .. } => vec![epsilon],
        }
    }

    /// What is wrong with the hyperparameters: names and details.
    pub fn violations(self) -> Vec<(&'static str, String)> {
        violations(self.hyperparameters())
    }
}

/// A layer's normalization with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalized<T> {
    /// Which it is.
    pub by: Normalization,
    /// γ, (J): parameters, from 1.
    pub scales: Array1<T>,
    /// The running mean of batch normalization, (J), from 0; empty of others.
    pub running_mean: Array1<T>,
    /// Its running variance, (J), from 1, never negative; empty of others.
    pub running_variance: Array1<T>,
}

impl<T: Scalar> Normalized<T> {
    /// That of a layer before its first step.
    pub fn new(by: Normalization, units: usize) -> Self {
        let kept = if by.is_of_batch() { units } else { 0 };
        Self {
            by,
            scales: Array1::ones(units),
            running_mean: Array1::zeros(kept),
            running_variance: Array1::ones(kept),
        }
    }

    /// Its arrays by the names they have in JSON and in artifacts.
    pub fn arrays(&self) -> [(&'static str, &Array1<T>); 3] {
        [
            ("scales", &self.scales),
            ("running_mean", &self.running_mean),
            ("running_variance", &self.running_variance),
        ]
    }

    /// Whether the arrays are those of a layer of so many units, finite, and no variance is negative.
    pub(super) fn fits(&self, units: usize) -> bool {
        let kept = if self.by.is_of_batch() { units } else { 0 };
        let lengths = self.arrays().map(|(_, array)| array.len());
        lengths == [units, kept, kept]
            && self.running_variance.iter().all(|&v| v >= T::zero())
            && self.is_finite()
    }

    pub(super) fn is_finite(&self) -> bool {
        let arrays = self.arrays().into_iter();
        arrays
            .flat_map(|(_, array)| array)
            .all(|value| value.is_finite())
    }

    pub(super) fn map<U>(&self, cast: impl Fn(&T) -> U) -> Normalized<U> {
        Normalized {
            by: self.by,
            scales: self.scales.map(&cast),
            running_mean: self.running_mean.map(&cast),
            running_variance: self.running_variance.map(&cast),
        }
    }

    /// Copies the numbers of another of the same shape. Allocates nothing.
    pub(super) fn assign(&mut self, from: &Self) {
        self.scales.assign(&from.scales);
        self.running_mean.assign(&from.running_mean);
        self.running_variance.assign(&from.running_variance);
    }

    /// γ in order.
    pub(super) fn scales_slice(&self) -> &[T] {
        self.scales.as_slice().expect("an array of one piece")
    }

    /// running ← (1 − m) running + m (mean and variance of a batch of `samples`, at least 2), the variance times N/(N − 1).
    /// False where any of them has become NaN or infinite.
    pub(super) fn follow(&mut self, (mean, variance): (&[f64], &[f64]), samples: usize) -> bool {
        let Normalization::Batch { momentum, .. } = self.by else {
            return true;
        };
        let unbiased = samples as f64 / (samples as f64 - 1.0);
        let kept = 1.0 - momentum;
        for (running, mean) in self.running_mean.iter_mut().zip(mean) {
            *running = T::from_f64(kept * running.to_f64() + momentum * mean);
        }
        for (running, variance) in self.running_variance.iter_mut().zip(variance) {
            *running = T::from_f64(kept * running.to_f64() + momentum * unbiased * variance);
        }
        let mut numbers = self.running_mean.iter().chain(&self.running_variance);
        numbers.all(|number| number.is_finite())
    }
}

/// The normalized weighted inputs of a layer for a chunk of rows, and what leads back through them.
#[derive(Clone, Debug)]
pub(super) struct NormalizedRows<T> {
    pub(super) units: usize,
    /// u = w·a, then n(u): (rows × J).
    pub(super) values: Vec<T>,
    /// ∂C/∂u: (rows × J).
    pub(super) deltas: Vec<T>,
    /// μ of each unit, of batch normalization.
    means: Vec<T>,
    /// 1/√(v + ε) of each unit, or of each row of layer normalization.
    inverses: Vec<T>,
}

impl<T: Scalar> NormalizedRows<T> {
    pub(super) fn new(by: Normalization, units: usize, rows: usize) -> Self {
        let statistics = if by.is_of_batch() { units } else { rows };
        Self {
            units,
            values: vec![T::zero(); rows * units],
            deltas: vec![T::zero(); rows * units],
            means: vec![T::zero(); if by.is_of_batch() { units } else { 0 }],
            inverses: vec![T::zero(); statistics],
        }
    }

    /// Takes the running mean and variance, where the layer has them.
    pub(super) fn take_running(&mut self, layer: &Normalized<T>) {
        if !layer.by.is_of_batch() {
            return;
        }
        let numbers = layer.running_mean.iter().zip(&layer.running_variance);
        let numbers = numbers.map(|(&mean, &variance)| (mean.to_f64(), variance.to_f64()));
        self.take(numbers, layer.by.epsilon());
    }

    /// Takes the mean and variance of the batch.
    pub(super) fn take_batch(&mut self, mean: &[f64], variance: &[f64], epsilon: f64) {
        let numbers = mean.iter().copied().zip(variance.iter().copied());
        self.take(numbers, epsilon);
    }

    fn take(&mut self, numbers: impl Iterator<Item = (f64, f64)>, epsilon: f64) {
        let places = self.means.iter_mut().zip(&mut self.inverses);
        for ((place, inverse), (mean, variance)) in places.zip(numbers) {
            *place = T::from_f64(mean);
            *inverse = T::from_f64(1.0 / (variance + epsilon).sqrt());
        }
    }

    /// u ← n(u), and z = γ ⊙ n(u) + b. Shapes: `z` (rows × J), `biases` (J).
    pub(super) fn normalize(&mut self, layer: &Normalized<T>, biases: &[T], z: &mut [T]) {
        let units = self.units;
        let (gammas, epsilon) = (layer.scales_slice(), layer.by.epsilon());
        let rows = self.values.chunks_exact_mut(units);
        for (row, (u, z)) in rows.zip(z.chunks_exact_mut(units)).enumerate() {
            match layer.by {
                Normalization::Batch { .. } => {
                    let statistics = self.means.iter().zip(&self.inverses);
                    for (u, (&mean, &inverse)) in u.iter_mut().zip(statistics) {
                        *u = (*u - mean) * inverse;
                    }
                }
                Normalization::Layer { .. } => {
                    let (mean, variance) = mean_and_variance(u);
                    let inverse = 1.0 / (variance + epsilon).sqrt();
                    self.inverses[row] = T::from_f64(inverse);
                    for u in &mut *u {
                        *u = T::from_f64((u.to_f64() - mean) * inverse);
                    }
                }
            }
            let parameters = gammas.iter().zip(biases);
            for ((z, &u), (&gamma, &b)) in z.iter_mut().zip(&*u).zip(parameters) {
                *z = gamma * u + b;
            }
        }
    }

    /// ∂C/∂u from δ = ∂C/∂z, with g = γ ⊙ δ and means over what n was taken over:
    /// ∂C/∂u = (g − mean(g) − n(u) mean(g ⊙ n(u))) / √(v + ε), and g / √(v + ε) where μ and v are constants.
    ///
    /// `sums` has Σ δ and Σ δ ⊙ n(u) of each unit over the N samples of the batch, where μ and v are the batch's.
    /// Shapes: `deltas` (rows × J). Source: Ioffe and Szegedy (2015), section 3, their equations put together.
    pub(super) fn lead_back(
        &mut self,
        layer: &Normalized<T>,
        deltas: &[T],
        sums: Option<(&[f64], &[f64], usize)>,
    ) {
        let units = self.units;
        let gammas = layer.scales_slice();
        let rows = deltas
            .chunks_exact(units)
            .zip(self.values.chunks_exact(units));
        let places = self.deltas.chunks_exact_mut(units);
        for (row, ((deltas, values), places)) in rows.zip(places).enumerate() {
            match (layer.by, sums) {
                (Normalization::Layer { .. }, _) => {
                    let inverse = self.inverses[row].to_f64();
                    lead_row_back((deltas, values), gammas, inverse, places);
                }
                (Normalization::Batch { .. }, None) => {
                    for unit in 0..units {
                        places[unit] = gammas[unit] * self.inverses[unit] * deltas[unit];
                    }
                }
                (Normalization::Batch { .. }, Some((of_deltas, of_products, samples))) => {
                    let share = 1.0 / samples as f64;
                    for unit in 0..units {
                        let value = values[unit].to_f64();
                        let rest = deltas[unit].to_f64()
                            - share * (of_deltas[unit] + value * of_products[unit]);
                        let factor = gammas[unit].to_f64() * self.inverses[unit].to_f64();
                        places[unit] = T::from_f64(factor * rest);
                    }
                }
            }
        }
    }
}

fn lead_row_back<T: Scalar>(
    (deltas, values): (&[T], &[T]),
    gammas: &[T],
    inverse: f64,
    places: &mut [T],
) {
    let entries = || {
        let scaled = deltas.iter().zip(gammas);
        let scaled = scaled.map(|(&delta, &gamma)| delta.to_f64() * gamma.to_f64());
        scaled.zip(values.iter().map(|&value| value.to_f64()))
    };
    let (mut of_g, mut of_products) = (0.0, 0.0);
    for (g, value) in entries() {
        of_g += g;
        of_products += g * value;
    }
    let share = 1.0 / values.len() as f64;
    for (place, (g, value)) in places.iter_mut().zip(entries()) {
        *place = T::from_f64(inverse * (g - share * (of_g + value * of_products)));
    }
}

/// μ and v = (1/J) Σ (u − μ)², in two passes.
fn mean_and_variance<T: Scalar>(row: &[T]) -> (f64, f64) {
    let share = 1.0 / row.len() as f64;
    let mean = share * row.iter().fold(0.0, |sum, &u| sum + u.to_f64());
    let squares = row.iter().fold(0.0, |sum, &u| {
        let difference = u.to_f64() - mean;
        sum + difference * difference
    });
    (mean, share * squares)
}
