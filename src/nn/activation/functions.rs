//! The functions themselves, of one number or one row, without overflow at either end.

use crate::nn::Scalar;

/// 1 / (1 + e⁻ᶻ), without overflow: e is only ever raised to −|z|.
pub(super) fn sigmoid<T: Scalar>(z: T) -> T {
    let e = (-z.abs()).exp();
    let numerator = if z < T::zero() { e } else { T::one() };
    numerator / (T::one() + e)
}

/// e^{z − max z} / Σ e^{z − max z}: the shift changes nothing but keeps the exponentials at most 1.
pub(super) fn softmax<T: Scalar>(z: &[T], a: &mut [T]) {
    let max = z.iter().fold(T::neg_infinity(), |max, &z| max.max(z));
    let mut sum = T::zero();
    for (a, &z) in a.iter_mut().zip(z) {
        *a = (z - max).exp();
        sum += *a;
    }
    for a in a {
        *a /= sum;
    }
}
