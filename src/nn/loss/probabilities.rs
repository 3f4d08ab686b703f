//! The losses of probabilities, computed from the weighted inputs, so that they stay finite where a is 0 or 1.

use crate::nn::loss::Output;
use crate::nn::{Activation, Scalar};

/// Of what the outputs are the probabilities.
#[derive(Clone, Copy, Debug)]
pub(super) enum Probabilities {
    /// Of the classes, of which one holds: softmax.
    OfClasses,
    /// Each of its own event: sigmoid.
    OfEach,
}

impl Probabilities {
    /// Those of a last layer that the loss accepts.
    ///
    /// Panics: where its outputs are no probabilities, the caller's bug.
    pub(super) fn expected(last: Activation) -> Self {
        match last {
            Activation::Softmax => Self::OfClasses,
            Activation::Sigmoid => Self::OfEach,
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
            | Activation::HardSigmoid => panic!(
                "the caller has checked that the loss accepts the last activation, got {}",
                last.name()
            ),
        }
    }

    /// What smoothing by s leaves of every target, and what it adds: 1 − s, and s/J or s/2.
    pub(super) fn smoothing(self, s: f64, units: usize) -> (f64, f64) {
        match self {
            Self::OfClasses => (1.0 - s, s / units as f64),
            Self::OfEach => (1.0 - s, s / 2.0),
        }
    }
}

/// Σₙ Cₙ of focal loss.
pub(super) fn focal<T: Scalar>(of: Probabilities, gamma: f64, output: Output<'_, T>) -> f64 {
    let Output { units, z, y, .. } = output;
    let mut sum = 0.0;
    match of {
        Probabilities::OfClasses => {
            for (z, y) in z.chunks_exact(units).zip(y.chunks_exact(units)) {
                let row = SoftmaxRow::of(z.len(), |unit| z[unit].to_f64());
                for (unit, (&z, &y)) in z.iter().zip(y).enumerate() {
                    let p = row.probability(unit, z.to_f64());
                    sum += y.to_f64() * p.focal(gamma);
                }
            }
        }
        Probabilities::OfEach => {
            for (&z, &y) in z.iter().zip(y) {
                let (z, y) = (z.to_f64(), y.to_f64());
                let (p, not) = Probability::of_event(z);
                sum += y * p.focal(gamma) + (1.0 - y) * not.focal(gamma);
            }
        }
    }
    sum
}

/// δ of focal loss. With h = a · d/da of (1 − a)^γ (−ln a): yᵢ hᵢ − aᵢ Σ y h after softmax, and after sigmoid
/// y h (1 − a) less the same of the other event.
pub(super) fn focal_deltas<T: Scalar>(
    of: Probabilities,
    gamma: f64,
    output: Output<'_, T>,
    deltas: &mut [T],
) {
    let Output { units, z, y, .. } = output;
    let gamma = T::from_f64(gamma);
    match of {
        Probabilities::OfClasses => {
            let rows = z.chunks_exact(units).zip(y.chunks_exact(units));
            for ((z, y), deltas) in rows.zip(deltas.chunks_exact_mut(units)) {
                let row = SoftmaxRow::of(units, |unit| z[unit]);
                let mut inner = T::zero();
                for (unit, (&z, &y)) in z.iter().zip(y).enumerate() {
                    deltas[unit] = y * row.probability(unit, z).focal_slope(gamma);
                    inner += deltas[unit];
                }
                for (unit, (delta, &z)) in deltas.iter_mut().zip(z).enumerate() {
                    *delta -= row.probability(unit, z).a * inner;
                }
            }
        }
        Probabilities::OfEach => {
            for ((delta, &z), &y) in deltas.iter_mut().zip(z).zip(y) {
                let (p, not) = Probability::of_event(z);
                *delta = y * p.focal_slope(gamma) * p.rest
                    - (T::one() - y) * not.focal_slope(gamma) * not.rest;
            }
        }
    }
}

/// A probability a, with 1 − a and ln a to all their digits.
#[derive(Clone, Copy, Debug)]
struct Probability<T> {
    a: T,
    rest: T,
    ln: T,
}

impl<T: Scalar> Probability<T> {
    /// σ(z), and that of the event not happening.
    fn of_event(z: T) -> (Self, Self) {
        let e = (-z.abs()).exp();
        let (larger, smaller) = (T::one() / (T::one() + e), e / (T::one() + e));
        let near = -e.ln_1p();
        let large = Self {
            a: larger,
            rest: smaller,
            ln: near,
        };
        let small = Self {
            a: smaller,
            rest: larger,
            ln: near - z.abs(),
        };
        if z < T::zero() {
            (small, large)
        } else {
            (large, small)
        }
    }

    /// (1 − a)^γ (−ln a).
    fn focal(self, gamma: T) -> T {
        -self.rest.powf(gamma) * self.ln
    }

    /// h = a · d/da of it = (1 − a)^γ (γ a ln a / (1 − a) − 1); the quotient is −1 where a has come to 1.
    fn focal_slope(self, gamma: T) -> T {
        let quotient = if self.rest == T::zero() {
            -T::one()
        } else {
            self.a * self.ln / self.rest
        };
        self.rest.powf(gamma) * (gamma * quotient - T::one())
    }
}

/// What all probabilities of a row have in common: its largest z, where that is, Σ e^{z − max z} over the
/// others, and ln of the same over all.
#[derive(Clone, Copy, Debug)]
struct SoftmaxRow<T> {
    max: T,
    at: usize,
    others: T,
    ln_total: T,
}

impl<T: Scalar> SoftmaxRow<T> {
    fn of(units: usize, z: impl Fn(usize) -> T) -> Self {
        let mut at = 0;
        for unit in 1..units {
            if z(unit) > z(at) {
                at = unit;
            }
        }
        let max = z(at);
        let mut others = T::zero();
        for unit in (0..units).filter(|&unit| unit != at) {
            others += (z(unit) - max).exp();
        }
        let ln_total = others.ln_1p();
        Self {
            max,
            at,
            others,
            ln_total,
        }
    }

    /// The softmax of a unit with this z.
    fn probability(&self, unit: usize, z: T) -> Probability<T> {
        let total = T::one() + self.others;
        let e = (z - self.max).exp();
        let a = e / total;
        Probability {
            a,
            rest: if unit == self.at {
                self.others / total
            } else {
                T::one() - a
            },
            ln: z - self.max - self.ln_total,
        }
    }
}
