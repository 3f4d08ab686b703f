//! Cross entropy, computed from the weighted inputs, so that it stays finite where a is 0 or 1.
#![expect(
    clippy::inline_always,
    reason = "a function must be compiled with the features of the loop that calls it"
)]

use crate::nn::Scalar;
use crate::nn::kernel::{
    Arithmetic, Loops, add_up, add_up_in_blocks, exp_nonpositive, largest, ln, ln_1p_to_one,
    select, total, vectorize,
};
use crate::nn::loss::Output;
use crate::nn::loss::probabilities::Probabilities;

/// How many numbers of f64 are worked on together, where rows are narrow.
const BLOCK: usize = 64;

/// Σₙ Cₙ of cross entropy.
pub(super) fn cross_entropy<T: Scalar>(
    of: Probabilities,
    smoothing: f64,
    output: Output<'_, T>,
) -> f64 {
    vectorize(CrossEntropy {
        of,
        smoothing: of.smoothing(smoothing, output.units),
        output,
    })
}

/// δ of cross entropy: a Σy − y after softmax, a − y after sigmoid, with the smoothed y.
pub(super) fn cross_entropy_deltas<T: Scalar>(
    of: Probabilities,
    smoothing: f64,
    output: Output<'_, T>,
    deltas: &mut [T],
) {
    vectorize(CrossEntropyDeltas {
        of,
        smoothing: of.smoothing(smoothing, output.units),
        output,
        deltas,
    });
}

/// Σₙ Cₙ.
struct CrossEntropy<'a, T> {
    of: Probabilities,
    smoothing: (f64, f64),
    output: Output<'a, T>,
}

impl<T: Scalar> Loops for CrossEntropy<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> f64 {
        let Output { units, z, y, .. } = self.output;
        let (kept, added) = self.smoothing;
        let smooth = |y: T| y.to_f64() * kept + added;
        match self.of {
            Probabilities::OfClasses => softmax_cross_entropy::<A, T>(units, z, y, smooth),
            Probabilities::OfEach => add_up_in_blocks(z, y, |z, y| {
                binary_cross_entropy::<A>(z.to_f64(), smooth(y))
            }),
        }
    }
}

/// δ.
struct CrossEntropyDeltas<'a, T> {
    of: Probabilities,
    smoothing: (f64, f64),
    output: Output<'a, T>,
    deltas: &'a mut [T],
}

impl<T: Scalar> Loops for CrossEntropyDeltas<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Output { units, a, y, .. } = self.output;
        let (kept, added) = (T::from_f64(self.smoothing.0), T::from_f64(self.smoothing.1));
        let smooth = |y: T| y * kept + added;
        match self.of {
            Probabilities::OfClasses => {
                let rows = a.chunks_exact(units).zip(y.chunks_exact(units));
                for ((a, y), deltas) in rows.zip(self.deltas.chunks_exact_mut(units)) {
                    let total = add_up(y, y, |y, _| smooth(y));
                    for ((delta, &a), &y) in deltas.iter_mut().zip(a).zip(y) {
                        *delta = a * total - smooth(y);
                    }
                }
            }
            Probabilities::OfEach => {
                for ((delta, &a), &y) in self.deltas.iter_mut().zip(a).zip(y) {
                    *delta = a - smooth(y);
                }
            }
        }
    }
}

/// Σₙ −Σ y ln a = Σₙ Σ y (ln Σ eᶻ − z), by log-sum-exp: the largest z is taken out first.
#[inline(always)]
fn softmax_cross_entropy<A: Arithmetic, T: Scalar>(
    units: usize,
    z: &[T],
    y: &[T],
    smooth: impl Fn(T) -> f64,
) -> f64 {
    let of_row = |z: &[T], y: &[T], log_sum_exp: f64| {
        add_up(z, y, |z, y| smooth(y) * (log_sum_exp - z.to_f64()))
    };
    let mut sum = 0.0;
    if units > BLOCK {
        for (z, y) in z.chunks_exact(units).zip(y.chunks_exact(units)) {
            let max = largest(z).to_f64();
            let exponentials =
                add_up_in_blocks(z, z, |z, _| exp_nonpositive::<A, f64>(z.to_f64() - max));
            sum += of_row(z, y, max + ln::<A, f64>(exponentials));
        }
        return sum;
    }
    // Rows are often narrower than a vector: several together.
    let (mut exponentials, mut sums, mut maxima) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
    let len = BLOCK / units * units;
    for (z, y) in z.chunks(len).zip(y.chunks(len)) {
        let rows = z.len() / units;
        let exponentials = &mut exponentials[..z.len()];
        let (sums, maxima) = (&mut sums[..rows], &mut maxima[..rows]);
        let shifted = exponentials.chunks_exact_mut(units);
        for ((z, shifted), max) in z.chunks_exact(units).zip(shifted).zip(&mut *maxima) {
            *max = largest(z).to_f64();
            for (shifted, &z) in shifted.iter_mut().zip(z) {
                *shifted = z.to_f64() - *max;
            }
        }
        for x in &mut *exponentials {
            *x = exp_nonpositive::<A, f64>(*x);
        }
        for (sum, row) in sums.iter_mut().zip(exponentials.chunks_exact(units)) {
            *sum = total(row);
        }
        for (sum, &max) in sums.iter_mut().zip(&*maxima) {
            *sum = max + ln::<A, f64>(*sum);
        }
        let rows = z.chunks_exact(units).zip(y.chunks_exact(units));
        for ((z, y), &log_sum_exp) in rows.zip(&*sums) {
            sum += of_row(z, y, log_sum_exp);
        }
    }
    sum
}

/// −y ln σ(z) − (1 − y) ln(1 − σ(z)) = max(z, 0) − z y + ln(1 + e^{−|z|}).
#[inline(always)]
fn binary_cross_entropy<A: Arithmetic>(z: f64, y: f64) -> f64 {
    // Not `z.max(0.0)`, which would turn a NaN into 0.
    let positive = select(z <= 0.0, 0.0, z);
    let e = exp_nonpositive::<A, f64>(-z.abs());
    positive - z * y + ln_1p_to_one::<A, f64>(e)
}
