//! Exponentials and logarithms without branches, for loops that run in vectors.
//!
//! Each is a few terms that are exact and a polynomial, whose coefficients `tests/fixtures/functions/make_coefficients.py`
//! computes. The errors that are stated are the largest over all numbers of f32, and the largest seen in ten million of f64;
//! in units of the last place of the true value (ulp), whether a multiplication and an addition are rounded once or twice.
#![expect(
    clippy::inline_always,
    reason = "a function must be compiled with the features of the loop that calls it"
)]

#[cfg(test)]
mod tests;

use crate::nn::Scalar;
use crate::nn::kernel::Arithmetic;

/// Up to where tanh is x + x³ q(x²).
const TANH_SMALL: f64 = 0.625;

/// eˣ for x ≤ 0, and 0 where it is below the least normal number; a NaN stays one.
///
/// eˣ = 2ⁿ eʳ with n the integer next to x log₂ e and r = x − n ln 2. Error: at most 1.00 ulp in f32, 0.99 in f64.
#[inline(always)]
pub(crate) fn exp_nonpositive<A: Arithmetic, T: Scalar>(x: T) -> T {
    let (m, scale) = reduced::<A, T>(at_least(-T::EXP_MOST, x));
    A::multiply_add(m, scale, scale)
}

/// eˣ − 1 for x ≤ 0, to all its digits near 0; a NaN stays one.
///
/// With n and r as in eˣ: 2ⁿ (eʳ − 1) + (2ⁿ − 1). Error: at most 0.95 ulp in f32, 1.15 in f64.
#[inline(always)]
pub(crate) fn expm1_nonpositive<A: Arithmetic, T: Scalar>(x: T) -> T {
    let (m, scale) = reduced::<A, T>(at_least(-T::EXP_MOST, x));
    // The sum would be 0 even of −0.
    let sum = A::multiply_add(m, scale, scale - T::one());
    select(x == T::zero(), x, sum)
}

/// 1 / (1 + e⁻ˣ), and 0 where it is below the least normal number; a NaN stays one.
///
/// With n and r of −x as in eˣ, 1 + e⁻ˣ is (2ⁿ + 1) + 2ⁿ (eʳ − 1), and the digits of 1 that 2ⁿ + 1 loses are added to the
/// smaller part, so that all but one rounding are of small numbers. Error: at most 1.71 ulp in f32, 1.72 in f64.
#[inline(always)]
pub(crate) fn sigmoid<A: Arithmetic, T: Scalar>(x: T) -> T {
    let one = T::one();
    let (m, scale) = reduced::<A, T>(at_most(T::EXP_MOST, at_least(-T::EXP_MOST, -x)));
    let larger = scale + one;
    let lost = one - (larger - scale);
    let value = one / (larger + A::multiply_add(m, scale, lost));
    select(x < -T::EXP_MOST, T::zero(), value)
}

/// tanh x; a NaN stays one, and so does −0.
///
/// |x| + |x|³ q(x²) up to 0.625, 1 − 2 / (1 + e^{2|x|}) beyond. Error: at most 1.21 ulp in f32, 1.18 in f64.
#[inline(always)]
pub(crate) fn tanh<A: Arithmetic, T: Scalar>(x: T) -> T {
    let (one, two) = (T::one(), T::from_f64(2.0));
    let size = x.abs();
    let square = x * x;
    let small = A::multiply_add(size * square, polynomial::<A, T>(square, T::TANH), size);
    let (m, scale) = reduced::<A, T>(at_most(T::EXP_MOST, size + size));
    let large = one - two / A::multiply_add(m, scale, scale + one);
    select(size < T::from_f64(TANH_SMALL), small, large).copysign(x)
}

/// ln x: −∞ of 0, NaN of what is below it and of NaN.
///
/// With x = 2ᵏ (1 + f) and 1 + f from √½ to √2: k ln 2 + ln(1 + f). Error: at most 0.95 ulp in f32, 0.95 in f64.
#[inline(always)]
pub(crate) fn ln<A: Arithmetic, T: Scalar>(x: T) -> T {
    let zero = T::zero();
    let small = x < T::min_positive_value();
    let (m, k) = (x * select(small, T::LN_SCALE, T::one())).halved();
    let k = k - select(small, T::LN_SHIFT, zero);
    let value = ln_of_parts::<A, T>(m - T::one(), k);
    let special = select(x < zero, T::nan(), x);
    let special = select(x == zero, T::neg_infinity(), special);
    select(x > zero && x < T::infinity(), value, special)
}

/// ln(1 + x) for x from 0 to 1, to all its digits near 0; a NaN stays one.
///
/// As ln, with f = x below ½; from there on k = 1 and f = (x − 1) / 2, which is exact. Error: at most 0.97 ulp in f32, 1.03 in
/// f64.
#[inline(always)]
pub(crate) fn ln_1p_to_one<A: Arithmetic, T: Scalar>(x: T) -> T {
    let (zero, half) = (T::zero(), T::from_f64(0.5));
    let upper = x >= half;
    let f = select(upper, x * half - half, x);
    ln_of_parts::<A, T>(f, select(upper, T::one(), zero))
}

/// eʳ − 1 and 2ⁿ, for x within ±`EXP_MOST`; 2ⁿ is 0 at the lower end.
#[inline(always)]
fn reduced<A: Arithmetic, T: Scalar>(x: T) -> (T, T) {
    let shifted = A::multiply_add(x, T::LOG2_E, T::EXP_SHIFT);
    let n = shifted - T::EXP_SHIFT;
    let r = A::multiply_add(-n, T::LN_2_HIGH, x);
    let r = A::multiply_add(-n, T::LN_2_LOW, r);
    let q = polynomial::<A, T>(r, T::EXP);
    (A::multiply_add(r * r, q, r), shifted.power_of_two())
}

/// The larger one; x where it is a NaN.
#[inline(always)]
fn at_least<T: Scalar>(least: T, x: T) -> T {
    select(x < least, least, x)
}

/// The smaller one; x where it is a NaN.
#[inline(always)]
fn at_most<T: Scalar>(most: T, x: T) -> T {
    select(x > most, most, x)
}

/// k ln 2 + ln(1 + f). With s = f / (2 + f), ln(1 + f) = 2s + s z q(z) = f − s (f − z q(z)), where z = s².
#[inline(always)]
fn ln_of_parts<A: Arithmetic, T: Scalar>(f: T, k: T) -> T {
    let s = f / (T::from_f64(2.0) + f);
    let z = s * s;
    let rest = s * (f - z * polynomial::<A, T>(z, T::LN));
    A::multiply_add(k, T::LN_2_HIGH, f + A::multiply_add(k, T::LN_2_LOW, -rest))
}

/// Σ cₖ xᵏ, by Horner's rule.
#[inline(always)]
fn polynomial<A: Arithmetic, T: Scalar>(x: T, coefficients: &[T]) -> T {
    let mut sum = coefficients[coefficients.len() - 1];
    for index in (0..coefficients.len() - 1).rev() {
        sum = A::multiply_add(sum, x, coefficients[index]);
    }
    sum
}

/// `yes` or `no`, both of which are there: a choice that is no branch.
#[inline(always)]
pub(crate) fn select<T>(condition: bool, yes: T, no: T) -> T {
    if condition { yes } else { no }
}

/// A scalar that has these functions. Being out of reach, it seals `Scalar`.
pub trait Elementary: Sized + 'static {
    /// log₂ e.
    const LOG2_E: Self;
    /// ln 2 to so few digits that its product with an exponent is exact.
    const LN_2_HIGH: Self;
    /// What is missing there.
    const LN_2_LOW: Self;
    /// The x up to which 2ⁿ is a normal number, and from whose opposite on downwards eˣ is none.
    const EXP_MOST: Self;
    /// So large that adding it rounds to an integer; and its last bits are those of the exponent of 1.
    const EXP_SHIFT: Self;
    /// So large that adding it to a number from 0 to it rounds to an integer, which its last bits then are.
    const INTEGERS: Self;
    /// A power of two that makes every number a normal one.
    const LN_SCALE: Self;
    /// Its exponent.
    const LN_SHIFT: Self;
    /// q of (eʳ − 1 − r) / r², the lowest coefficient first.
    const EXP: &'static [Self];
    /// q of (tanh x / x − 1) / x² in x².
    const TANH: &'static [Self];
    /// q of (ln((1 + s) / (1 − s)) / s − 2) / s² in s².
    const LN: &'static [Self];

    /// 2ⁿ of n + `EXP_SHIFT`; 0 where n is the exponent of 0.
    #[must_use]
    fn power_of_two(self) -> Self;

    /// The number that the last six bits are.
    #[must_use]
    fn last_bits(self) -> u32;

    /// m from √½ to √2 and k with 2ᵏ m = self, which is positive and normal; else anything.
    fn halved(self) -> (Self, Self);
}

impl Elementary for f32 {
    const LOG2_E: Self = std::f32::consts::LOG2_E;
    const LN_2_HIGH: Self = 0.693_145_75;
    const LN_2_LOW: Self = 1.428_606_8e-6;
    const EXP_MOST: Self = 88.0;
    const EXP_SHIFT: Self = 12_583_039.0;
    const INTEGERS: Self = 8_388_608.0;
    const LN_SCALE: Self = 33_554_432.0;
    const LN_SHIFT: Self = 25.0;
    const EXP: &'static [Self] = &[
        0.499_999_88,
        0.166_665_18,
        0.041_669_652,
        0.008_368_948_5,
        0.001_374_500_6,
    ];
    const TANH: &'static [Self] = &[
        -0.333_332_8,
        0.133_314_12,
        -0.053_737_402,
        0.020_632_116,
        -0.005_697_722_5,
    ];
    const LN: &'static [Self] = &[0.666_669_5, 0.399_577_4, 0.303_617_7];

    #[inline(always)]
    fn power_of_two(self) -> Self {
        Self::from_bits(self.to_bits() << 23)
    }

    #[inline(always)]
    fn last_bits(self) -> u32 {
        self.to_bits() & 63
    }

    #[inline(always)]
    fn halved(self) -> (Self, Self) {
        const ONE: u32 = 1.0_f32.to_bits();
        let bits = self.to_bits();
        let exponent = bits.wrapping_add(ONE - std::f32::consts::FRAC_1_SQRT_2.to_bits()) >> 23;
        let m = Self::from_bits(bits.wrapping_add(ONE).wrapping_sub(exponent << 23));
        // The exponent of the bits is k + 127; a number of this size has it as its last bits.
        let k = Self::from_bits(exponent | Self::INTEGERS.to_bits()) - (Self::INTEGERS + 127.0);
        (m, k)
    }
}

impl Elementary for f64 {
    const LOG2_E: Self = std::f64::consts::LOG2_E;
    const LN_2_HIGH: Self = 0.693_147_180_559_890_3;
    const LN_2_LOW: Self = 5.497_923_018_708_371e-14;
    const EXP_MOST: Self = 709.0;
    const EXP_SHIFT: Self = 6_755_399_441_056_767.0;
    const INTEGERS: Self = 4_503_599_627_370_496.0;
    const LN_SCALE: Self = 18_014_398_509_481_984.0;
    const LN_SHIFT: Self = 54.0;
    const EXP: &'static [Self] = &[
        0.500_000_000_000_001_2,
        0.166_666_666_666_664_71,
        0.041_666_666_666_519_7,
        0.008_333_333_333_458_676,
        0.001_388_888_894_594_300_6,
        0.000_198_412_695_811_937_55,
        2.480_149_100_070_721e-5,
        2.755_752_160_899_684e-6,
        2.763_092_060_816_776_4e-7,
        2.502_010_376_393_215e-8,
    ];
    const TANH: &'static [Self] = &[
        -0.333_333_333_333_328_2,
        0.133_333_333_332_584_04,
        -0.053_968_253_929_823_84,
        0.021_869_487_547_273_025,
        -0.008_863_220_666_350_846,
        0.003_591_986_720_264_145,
        -0.001_454_947_348_637_798,
        0.000_586_281_653_849_835_1,
        -0.000_228_498_532_544_580_88,
        7.707_437_622_915_607e-5,
        -1.604_031_787_433_113_5e-5,
    ];
    const LN: &'static [Self] = &[
        0.666_666_666_666_728_4,
        0.399_999_999_961_202_06,
        0.285_714_294_002_876_57,
        0.222_221_382_103_73,
        0.181_863_649_292_201_67,
        0.152_500_529_790_867_53,
        0.153_690_155_538_581_1,
    ];

    #[inline(always)]
    fn power_of_two(self) -> Self {
        Self::from_bits(self.to_bits() << 52)
    }

    #[inline(always)]
    fn last_bits(self) -> u32 {
        (self.to_bits() & 63) as u32
    }

    #[inline(always)]
    fn halved(self) -> (Self, Self) {
        const ONE: u64 = 1.0_f64.to_bits();
        let bits = self.to_bits();
        let exponent = bits.wrapping_add(ONE - std::f64::consts::FRAC_1_SQRT_2.to_bits()) >> 52;
        let m = Self::from_bits(bits.wrapping_add(ONE).wrapping_sub(exponent << 52));
        // The exponent of the bits is k + 1023; a number of this size has it as its last bits.
        let k = Self::from_bits(exponent | Self::INTEGERS.to_bits()) - (Self::INTEGERS + 1023.0);
        (m, k)
    }
}
