//! The losses of single outputs and targets, and their derivatives.

use std::f64::consts::LN_2;

use crate::nn::Scalar;

/// What is added to a where its logarithm is taken, as in PyTorch's `PoissonNLLLoss`.
pub(super) const POISSON_EPSILON: f64 = 1e-8;

/// Σ c(a, y) over all outputs, in their order.
pub(super) fn add_up<T: Scalar>(a: &[T], y: &[T], c: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sum = 0.0;
    for (&a, &y) in a.iter().zip(y) {
        sum += c(a.to_f64(), y.to_f64());
    }
    sum
}

/// Writes g(a, y) of every output.
pub(super) fn set<T: Scalar>(deltas: &mut [T], a: &[T], y: &[T], g: impl Fn(T, T) -> T) {
    for ((delta, &a), &y) in deltas.iter_mut().zip(a).zip(y) {
        *delta = g(a, y);
    }
}

/// 1, −1 or 0; a NaN stays one.
pub(super) fn sign<T: Scalar>(d: T) -> T {
    pinball_slope(T::from_f64(0.5), d) * T::from_f64(2.0)
}

/// ½ d² where |d| ≤ δ, else δ (|d| − ½ δ).
pub(super) fn huber(delta: f64, d: f64) -> f64 {
    let size = d.abs();
    if size <= delta {
        0.5 * d * d
    } else {
        delta * (size - 0.5 * delta)
    }
}

/// d within ±δ, the derivative of huber; a NaN stays one.
pub(super) fn clamped<T: Scalar>(delta: T, d: T) -> T {
    if d > delta {
        delta
    } else if d < -delta {
        -delta
    } else {
        d
    }
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
pub(super) fn pinball(q: f64, d: f64) -> f64 {
    if d >= 0.0 { q * d } else { (q - 1.0) * d }
}

/// Its derivative by a, of a − y: 1 − q above, −q below, 0 at 0; a NaN stays one.
pub(super) fn pinball_slope<T: Scalar>(q: T, d: T) -> T {
    if d > T::zero() {
        T::one() - q
    } else if d < T::zero() {
        -q
    } else {
        d
    }
}
