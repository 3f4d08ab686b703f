//! What is done to the gradient and to the parameters so that a network does not learn its training rows by heart, or
//! run away.

use serde::{Deserialize, Serialize};

use crate::nn::optimizer::{MOST_SLOTS, Rule, sign};
use crate::nn::{Gradient, Hyperparameter, Layer, Network, Range, Scalar};

/// Regularization of a run. By default there is none.
///
/// The gradient of the batch becomes g = (1/N) Σₙ ∂Cₙ/∂p + λ₂ w + λ₁ sign(w), the last two for weights alone; then each
/// of its entries is clipped, then its norm; then the optimizer moves the parameters; then max_norm is imposed. Neither
/// penalty is part of the reported loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Regularization {
    /// λ₁: λ₁ Σ |w| is added to the loss that is descended. Its slope at 0 is taken as 0. Source: Tibshirani (1996).
    pub l1: f64,
    /// λ₂: ½ λ₂ Σ w² is added to the loss that is descended. Source: Nielsen (2015), equation 85, with λ₂ = λ/n.
    pub l2: f64,
    /// c: after each step, the weights of a unit whose norm is above c are scaled to norm c.
    /// Source: Srivastava et al. (2014), section 5.1.
    pub max_norm: Option<f64>,
    /// Entries of the gradient are kept within ± this.
    pub clip_value: Option<f64>,
    /// c: a gradient whose norm, over all layers together, is above c is scaled by c / (norm + 10⁻⁶).
    /// Source: Pascanu et al. (2013), algorithm 1; the 10⁻⁶ is PyTorch's.
    pub clip_norm: Option<f64>,
}

/// Penalties that are accepted.
const PENALTIES: Range = Range::closed(0.0, 1e6);
/// Bounds of gradients and of weights that are accepted.
const BOUNDS: Range = Range::above(0.0, 1e30);

impl Regularization {
    /// Every part, as it is set, with its range.
    pub fn hyperparameters(&self) -> Vec<Hyperparameter> {
        let Self {
            l1,
            l2,
            max_norm,
            clip_value,
            clip_norm,
        } = *self;
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
        ]
    }

    /// What is wrong with it: names and details.
    pub fn violations(&self) -> Vec<(&'static str, String)> {
        let parts = self.hyperparameters().into_iter();
        parts
            .filter_map(|part| Some((part.name, part.violation()?)))
            .collect()
    }

    /// Imposes max_norm on each unit of a layer. Norms are summed in f64, in order.
    pub(super) fn limit_norms<T: Scalar>(&self, layer: &mut Layer<T>) {
        let Some(most) = self.max_norm else { return };
        let inputs = layer.inputs();
        let (weights, _) = layer.slices_mut();
        for weights in weights.chunks_exact_mut(inputs) {
            let norm = weights
                .iter()
                .fold(0.0, |sum, &w| sum + w.to_f64() * w.to_f64())
                .sqrt();
            if norm > most {
                let factor = T::from_f64(most / norm);
                for w in weights {
                    *w *= factor;
                }
            }
        }
    }
}

/// Regularization with its constants for one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Regularized<T> {
    /// 1/N.
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
    pub(super) fn new(regularization: &Regularization, samples: usize) -> Self {
        let Regularization {
            l1,
            l2,
            clip_value,
            clip_norm,
            ..
        } = *regularization;
        Self {
            scale: T::from_f64(1.0 / samples as f64),
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
        for (index, (layer, sums)) in network.layers().iter().zip(&sums.layers).enumerate() {
            if frozen(index) {
                continue;
            }
            let (weights, biases) = sums.slices();
            for (&w, &sum) in layer.weights_slice().iter().zip(weights) {
                let g = self.of_weight(sum, w).to_f64();
                squares += g * g;
            }
            for &sum in biases {
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
        rule.apply(weights, sums, slots, |sum, w| self.of_weight(sum, w))
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
        rule.apply(biases, sums, slots, |sum, _| self.of_bias(sum))
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
            rule => rule.apply(parameters, sums, slots, |sum, _| sum * self.scale),
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
