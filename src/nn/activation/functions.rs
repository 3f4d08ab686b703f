//! The functions themselves and their derivatives, of one number or one row, without overflow at either end.
//!
//! No finite z makes a NaN or, where σ(z) is in the range of its type, an infinity; a NaN stays one. Without branches, but
//! for gelu's error function: where a formula has two sides, both are computed, and one is chosen.
#![expect(
    clippy::inline_always,
    reason = "a function must be compiled with the features of the loop that calls it"
)]

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use crate::nn::Scalar;
use crate::nn::kernel::{
    Arithmetic, exp_nonpositive, expm1_nonpositive, ln_1p_to_one, select, sigmoid,
};

/// λ of selu. Source: Klambauer et al. (2017), appendix, equation 14, with 20 digits as in PyTorch.
pub(super) const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
/// α of selu. Source: as λ.
pub(super) const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
/// The factor of z³ in gelu's approximation. Source: Hendrycks and Gimpel (2016), section 2.
const GELU_CUBIC: f64 = 0.044_715;

/// scale · z where z > 0, else scale · α (eᶻ − 1), without the loss of digits near 0.
#[inline(always)]
pub(super) fn elu<A: Arithmetic, T: Scalar>(scale: T, alpha: T, z: T) -> T {
    let below = scale * alpha * expm1_nonpositive::<A, T>(z);
    select(z > T::zero(), scale * z, below)
}

/// scale where z > 0, else scale · α eᶻ.
#[inline(always)]
pub(super) fn elu_slope<A: Arithmetic, T: Scalar>(scale: T, alpha: T, z: T) -> T {
    let below = scale * alpha * exp_nonpositive::<A, T>(z);
    select(z > T::zero(), scale, below)
}

/// Φ(z) = ½ erfc(−z/√2), the distribution function of N(0, 1).
#[inline(always)]
pub(super) fn normal_below<T: Scalar>(z: T) -> T {
    T::from_f64(0.5) * (z * T::from_f64(-FRAC_1_SQRT_2)).erfc()
}

/// Φ(z) + z φ(z), with the density φ(z) = e^{−z²/2} / √(2π), which is 0 long before z² overflows.
#[inline(always)]
pub(super) fn gelu_slope<A: Arithmetic, T: Scalar>(z: T) -> T {
    let half = T::from_f64(0.5);
    let factor = T::from_f64(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
    let density = factor * exp_nonpositive::<A, T>(-half * z * z);
    normal_below(z) + z * density
}

/// z (1 + tanh u) / 2 with u = √(2/π) (z + 0.044715 z³).
#[inline(always)]
pub(super) fn gelu_tanh<A: Arithmetic, T: Scalar>(z: T) -> T {
    z * sigmoid::<A, T>(twice_gelu_tanh(z))
}

/// s + z s (1 − s) 2u′ with s = ½ (1 + tanh u) and u′ = √(2/π) (1 + 3 · 0.044715 z²).
#[inline(always)]
pub(super) fn gelu_tanh_slope<A: Arithmetic, T: Scalar>(z: T) -> T {
    let u2 = twice_gelu_tanh(z);
    let s = sigmoid::<A, T>(u2);
    let both = s * sigmoid::<A, T>(-u2);
    let slope = T::from_f64(2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2)
        * (T::one() + T::from_f64(3.0 * GELU_CUBIC) * z * z);
    // Where z² overflows, s (1 − s) has long been 0, and the product with it is 0.
    select(both == T::zero(), s, s + z * both * slope)
}

/// 2u = 2 √(2/π) (z + 0.044715 z³): ½ (1 + tanh u) is the sigmoid of it, which keeps its digits where tanh is near −1.
#[inline(always)]
fn twice_gelu_tanh<T: Scalar>(z: T) -> T {
    T::from_f64(2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2) * (z + T::from_f64(GELU_CUBIC) * z * z * z)
}

/// z s with s = 1 / (1 + e⁻ᶻ).
#[inline(always)]
pub(super) fn silu<A: Arithmetic, T: Scalar>(z: T) -> T {
    z * sigmoid::<A, T>(z)
}

/// s (1 + z (1 − s)) with s = 1 / (1 + e⁻ᶻ).
#[inline(always)]
pub(super) fn silu_slope<A: Arithmetic, T: Scalar>(z: T) -> T {
    let s = sigmoid::<A, T>(z);
    s * (T::one() + z * (T::one() - s))
}

/// ln(1 + eᶻ) = max(z, 0) + ln(1 + e^{−|z|}).
#[inline(always)]
pub(super) fn softplus<A: Arithmetic, T: Scalar>(z: T) -> T {
    // Not `z.max(0)`, which would turn a NaN into 0.
    let positive = select(z <= T::zero(), T::zero(), z);
    positive + ln_1p_to_one::<A, T>(exp_nonpositive::<A, T>(-z.abs()))
}

/// z / (1 + |z|).
#[inline(always)]
pub(super) fn softsign<T: Scalar>(z: T) -> T {
    z / (T::one() + z.abs())
}

/// 1 / (1 + |z|)².
#[inline(always)]
pub(super) fn softsign_slope<T: Scalar>(z: T) -> T {
    let inverse = T::one() / (T::one() + z.abs());
    inverse * inverse
}

/// 0 up to −3, 1 from 3 on, (z + 3)/6 between them.
#[inline(always)]
pub(super) fn hard_sigmoid<T: Scalar>(z: T) -> T {
    let three = T::from_f64(3.0);
    let between = (z + three) / T::from_f64(6.0);
    let above = select(z >= three, T::one(), between);
    select(z <= -three, T::zero(), above)
}

/// 1/6 between −3 and 3, else 0, at both kinks too.
#[inline(always)]
pub(super) fn hard_sigmoid_slope<T: Scalar>(z: T) -> T {
    let between = T::one() / T::from_f64(6.0);
    select(z.abs() >= T::from_f64(3.0), T::zero(), between)
}
