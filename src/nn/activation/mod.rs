//! Activation functions and their derivatives.

mod functions;

use serde::{Deserialize, Serialize};

use crate::nn::Scalar;
use crate::nn::activation::functions::{sigmoid, softmax};

/// The function σ of a layer: a = σ(z).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 5] = [
        Self::Sigmoid,
        Self::Tanh,
        Self::Relu,
        Self::Identity,
        Self::Softmax,
    ];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::Identity => "identity",
            Self::Softmax => "softmax",
        }
    }

    /// a = σ(z) for a whole batch.
    ///
    /// Shapes: `z` and `a` are (n × units), row-major. A NaN stays NaN, so that a network that diverged cannot hide it.
    pub(crate) fn apply<T: Scalar>(self, units: usize, z: &[T], a: &mut [T]) {
        match self {
            Self::Sigmoid => map(z, a, sigmoid),
            Self::Tanh => map(z, a, T::tanh),
            Self::Relu => map(z, a, |z| if z <= T::zero() { T::zero() } else { z }),
            Self::Identity => a.copy_from_slice(z),
            Self::Softmax => {
                for (z, a) in z.chunks_exact(units).zip(a.chunks_exact_mut(units)) {
                    softmax(z, a);
                }
            }
        }
    }

    /// Turns ∂C/∂a into δ = ∂C/∂z in place: δ = g ⊙ σ′(z), or for softmax the Jacobian product δ = a ⊙ (g − Σ g ⊙ a).
    ///
    /// Shapes: `a` (the layer's own activations) and `deltas` (g on entry, δ on return) are (n × units), row-major.
    ///
    /// Source: Arango, δˡ = σ′(zˡ) Σ δˡ⁺¹ wˡ⁺¹, of which `deltas` brings the sum.
    pub(crate) fn backward<T: Scalar>(self, units: usize, a: &[T], deltas: &mut [T]) {
        let one = T::one();
        match self {
            Self::Sigmoid => scale(a, deltas, |a| a * (one - a)),
            Self::Tanh => scale(a, deltas, |a| one - a * a),
            Self::Relu => {
                for (delta, &a) in deltas.iter_mut().zip(a) {
                    if a <= T::zero() {
                        *delta = T::zero();
                    }
                }
            }
            Self::Identity => {}
            Self::Softmax => {
                for (a, deltas) in a.chunks_exact(units).zip(deltas.chunks_exact_mut(units)) {
                    let mut inner = T::zero();
                    for (&a, &g) in a.iter().zip(&*deltas) {
                        inner += g * a;
                    }
                    for (delta, &a) in deltas.iter_mut().zip(a) {
                        *delta = a * (*delta - inner);
                    }
                }
            }
        }
    }

    /// Whether a unit's activation lies where σ′ has all but vanished.
    ///
    /// For sigmoid a < 0.01 or a > 0.99, for tanh |a| > 0.99; no unit of another kind is ever called saturated.
    pub(crate) fn is_saturated(self, a: f64) -> bool {
        match self {
            Self::Sigmoid => !(0.01..=0.99).contains(&a),
            Self::Tanh => a.abs() > 0.99,
            Self::Relu | Self::Identity | Self::Softmax => false,
        }
    }
}

fn map<T: Scalar>(z: &[T], a: &mut [T], function: impl Fn(T) -> T) {
    for (a, &z) in a.iter_mut().zip(z) {
        *a = function(z);
    }
}

fn scale<T: Scalar>(a: &[T], deltas: &mut [T], derivative: impl Fn(T) -> T) {
    for (delta, &a) in deltas.iter_mut().zip(a) {
        *delta *= derivative(a);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(activation: Activation, z: &[f64]) -> Vec<f64> {
        let mut a = vec![0.0; z.len()];
        activation.apply(z.len(), z, &mut a);
        a
    }

    #[test]
    fn sigmoid_and_softmax_do_not_overflow_at_either_end() {
        assert_eq!(
            apply(Activation::Sigmoid, &[-1000.0, 0.0, 1000.0]),
            [0.0, 0.5, 1.0]
        );
        assert_eq!(apply(Activation::Softmax, &[-1000.0, 1000.0]), [0.0, 1.0]);
        assert_eq!(apply(Activation::Softmax, &[1000.0, 1000.0]), [0.5, 0.5]);
        // σ(−40) = e⁻⁴⁰ / (1 + e⁻⁴⁰), which 1 − σ(40) would round to 0.
        assert!((apply(Activation::Sigmoid, &[-40.0])[0] / (-40.0_f64).exp() - 1.0).abs() < 1e-15);
    }

    #[test]
    fn every_activation_passes_nan_on() {
        for activation in Activation::ALL {
            assert!(apply(activation, &[f64::NAN])[0].is_nan(), "{activation:?}");
        }
    }

    #[test]
    fn every_derivative_is_the_limit_of_its_difference_quotient() {
        // ∂/∂zᵢ of Σⱼ gⱼ aⱼ(z), with g fixed, is what `backward` calls δᵢ; central differences, ε = 1e-6.
        let z = [-1.3, -0.2, 0.4, 2.1];
        let g = [0.7, -1.1, 0.3, 0.9];
        for activation in Activation::ALL {
            let mut deltas = g;
            activation.backward(4, &apply(activation, &z), &mut deltas);
            for i in 0..4 {
                let at = |step: f64| -> f64 {
                    let mut z = z;
                    z[i] += step;
                    apply(activation, &z)
                        .iter()
                        .zip(&g)
                        .map(|(a, g)| a * g)
                        .sum()
                };
                let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!(
                    (numeric - deltas[i]).abs() < 1e-9,
                    "{activation:?} {numeric} {}",
                    deltas[i]
                );
            }
        }
    }

    #[test]
    fn the_slope_of_relu_at_zero_is_zero() {
        let mut deltas = [1.0];
        Activation::Relu.backward(1, &[0.0], &mut deltas);
        assert_eq!(deltas, [0.0]);
    }

    #[test]
    fn an_activation_is_spelled_as_in_the_api() {
        for activation in Activation::ALL {
            let json = serde_json::to_string(&activation).expect("an activation serializes");
            assert_eq!(json, format!("\"{}\"", activation.name()));
        }
    }
}
