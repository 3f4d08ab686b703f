//! The losses of single outputs and targets, and their derivatives.

#![expect(
    clippy::inline_always,
    reason = "a function must be compiled with the features of the loop that calls it"
)]

use std::f64::consts::LN_2;

use crate::nn::Scalar;
use crate::nn::kernel::{self, Arithmetic, Loops, ln, select, tanh, vectorize};

/// What is added to a where its logarithm is taken, as in PyTorch's `PoissonNLLLoss`.
pub(super) const POISSON_EPSILON: f64 = 1e-8;

/// Σ c(a, y) over all outputs, in f64.
pub(super) fn add_up<T: Scalar>(a: &[T], y: &[T], c: impl Fn(f64, f64) -> f64) -> f64 {
    vectorize(Sum { a, y, c })
}

/// Writes g(a, y) of every output.
pub(super) fn set<T: Scalar>(deltas: &mut [T], a: &[T], y: &[T], g: impl Fn(T, T) -> T) {
    vectorize(Set { deltas, a, y, g });
}

struct Sum<'a, T, C> {
    a: &'a [T],
    y: &'a [T],
    c: C,
}

impl<T: Scalar, C: Fn(f64, f64) -> f64> Loops for Sum<'_, T, C> {
    type Output = f64;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> f64 {
        let Self { a, y, c } = self;
        kernel::add_up_in_blocks(a, y, |a, y| c(a.to_f64(), y.to_f64()))
    }
}

struct Set<'a, T, G> {
    deltas: &'a mut [T],
    a: &'a [T],
    y: &'a [T],
    g: G,
}

impl<T: Scalar, G: Fn(T, T) -> T> Loops for Set<'_, T, G> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { deltas, a, y, g } = self;
        for ((delta, &a), &y) in deltas.iter_mut().zip(a).zip(y) {
            *delta = g(a, y);
        }
    }
}

/// Σ a − y ln(a + ε) over all outputs.
pub(super) struct Poisson<'a, T> {
    pub(super) a: &'a [T],
    pub(super) y: &'a [T],
}

impl<T: Scalar> Loops for Poisson<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> f64 {
        let Self { a, y } = self;
        kernel::add_up_in_blocks(a, y, |a, y| {
            let a = a.to_f64();
            a - y.to_f64() * ln::<A, f64>(a + POISSON_EPSILON)
        })
    }
}

/// factor · tanh(a − y) of every output, the derivative of log cosh.
pub(super) struct LogCoshSlopes<'a, T> {
    pub(super) factor: T,
    pub(super) deltas: &'a mut [T],
    pub(super) a: &'a [T],
    pub(super) y: &'a [T],
}

impl<T: Scalar> Loops for LogCoshSlopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let rows = self.deltas.iter_mut().zip(self.a).zip(self.y);
        for ((delta, &a), &y) in rows {
            *delta = self.factor * tanh::<A, T>(a - y);
        }
    }
}

/// 1, −1 or 0; a NaN stays one.
#[inline(always)]
pub(super) fn sign<T: Scalar>(d: T) -> T {
    pinball_slope(T::from_f64(0.5), d) * T::from_f64(2.0)
}

/// ½ d² where |d| ≤ δ, else δ (|d| − ½ δ).
#[inline(always)]
pub(super) fn huber(delta: f64, d: f64) -> f64 {
    let size = d.abs();
    select(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta))
}

/// d within ±δ, the derivative of huber; a NaN stays one.
#[inline(always)]
pub(super) fn clamped<T: Scalar>(delta: T, d: T) -> T {
    select(d > delta, delta, select(d < -delta, -delta, d))
}

/// ln cosh d = |d| + ln(1 + e^{−2|d|}) − ln 2; near 0, where that would lose its digits, ½ ln(1 + sinh² d).
pub(super) fn log_cosh(d: f64) -> f64 {
    let size = d.abs();
    if size < 1.0 {
        let sinh = d.sinh();
        0.5 * (sinh * sinh).ln_1p()
    } else {
        size + (-2.0 * size).exp().ln_1p() - LN_2
    }
}

/// q d where d = y − a ≥ 0, else (q − 1) d.
#[inline(always)]
pub(super) fn pinball(q: f64, d: f64) -> f64 {
    select(d >= 0.0, q, q - 1.0) * d
}

/// Its derivative by a, of a − y: 1 − q above, −q below, 0 at 0; a NaN stays one.
#[inline(always)]
pub(super) fn pinball_slope<T: Scalar>(q: T, d: T) -> T {
    select(d > T::zero(), T::one() - q, select(d < T::zero(), -q, d))
}
