//! The losses of probabilities, computed from the weighted inputs, so that they stay finite where a is 0 or 1.

use crate::nn::Scalar;

/// −Σ y ln a = Σ y (ln Σ e^z − z), by log-sum-exp: the largest z is taken out first.
pub(super) fn softmax_cross_entropy<T: Scalar>(z: &[T], y: &[T]) -> f64 {
    let max = z
        .iter()
        .fold(f64::NEG_INFINITY, |max, &z| max.max(z.to_f64()));
    let mut exponentials = 0.0;
    for &z in z {
        exponentials += (z.to_f64() - max).exp();
    }
    let log_sum_exp = max + exponentials.ln();
    let mut sum = 0.0;
    for (&z, &y) in z.iter().zip(y) {
        sum += y.to_f64() * (log_sum_exp - z.to_f64());
    }
    sum
}

/// −y ln σ(z) − (1 − y) ln(1 − σ(z)) = max(z, 0) − z y + ln(1 + e^{−|z|}).
pub(super) fn binary_cross_entropy(z: f64, y: f64) -> f64 {
    // Not `z.max(0.0)`, which would turn a NaN into 0.
    let positive = if z <= 0.0 { 0.0 } else { z };
    positive - z * y + (-z.abs()).exp().ln_1p()
}
