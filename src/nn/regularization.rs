//! What is done to the gradient and to the parameters so that a network does not learn its training rows by heart, or
//! run away.

use std::fmt;

use ndarray::ArrayViewMut1;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::nn::optimizer::{MOST_SLOTS, Rule, sign};
use crate::nn::{Gradient, Hyperparameter, Layer, Network, Range, Scalar};

/// Regularization of a run. By default there is none.
///
/// The gradient of the batch becomes g = (1/N) Σₙ ∂Cₙ/∂p + λ₂ w + λ₁ sign(w), the last two for weights alone; then each
/// of its entries is clipped, then its norm; then the optimizer moves the parameters; then max_norm is imposed. Neither
/// penalty is part of the reported loss. Dropout and noise are a training step's alone, see [`crate::nn::Noise`]: its loss,
/// its gradient and their statistics are those of the network that they leave; nothing else ever meets them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Regularization {
    /// λ₁: λ₁ Σ |w| is added to the loss that is descended. Its slope at 0 is taken as 0. Source: Tibshirani (1996).
    pub l1: f64,
    /// λ₂: ½ λ₂ Σ w² is added to the loss that is descended. Source: Nielsen (2015), equation 85, with λ₂ = λ/n.
    pub l2: f64,
    /// c: after each step, the weights of a unit, or the vector of a category, whose norm is above c are scaled to norm c.
    /// Source: Srivastava et al. (2014), section 5.1.
    pub max_norm: Option<f64>,
    /// Entries of the gradient are kept within ± this.
    pub clip_value: Option<f64>,
    /// c: a gradient whose norm, over all layers together, is above c is scaled by c / (norm + 10⁻⁶).
    /// Source: Pascanu et al. (2013), algorithm 1; the 10⁻⁶ is PyTorch's.
    pub clip_norm: Option<f64>,
    /// p of the hidden layers: a ← m ⊙ a / (1 − p), each entry of m 0 with probability p, else 1.
    /// Source: Srivastava et al. (2014), section 4, with the factor in training, as in section 10 and in PyTorch.
    pub dropout: Dropout,
    /// p of the inputs, as they are after preprocessing; categories that are embedded are left alone, by noise too.
    pub input_dropout: f64,
    /// s: before that, each input becomes x + s n, n from N(0, 1). Source: Bishop (1995).
    pub input_noise: f64,
}

/// Dropout of the hidden layers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Dropout {
    /// p of all of them.
    All(f64),
    /// p of each.
    Each(Vec<f64>),
}

impl Dropout {
    /// p of a hidden layer, counted from 0.
    ///
    /// Panics: where there is a list, and it has no entry for the layer, the caller's bug.
    pub fn of(&self, hidden_layer: usize) -> f64 {
        match self {
            Self::All(p) => *p,
            Self::Each(list) => list[hidden_layer],
        }
    }
}

impl Default for Dropout {
    fn default() -> Self {
        Self::All(0.0)
    }
}

impl<'de> Deserialize<'de> for Dropout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DropoutVisitor)
    }
}

struct DropoutVisitor;

impl<'de> Visitor<'de> for DropoutVisitor {
    type Value = Dropout;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number or an array of numbers")
    }

    fn visit_f64<E: Error>(self, p: f64) -> Result<Dropout, E> {
        Ok(Dropout::All(p))
    }

    fn visit_u64<E: Error>(self, p: u64) -> Result<Dropout, E> {
        Ok(Dropout::All(p as f64))
    }

    fn visit_i64<E: Error>(self, p: i64) -> Result<Dropout, E> {
        Ok(Dropout::All(p as f64))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Dropout, A::Error> {
        let mut list = Vec::new();
        while let Some(p) = numbers.next_element()? {
            list.push(p);
        }
        Ok(Dropout::Each(list))
    }
}

/// Penalties that are accepted.
const PENALTIES: Range = Range::closed(0.0, 1e6);
/// Bounds of gradients and of weights that are accepted.
const BOUNDS: Range = Range::above(0.0, 1e30);
/// Shares of units left out that are accepted.
const SHARES: Range = Range::below(0.0, 1.0);
/// Standard deviations that are accepted.
const DEVIATIONS: Range = Range::closed(0.0, 1e6);

impl Regularization {
    /// Every part, as it is set, with its range.
    pub fn hyperparameters(&self) -> Vec<Hyperparameter> {
        let Self {
            l1,
            l2,
            max_norm,
            clip_value,
            clip_norm,
            ref dropout,
            input_dropout,
            input_noise,
        } = *self;
        let meaning = "p, the share of units that a step leaves out";
        let dropout = match dropout {
            Dropout::All(p) => Hyperparameter::number("dropout", *p, SHARES, meaning),
            Dropout::Each(list) => {
                Hyperparameter::numbers("dropout", list.clone(), SHARES, meaning)
            }
        };
        vec![
            Hyperparameter::number("l1", l1, PENALTIES, "λ₁, the weight of Σ |w|"),
            Hyperparameter::number("l2", l2, PENALTIES, "λ₂, the weight of ½ Σ w²"),
            Hyperparameter::optional(
                "max_norm",
                max_norm,
                BOUNDS,
                "the largest norm of a unit's weights",
            ),
            Hyperparameter::optional(
                "clip_value",
                clip_value,
                BOUNDS,
                "the largest entry of the gradient",
            ),
            Hyperparameter::optional(
                "clip_norm",
                clip_norm,
                BOUNDS,
                "the largest norm of the whole gradient",
            ),
            dropout,
            Hyperparameter::number(
                "input_dropout",
                input_dropout,
                SHARES,
                "p, the share of inputs that a step leaves out",
            ),
            Hyperparameter::number(
                "input_noise",
                input_noise,
                DEVIATIONS,
                "s, the standard deviation of what is added to the inputs",
            ),
        ]
    }

    /// What is wrong with it: names, with the place in a list, and details.
    pub fn violations(&self) -> Vec<(String, String)> {
        let parts = self.hyperparameters().into_iter();
        parts.flat_map(|part| part.violations()).collect()
    }

    /// Imposes max_norm on each unit of a layer.
    pub(super) fn limit_norms<T: Scalar>(&self, layer: &mut Layer<T>) {
        if let Some(most) = self.max_norm {
            limit(most, layer.weights.rows_mut());
        }
    }

    /// Imposes max_norm on the vector of each category of a table.
    pub(super) fn limit_vectors<T: Scalar>(&self, table: &mut Layer<T>) {
        if let Some(most) = self.max_norm {
            limit(most, table.weights.columns_mut());
        }
    }
}

/// Scales those of the rows down whose norm is larger. Norms are summed in f64, in order.
fn limit<'a, T: Scalar>(most: f64, rows: impl IntoIterator<Item = ArrayViewMut1<'a, T>>) {
    for mut weights in rows {
        let norm = weights
            .iter()
            .fold(0.0, |sum, &w| sum + w.to_f64() * w.to_f64())
            .sqrt();
        if norm > most {
            weights *= T::from_f64(most / norm);
        }
    }
}

/// Regularization with its constants for one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Regularized<T> {
    /// 1/Σ wₙ.
    scale: T,
    l1: T,
    l2: T,
    clip_value: T,
    clip_norm: Option<f64>,
    /// What clipping the norm multiplies by.
    factor: T,
    /// Whether the gradient is the mean of the sums and nothing else.
    plain: bool,
}

impl<T: Scalar> Regularized<T> {
    pub(super) fn new(regularization: &Regularization, weight: f64) -> Self {
        let Regularization {
            l1,
            l2,
            clip_value,
            clip_norm,
            ..
        } = *regularization;
        Self {
            scale: T::from_f64(1.0 / weight),
            l1: T::from_f64(l1),
            l2: T::from_f64(l2),
            clip_value: clip_value.map_or(T::infinity(), T::from_f64),
            clip_norm,
            factor: T::one(),
            plain: l1 == 0.0 && l2 == 0.0 && clip_value.is_none() && clip_norm.is_none(),
        }
    }

    /// Finds the factor that brings the norm of the gradient under its bound. Layers that are frozen do not count.
    pub(super) fn clip_norm(
        &mut self,
        network: &Network<T>,
        sums: &Gradient<T>,
        frozen: impl Fn(usize) -> bool,
    ) {
        let Some(most) = self.clip_norm else { return };
        let mut squares = 0.0;
        for (index, (layer, sums)) in network.parts().iter().zip(&sums.layers).enumerate() {
            if frozen(index) {
                continue;
            }
            let [weights, biases, scales] = sums.slices();
            for (&w, &sum) in layer.weights_slice().iter().zip(weights) {
                let g = self.of_weight(sum, w).to_f64();
                squares += g * g;
            }
            for &sum in biases.iter().chain(scales) {
                let g = self.of_bias(sum).to_f64();
                squares += g * g;
            }
        }
        let factor = most / (squares.sqrt() + 1e-6);
        if factor < 1.0 {
            self.factor = T::from_f64(factor);
        }
    }

    pub(super) fn step_weights(
        &self,
        rule: Rule<T>,
        weights: &mut [T],
        sums: &[T],
        slots: [&mut [T]; MOST_SLOTS],
    ) -> bool {
        if self.plain {
            return self.step_plain(rule, weights, sums, slots);
        }
        let this = *self;
        rule.apply(weights, sums, slots, move |sum, w| this.of_weight(sum, w))
    }

    pub(super) fn step_biases(
        &self,
        rule: Rule<T>,
        biases: &mut [T],
        sums: &[T],
        slots: [&mut [T]; MOST_SLOTS],
    ) -> bool {
        if self.plain {
            return self.step_plain(rule, biases, sums, slots);
        }
        let this = *self;
        rule.apply(biases, sums, slots, move |sum, _| this.of_bias(sum))
    }

    /// η/Σ wₙ, where a step is p ← p − η/Σ wₙ · Σ and nothing else.
    pub(super) fn rate_of_sums(&self, rule: Rule<T>) -> Option<T> {
        match rule {
            Rule::Descend { rate_of_sum, .. } if self.plain => Some(rate_of_sum),
            _ => None,
        }
    }

    /// A step by the mean gradient; plain gradient descent takes the 1/N into its rate.
    fn step_plain(
        &self,
        rule: Rule<T>,
        parameters: &mut [T],
        sums: &[T],
        slots: [&mut [T]; MOST_SLOTS],
    ) -> bool {
        match rule {
            Rule::Descend { rate_of_sum, .. } => {
                let rule = Rule::Descend {
                    rate: rate_of_sum,
                    rate_of_sum,
                };
                rule.apply(parameters, sums, slots, |sum, _| sum)
            }
            rule => {
                let scale = self.scale;
                rule.apply(parameters, sums, slots, move |sum, _| sum * scale)
            }
        }
    }

    fn of_weight(&self, sum: T, w: T) -> T {
        self.clipped(sum * self.scale + self.l2 * w + self.l1 * sign(w))
    }

    fn of_bias(&self, sum: T) -> T {
        self.clipped(sum * self.scale)
    }

    /// A NaN stays NaN.
    fn clipped(&self, g: T) -> T {
        let most = self.clip_value;
        let g = if g > most {
            most
        } else if g < -most {
            -most
        } else {
            g
        };
        g * self.factor
    }
}
