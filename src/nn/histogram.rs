//! Histograms of numbers that come in chunks and in any order, in memory that is fixed.

use std::mem::replace;

use serde::{Deserialize, Serialize};

use crate::nn::{Accumulator, Scalar};

/// Bins of a histogram.
pub const BINS: usize = 20;
/// The exponent of the narrowest bin: with it, 2⁻ᵏ is a normal number too.
const NARROWEST: i32 = -1020;
/// Bits of a double beyond which two numbers of one size do not differ.
const PRECISION: i32 = 52;

/// How many numbers lie in each of `BINS` equal bins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The lower edge of the first bin: at or below the smallest number.
    pub min: f64,
    /// The upper edge of the last bin: above the largest number.
    pub max: f64,
    /// Numbers in each bin, its lower edge counted in.
    pub counts: [u64; BINS],
}

/// Counts of numbers from which a histogram is made; they can be added up over chunks, in any order.
///
/// A bin i is [i·2ᵏ, (i+1)·2ᵏ). The width is the least power of two with which `BINS` bins hold every number so far, so
/// that widening it adds whole bins up in pairs: the counts depend on the numbers alone, and not on their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    /// k, where there is a number.
    exponent: i32,
    /// The smallest and the largest number; +∞ and −∞ of none.
    min: f64,
    max: f64,
    /// i of the first of the counts.
    first: i64,
    counts: [u64; BINS],
}

/// Where the bins lie that hold numbers, for the loop that counts them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid<S> {
    /// i of the first bin.
    pub(super) first: S,
    /// 2⁻ᵏ.
    pub(super) scale: S,
}

impl Default for Bins {
    fn default() -> Self {
        Self {
            exponent: NARROWEST,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            first: 0,
            counts: [0; BINS],
        }
    }
}

impl Histogram {
    /// The histogram of the numbers; those that are not finite are left out.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        Bins::of(values).histogram()
    }
}

impl Bins {
    /// The counts of the numbers, in two passes; those that are not finite are left out.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let values = values.filter(|value| value.is_finite());
        let none = (f64::INFINITY, f64::NEG_INFINITY);
        let (min, max) = values
            .clone()
            .fold(none, |(min, max), value| (min.min(value), max.max(value)));
        let mut bins = Self::between(min, max);
        let (scale, first) = (power_of_two(-bins.exponent), bins.first);
        for value in values {
            bins.counts[(floor(value, scale) - first) as usize] += 1;
        }
        bins
    }

    /// The bins for numbers of which these are the smallest and the largest, not yet counted; those of none where min > max.
    pub(super) fn between(min: f64, max: f64) -> Self {
        if min > max {
            return Self::default();
        }
        let exponent = exponent_for(min, max);
        Self {
            exponent,
            min,
            max,
            first: index(min, exponent),
            counts: [0; BINS],
        }
    }

    /// Where they lie, in numbers of the kind that is counted; none where that has no 2⁻ᵏ, or not all integers up to i eight
    /// times over.
    pub(super) fn grid<S: Scalar>(&self) -> Option<Grid<S>> {
        let grid = Grid {
            first: S::from_f64(self.first as f64),
            scale: S::from_f64(power_of_two(-self.exponent)),
        };
        let most = S::INTEGERS / S::from_f64(8.0);
        (grid.scale.is_normal() && grid.first.abs() <= most).then_some(grid)
    }

    /// The same bins with these counts.
    pub(super) fn with(self, counts: [u64; BINS]) -> Self {
        Self { counts, ..self }
    }

    /// The histogram of the numbers counted; all zeros of none.
    pub fn histogram(&self) -> Histogram {
        if self.is_empty() {
            return Histogram::default();
        }
        let edge = |index: i64| {
            let edge = index as f64 * power_of_two(self.exponent);
            edge.clamp(f64::MIN, f64::MAX)
        };
        Histogram {
            min: edge(self.first),
            max: edge(self.first + BINS as i64),
            counts: self.counts,
        }
    }

    fn is_empty(&self) -> bool {
        self.min > self.max
    }

    /// Makes room for numbers in [min, max].
    fn widen(&mut self, min: f64, max: f64) {
        let wider = Self::between(min, max);
        let before = replace(self, wider);
        if !before.is_empty() {
            self.take(before.exponent, before.first, &before.counts);
        }
    }

    /// Adds counts of bins that are at most as wide, and all within range where they count anything.
    fn take(&mut self, exponent: i32, first: i64, counts: &[u64; BINS]) {
        // Beyond 2⁵³ bins, those of any place are one.
        let pairs = (self.exponent - exponent).min(63);
        for (old, &count) in (first..).zip(counts).filter(|(_, count)| **count > 0) {
            self.counts[((old >> pairs) - self.first) as usize] += count;
        }
    }
}

impl Accumulator for Bins {
    fn add(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        if other.min < self.min || other.max > self.max {
            self.widen(self.min.min(other.min), self.max.max(other.max));
        }
        self.take(other.exponent, other.first, &other.counts);
    }
}

/// ⌊value / 2ᵏ⌋.
fn index(value: f64, exponent: i32) -> i64 {
    floor(value, power_of_two(-exponent))
}

/// ⌊value · scale⌋ for a power of two: exact, but for negative numbers so small that their product is rounded to 0.
fn floor(value: f64, scale: f64) -> i64 {
    let product = value * scale;
    // `f64::floor` is a call where the instruction set is the oldest, and this is done for every number.
    let whole = product as i64;
    let floor = whole - i64::from(whole as f64 > product);
    floor - i64::from(value < 0.0) * i64::from(floor == 0)
}

/// The least k with which `BINS` bins hold [min, max], and numbers of their size still differ.
fn exponent_for(min: f64, max: f64) -> i32 {
    let largest = exponent_of(min.abs().max(max.abs()));
    let mut exponent = (largest - PRECISION).max(NARROWEST);
    // With 2ᵏ ≤ (max − min) / 2 BINS there are too many, so the search begins there; one less for the rounding.
    let span = exponent_of(max / BINS as f64 - min / BINS as f64);
    exponent = exponent.max(span - 2);
    while index(max, exponent) - index(min, exponent) >= BINS as i64 {
        exponent += 1;
    }
    exponent
}

/// ⌊log₂ value⌋ of a number ≥ 0; that of the smallest normal number for those below it.
fn exponent_of(value: f64) -> i32 {
    ((value.to_bits() >> 52) as i32).max(1) - 1023
}

/// 2ᵏ for k in [−1022, 1023].
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Histogram {
        Histogram::of(values.iter().copied())
    }

    #[test]
    fn each_number_is_counted_in_the_bin_that_holds_it() {
        // From 0 to 19.5 bins of width 1 are the narrowest powers of two of which 20 are enough.
        let mut counts = [0; BINS];
        (counts[0], counts[1], counts[19]) = (2, 1, 1);
        let expected = Histogram {
            min: 0.0,
            max: 20.0,
            counts,
        };
        assert_eq!(of(&[0.0, 0.5, 1.0, 19.5]), expected);
        // From −1 to 1, 20 bins of 1/8 reach from −1 to 1.5.
        let histogram = of(&[1.0, -1.0]);
        assert_eq!((histogram.min, histogram.max), (-1.0, 1.5));
        assert_eq!((histogram.counts[0], histogram.counts[16]), (1, 1));
    }

    #[test]
    fn the_order_of_the_numbers_and_their_chunks_leave_no_trace() {
        let values: Vec<f64> = (0..5000_u32)
            .map(|i| f64::from(i.wrapping_mul(2_654_435_761)) * 1e-9 - 1.7)
            .map(|value| value.powi(7))
            .collect();
        let whole = Bins::of(values.iter().copied());
        let backwards = Bins::of(values.iter().rev().copied());
        assert_eq!(whole, backwards);
        for size in [1, 7, 64, 4999] {
            let mut sum = Bins::default();
            for chunk in values.chunks(size).rev() {
                sum.add(&Bins::of(chunk.iter().copied()));
            }
            assert_eq!(sum, whole, "chunks of {size}");
        }
        assert_eq!(whole.counts.iter().sum::<u64>(), 5000);
        let histogram = whole.histogram();
        let width = (histogram.max - histogram.min) / BINS as f64;
        for (bin, count) in histogram.counts.into_iter().enumerate() {
            let low = histogram.min + width * bin as f64;
            let within = values.iter().filter(|v| (low..low + width).contains(*v));
            assert_eq!(within.count() as u64, count, "bin {bin}");
        }
    }

    #[test]
    fn more_than_half_of_the_bins_lie_between_the_smallest_and_the_largest() {
        for largest in [1e-300, 0.3, 1.0, 7.0, 1e9, 1e300] {
            let histogram = of(&[0.0, largest]);
            let last = histogram.counts.iter().rposition(|count| *count > 0);
            assert!(last.is_some_and(|last| last >= BINS / 2 - 1), "{largest}");
        }
    }

    #[test]
    fn numbers_at_the_ends_of_f64_have_finite_edges_and_those_that_are_none_are_left_out() {
        let ends = of(&[f64::MIN, f64::MAX, f64::NAN, f64::INFINITY, 0.0]);
        assert_eq!(ends.counts.iter().sum::<u64>(), 3);
        assert!(ends.min.is_finite() && ends.max.is_finite());
        assert_eq!(of(&[]), Histogram::default());
        for value in [0.0, -0.0, 5e-324, -5e-324, f64::MAX, f64::MIN, 0.1] {
            let alone = of(&[value, value]);
            assert_eq!(alone.counts[0], 2, "{value:e}");
            assert!(alone.min <= value && value <= alone.max, "{value:e}");
        }
        assert_eq!(of(&[1e-320, 1.0]).counts[0], 1);
        assert_eq!(of(&[-5e-324, f64::MAX]).counts[0], 1);
        assert_eq!(of(&[f64::MAX, -5e-324, 0.0]).counts[1], 1);
    }
}
