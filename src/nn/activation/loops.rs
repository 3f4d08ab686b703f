//! The loops over a layer's numbers, in which an activation and its derivative run.
#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled with the features of the function that calls it"
)]

use crate::nn::activation::functions::{
    SELU_ALPHA, SELU_SCALE, elu, elu_slope, gelu_slope, gelu_tanh, gelu_tanh_slope, hard_sigmoid,
    hard_sigmoid_slope, normal_below, silu, silu_slope, softplus, softsign, softsign_slope,
};
use crate::nn::kernel::{
    Arithmetic, Loops, add_up, exp_nonpositive, largest, select, sigmoid, tanh, total,
};
use crate::nn::{Activation, GeluApproximation, Scalar};

/// a = σ(z), row after row.
pub(super) struct Apply<'a, T> {
    pub(super) activation: Activation,
    pub(super) units: usize,
    pub(super) z: &'a [T],
    pub(super) a: &'a mut [T],
}

impl<T: Scalar> Loops for Apply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self {
            activation,
            units,
            z,
            a,
        } = self;
        let number = T::from_f64;
        match activation {
            Activation::Sigmoid => map(z, a, sigmoid::<A, T>),
            Activation::Tanh => map(z, a, tanh::<A, T>),
            // As PyTorch, and unlike `max`, a NaN stays one.
            Activation::Relu => map(z, a, |z| select(z <= T::zero(), T::zero(), z)),
            Activation::Identity => a.copy_from_slice(z),
            Activation::Softmax => softmax::<A, T>(units, z, a),
            Activation::LeakyRelu { slope } => {
                let slope = number(slope);
                map(z, a, |z| select(z > T::zero(), z, slope * z));
            }
            Activation::Elu { alpha } => {
                let alpha = number(alpha);
                map(z, a, |z| elu::<A, T>(T::one(), alpha, z));
            }
            Activation::Selu => {
                let (scale, alpha) = (number(SELU_SCALE), number(SELU_ALPHA));
                map(z, a, |z| elu::<A, T>(scale, alpha, z));
            }
            Activation::Gelu { approximation } => match approximation {
                GeluApproximation::None => map(z, a, |z| z * normal_below(z)),
                GeluApproximation::Tanh => map(z, a, gelu_tanh::<A, T>),
            },
            Activation::Silu => map(z, a, silu::<A, T>),
            Activation::Softplus => map(z, a, softplus::<A, T>),
            Activation::Softsign => map(z, a, softsign),
            Activation::HardSigmoid => map(z, a, hard_sigmoid),
        }
    }
}

/// δ = g ⊙ σ′(z), or for softmax δ = a ⊙ (g − Σ g ⊙ a), in place of g.
pub(super) struct Backward<'a, T> {
    pub(super) activation: Activation,
    pub(super) units: usize,
    pub(super) z: &'a [T],
    pub(super) a: &'a [T],
    pub(super) deltas: &'a mut [T],
}

impl<T: Scalar> Loops for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self {
            activation,
            units,
            z,
            a,
            deltas,
        } = self;
        let (zero, one) = (T::zero(), T::one());
        let number = T::from_f64;
        match activation {
            Activation::Sigmoid => scale(a, deltas, |a| a * (one - a)),
            Activation::Tanh => scale(a, deltas, |a| one - a * a),
            Activation::Relu => {
                for (delta, &a) in deltas.iter_mut().zip(a) {
                    // Not a product with 0, which is a NaN where ∂C/∂a is infinite.
                    *delta = select(a <= zero, zero, *delta);
                }
            }
            Activation::Identity => {}
            Activation::Softmax => {
                for (a, deltas) in a.chunks_exact(units).zip(deltas.chunks_exact_mut(units)) {
                    let inner = add_up(a, deltas, |a, g| g * a);
                    for (delta, &a) in deltas.iter_mut().zip(a) {
                        *delta = a * (*delta - inner);
                    }
                }
            }
            Activation::LeakyRelu { slope } => {
                let slope = number(slope);
                scale(z, deltas, |z| select(z > zero, one, slope));
            }
            Activation::Elu { alpha } => {
                let alpha = number(alpha);
                scale(z, deltas, |z| elu_slope::<A, T>(one, alpha, z));
            }
            Activation::Selu => {
                let (by, alpha) = (number(SELU_SCALE), number(SELU_ALPHA));
                scale(z, deltas, |z| elu_slope::<A, T>(by, alpha, z));
            }
            Activation::Gelu { approximation } => match approximation {
                GeluApproximation::None => scale(z, deltas, gelu_slope::<A, T>),
                GeluApproximation::Tanh => scale(z, deltas, gelu_tanh_slope::<A, T>),
            },
            Activation::Silu => scale(z, deltas, silu_slope::<A, T>),
            Activation::Softplus => scale(z, deltas, sigmoid::<A, T>),
            Activation::Softsign => scale(z, deltas, softsign_slope),
            Activation::HardSigmoid => scale(z, deltas, hard_sigmoid_slope),
        }
    }
}

/// Counts the activations that are saturated.
pub(super) struct Saturated<'a, T> {
    pub(super) activation: Activation,
    pub(super) a: &'a [T],
}

impl<T: Scalar> Loops for Saturated<'_, T> {
    type Output = u64;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> u64 {
        let from_low = at_least(0.01);
        let beyond_high = above(0.99);
        match self.activation {
            Activation::Sigmoid => count(self.a, |a| !from_low(a) | beyond_high(a)),
            Activation::Tanh | Activation::Softsign => count(self.a, |a| beyond_high(a.abs())),
            Activation::HardSigmoid => count(self.a, |a| (a <= T::zero()) | (a >= T::one())),
            Activation::Relu
            | Activation::Identity
            | Activation::Softmax
            | Activation::LeakyRelu { .. }
            | Activation::Elu { .. }
            | Activation::Selu
            | Activation::Gelu { .. }
            | Activation::Silu
            | Activation::Softplus => 0,
        }
    }
}

/// Whether a ≥ edge, which may be no number of T: as if both were f64.
#[inline(always)]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch keeps a loop out of vectors"
)]
fn at_least<T: Scalar>(edge: f64) -> impl Fn(T) -> bool {
    let nearest = T::from_f64(edge);
    let is_nearest = nearest.to_f64() >= edge;
    move |a| (a > nearest) | ((a == nearest) & is_nearest)
}

/// Whether a > edge, in the same way.
#[inline(always)]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch keeps a loop out of vectors"
)]
fn above<T: Scalar>(edge: f64) -> impl Fn(T) -> bool {
    let nearest = T::from_f64(edge);
    let is_nearest = nearest.to_f64() > edge;
    move |a| (a > nearest) | ((a == nearest) & is_nearest)
}

/// Activations that are counted in u32, which has lanes as narrow as those of f32.
const COUNTED_TOGETHER: usize = 1 << 16;

#[inline(always)]
fn count<T: Scalar>(a: &[T], is_counted: impl Fn(T) -> bool) -> u64 {
    let mut sum = 0;
    for a in a.chunks(COUNTED_TOGETHER) {
        let mut counted = 0_u32;
        for &a in a {
            counted = counted.wrapping_add(u32::from(is_counted(a)));
        }
        sum += u64::from(counted);
    }
    sum
}

/// e^{z − max z} / Σ e^{z − max z} of each row: the shift changes nothing but keeps the exponentials at most 1.
///
/// The exponentials are taken of all rows in one loop, as rows are often narrower than a vector.
#[inline(always)]
fn softmax<A: Arithmetic, T: Scalar>(units: usize, z: &[T], a: &mut [T]) {
    for (z, a) in z.chunks_exact(units).zip(a.chunks_exact_mut(units)) {
        let max = largest(z);
        map(z, a, |z| z - max);
    }
    for a in &mut *a {
        *a = exp_nonpositive::<A, T>(*a);
    }
    for a in a.chunks_exact_mut(units) {
        let sum = total(a);
        for a in a {
            *a /= sum;
        }
    }
}

#[inline(always)]
fn map<T: Scalar>(z: &[T], a: &mut [T], function: impl Fn(T) -> T) {
    for (a, &z) in a.iter_mut().zip(z) {
        *a = function(z);
    }
}

#[inline(always)]
fn scale<T: Scalar>(at: &[T], deltas: &mut [T], derivative: impl Fn(T) -> T) {
    for (delta, &at) in deltas.iter_mut().zip(at) {
        *delta *= derivative(at);
    }
}
