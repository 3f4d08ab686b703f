//! The functions themselves and their derivatives, of one number or one row, without overflow at either end.
//!
//! No finite z makes a NaN or, where σ(z) is in the range of its type, an infinity; a NaN stays one.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use crate::nn::Scalar;

/// λ of selu. Source: Klambauer et al. (2017), appendix, equation 14, with 20 digits as in PyTorch.
pub(super) const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
/// α of selu. Source: as λ.
pub(super) const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
/// The factor of z³ in gelu's approximation. Source: Hendrycks and Gimpel (2016), section 2.
const GELU_CUBIC: f64 = 0.044_715;

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

/// scale · z where z > 0, else scale · α (eᶻ − 1), without the loss of digits near 0.
pub(super) fn elu<T: Scalar>(scale: T, alpha: T, z: T) -> T {
    if z > T::zero() {
        scale * z
    } else {
        scale * alpha * z.exp_m1()
    }
}

/// scale where z > 0, else scale · α eᶻ.
pub(super) fn elu_slope<T: Scalar>(scale: T, alpha: T, z: T) -> T {
    if z > T::zero() {
        scale
    } else {
        scale * alpha * z.exp()
    }
}

/// Φ(z) = ½ erfc(−z/√2), the distribution function of N(0, 1).
pub(super) fn normal_below<T: Scalar>(z: T) -> T {
    T::from_f64(0.5) * (z * T::from_f64(-FRAC_1_SQRT_2)).erfc()
}

/// Φ(z) + z φ(z), with the density φ(z) = e^{−z²/2} / √(2π), which is 0 long before z² overflows.
pub(super) fn gelu_slope<T: Scalar>(z: T) -> T {
    let half = T::from_f64(0.5);
    let density = T::from_f64(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2) * (-half * z * z).exp();
    normal_below(z) + z * density
}

/// 2u = 2 √(2/π) (z + 0.044715 z³): ½ (1 + tanh u) is the sigmoid of it, which keeps its digits where tanh is near −1.
pub(super) fn twice_gelu_tanh<T: Scalar>(z: T) -> T {
    T::from_f64(2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2) * (z + T::from_f64(GELU_CUBIC) * z * z * z)
}

/// s + z s (1 − s) 2u′ with s = ½ (1 + tanh u) and u′ = √(2/π) (1 + 3 · 0.044715 z²).
pub(super) fn gelu_tanh_slope<T: Scalar>(z: T) -> T {
    let u2 = twice_gelu_tanh(z);
    let s = sigmoid(u2);
    let both = s * sigmoid(-u2);
    // Where z² overflows, s (1 − s) has long been 0, and the product with it is 0.
    if both == T::zero() {
        return s;
    }
    let slope = T::from_f64(2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2)
        * (T::one() + T::from_f64(3.0 * GELU_CUBIC) * z * z);
    s + z * both * slope
}

/// s (1 + z (1 − s)) with s = 1 / (1 + e⁻ᶻ).
pub(super) fn silu_slope<T: Scalar>(z: T) -> T {
    let s = sigmoid(z);
    s * (T::one() + z * (T::one() - s))
}

/// ln(1 + eᶻ) = max(z, 0) + ln(1 + e^{−|z|}).
pub(super) fn softplus<T: Scalar>(z: T) -> T {
    // Not `z.max(0)`, which would turn a NaN into 0.
    let positive = if z <= T::zero() { T::zero() } else { z };
    positive + (-z.abs()).exp().ln_1p()
}

/// 1 / (1 + |z|)².
pub(super) fn softsign_slope<T: Scalar>(z: T) -> T {
    let inverse = T::one() / (T::one() + z.abs());
    inverse * inverse
}

/// 0 up to −3, 1 from 3 on, (z + 3)/6 between them.
pub(super) fn hard_sigmoid<T: Scalar>(z: T) -> T {
    let three = T::from_f64(3.0);
    if z <= -three {
        T::zero()
    } else if z >= three {
        T::one()
    } else {
        (z + three) / T::from_f64(6.0)
    }
}

/// 1/6 between −3 and 3, else 0, at both kinks too.
pub(super) fn hard_sigmoid_slope<T: Scalar>(z: T) -> T {
    if z.abs() >= T::from_f64(3.0) {
        T::zero()
    } else {
        T::one() / T::from_f64(6.0)
    }
}
