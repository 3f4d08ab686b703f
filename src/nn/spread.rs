//! How the numbers of a slice are spread: their moments and their bins, in loops that run in vectors.
#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled with the features of the function that calls it"
)]

use std::array;
use std::hint::black_box;

use crate::nn::histogram::Grid;
use crate::nn::kernel::{Arithmetic, Loops, add_up, select, vectorize};
use crate::nn::{BINS, Bins, Moments, Scalar};

/// The moments and the bins of the numbers.
pub(super) fn spread<T: Scalar>(values: &[T]) -> (Moments, Bins) {
    spread_by(values, |v| v)
}

/// The moments and the bins of the numbers divided by another.
pub(super) fn spread_of_quotients<T: Scalar>(values: &[T], divisor: f64) -> (Moments, Bins) {
    spread_by(values, |v| v.to_f64() / divisor)
}

fn spread_by<T: Scalar, S: Scalar>(
    values: &[T],
    number: impl Fn(T) -> S + Copy,
) -> (Moments, Bins) {
    let wide = |v: T| number(v).to_f64();
    let moments = vectorize(Sum { values, number });
    if !moments.sum_of_squares.is_finite() {
        // A number or its square is NaN or infinite: the least and the largest are found with more care.
        let numbers = values.iter().map(|&v| wide(v));
        return (Moments::of(numbers.clone()), Bins::of(numbers));
    }
    let bins = Bins::between(moments.min, moments.max);
    let bins = if let Some(grid) = bins.grid::<S>() {
        bins.with(count(values, number, &grid))
    } else if let Some(grid) = bins.grid::<f64>() {
        bins.with(count(values, wide, &grid))
    } else {
        Bins::of(values.iter().map(|&v| wide(v)))
    };
    (moments, bins)
}

/// √Σ (xₖ − yₖ)² over two slices of one length.
pub(super) fn distance<T: Scalar>(x: &[T], y: &[T]) -> f64 {
    vectorize(SquaredDistance(x, y)).sqrt()
}

fn count<T: Scalar, S: Scalar>(
    values: &[T],
    number: impl Fn(T) -> S,
    grid: &Grid<S>,
) -> [u64; BINS] {
    vectorize(Count {
        values,
        number,
        grid,
    })
}

/// Sums of every sixteenth number, those that are left over at the end on the first of them; then the later eight are added
/// onto the earlier, and so on. All that the order depends on is how many numbers there are.
struct Sum<'a, T, F> {
    values: &'a [T],
    number: F,
}

impl<T: Scalar, S: Scalar, F: Fn(T) -> S> Loops for Sum<'_, T, F> {
    type Output = Moments;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> Moments {
        const LANES: usize = 16;
        let Self { values, number } = self;
        let mut sums = [0.0; LANES];
        let mut squares = [0.0; LANES];
        let mut min = [S::infinity(); LANES];
        let mut max = [S::neg_infinity(); LANES];
        let (groups, rest) = values.as_chunks::<LANES>();
        for group in groups {
            let numbers: [S; LANES] = array::from_fn(|lane| number(group[lane]));
            let wide: [f64; LANES] = array::from_fn(|lane| numbers[lane].to_f64());
            join(&mut sums, &wide, |sum, x| sum + x);
            join(&mut squares, &wide, |sum, x| sum + x * x);
            join(&mut min, &numbers, smaller);
            join(&mut max, &numbers, larger);
        }
        let (mut sums, mut squares, mut min, mut max) = settled((sums, squares, min, max));
        let lanes = (sums.iter_mut().zip(&mut squares)).zip(min.iter_mut().zip(&mut max));
        for (((sum, square), (min, max)), &value) in lanes.zip(rest) {
            let number = number(value);
            let x = number.to_f64();
            *sum += x;
            *square += x * x;
            *min = smaller(*min, number);
            *max = larger(*max, number);
        }
        Moments {
            count: values.len() as u64,
            sum: across(sums, |x, y| x + y),
            sum_of_squares: across(squares, |x, y| x + y),
            min: across(min, smaller).to_f64(),
            max: across(max, larger).to_f64(),
        }
    }
}

#[inline(always)]
fn smaller<S: Scalar>(x: S, y: S) -> S {
    select(y < x, y, x)
}

#[inline(always)]
fn larger<S: Scalar>(x: S, y: S) -> S {
    select(y > x, y, x)
}

#[inline(always)]
fn join<S: Copy, const LANES: usize>(
    lanes: &mut [S; LANES],
    others: &[S; LANES],
    join: impl Fn(S, S) -> S,
) {
    for (lane, &other) in lanes.iter_mut().zip(others) {
        *lane = join(*lane, other);
    }
}

/// The same lanes in memory. Without this the compiler works back from how they are joined at the end, and leaves the loop
/// before in the narrowest vectors.
#[inline(always)]
fn settled<L>(lanes: L) -> L {
    black_box(lanes)
}

/// The lanes joined to one, each with the lane half of them away.
#[inline(always)]
fn across<S: Copy, const LANES: usize>(mut lanes: [S; LANES], join: impl Fn(S, S) -> S) -> S {
    let mut half = LANES / 2;
    while half > 0 {
        let (earlier, later) = lanes.split_at_mut(half);
        for (lane, &mut other) in earlier.iter_mut().zip(later) {
            *lane = join(*lane, other);
        }
        half /= 2;
    }
    lanes[0]
}

/// Words that count beside each other.
const WORDS: usize = 8;
/// Bits of a field of a word, which has one for each bin: it counts to 7.
const FIELD: u32 = 3;
/// Numbers that a word counts before one of its fields may be full.
const TO_FULL: usize = (1 << FIELD) - 1;
/// How often a word of fields of 6 bits takes those of 3 before one of its own may be full.
const TIMES_TO_FULL: usize = ((1 << (2 * FIELD)) - 1) / TO_FULL;
/// Every second field of 3 bits.
const EVERY_SECOND: u64 = 0o0707_0707_0707_0707_0707;
/// Every second field of 6 bits.
const EVERY_SECOND_OF_6: u64 = 0o77_0077_0077_0077_0077;

const _: () = assert!(BINS == 20, "as many fields of 3 bits as a word has");

/// How many of the numbers, which are finite and lie in the bins of a grid, are in each bin.
///
/// Words count beside each other, in fields of 3 bits: for a number of bin i, 2³ⁱ is added to one. Before a field can be
/// full, they are added to words with fields of 6 bits, and before one of those can be, to the counts.
struct Count<'a, T, S, F> {
    values: &'a [T],
    number: F,
    grid: &'a Grid<S>,
}

impl<T: Scalar, S: Scalar, F: Fn(T) -> S> Loops for Count<'_, T, S, F> {
    type Output = [u64; BINS];

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> [u64; BINS] {
        let Self {
            values,
            number,
            grid,
        } = self;
        let shift = S::from_f64(f64::from(FIELD));
        let places = (grid.scale, shift, S::INTEGERS - shift * grid.first);
        let word = |value: T| one_more::<A, S>(number(value), places);
        let mut counts = [0; BINS];
        for part in values.chunks(TIMES_TO_FULL * TO_FULL * WORDS) {
            let (mut even, mut odd) = ([0; WORDS], [0; WORDS]);
            for piece in part.chunks(TO_FULL * WORDS) {
                let mut words = [0; WORDS];
                let (groups, rest) = piece.as_chunks::<WORDS>();
                for group in groups {
                    let more = array::from_fn(|lane| word(group[lane]));
                    join(&mut words, &more, u64::wrapping_add);
                }
                if !rest.is_empty() {
                    words = settled(words);
                    for (field, &value) in words.iter_mut().zip(rest) {
                        *field = field.wrapping_add(word(value));
                    }
                    words = settled(words);
                }
                join(&mut even, &words, |sum, word| {
                    sum.wrapping_add(word & EVERY_SECOND)
                });
                join(&mut odd, &words, |sum, word| {
                    sum.wrapping_add(word >> FIELD & EVERY_SECOND)
                });
            }
            let words = settled([even, odd]);
            for (first, words) in words.into_iter().enumerate() {
                let sum = |shift: u32| {
                    let fields = words.map(|word| word >> shift & EVERY_SECOND_OF_6);
                    across(fields, u64::wrapping_add)
                };
                for (second, fields) in [sum(0), sum(2 * FIELD)].into_iter().enumerate() {
                    for (index, counts) in counts.chunks_exact_mut(4).enumerate() {
                        let field = fields >> (4 * FIELD * index as u32) & 0o7777;
                        counts[2 * second + first] += field;
                    }
                }
            }
        }
        counts
    }
}

/// 2³ⁱ for a number x of bin i = ⌊x · scale⌋ − first.
///
/// x · scale is exact, but for what is so close to 0 that the product is not normal: below 0 that is in the bin before it.
/// The rest is whole numbers, of which the last bits of a sum with `INTEGERS` are the shift.
#[inline(always)]
fn one_more<A: Arithmetic, S: Scalar>(x: S, (scale, shift, from_first): (S, S, S)) -> u64 {
    let least = -S::min_positive_value();
    let product = x * scale;
    let below_0 = select(product < least, product, least);
    let product = select(x < S::zero(), below_0, product);
    let shift = A::multiply_add(product.floor(), shift, from_first);
    1_u64.wrapping_shl(shift.last_bits())
}

struct SquaredDistance<'a, T>(&'a [T], &'a [T]);

impl<T: Scalar> Loops for SquaredDistance<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> f64 {
        add_up(self.0, self.1, |x, y| {
            let difference = x.to_f64() - y.to_f64();
            difference * difference
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernel::InstructionSet;
    use crate::nn::random::{keyed, normal};

    /// Numbers of many kinds, of so many of each.
    fn samples(len: usize) -> Vec<Vec<f64>> {
        let mut random = keyed(7, 0, 0, len as u64);
        let normals: Vec<f64> = (0..len).map(|_| normal(&mut random)).collect();
        let of = |number: fn(f64) -> f64| normals.iter().map(|&v| number(v)).collect();
        vec![
            of(|v| v),
            of(|v| v.powi(9)),
            // At the edges of bins, and on both sides of 0.
            of(|v| (v * 4.0).round() / 4.0),
            of(|v| v.signum() * 0.0),
            // Far from 0, so that there are many bins before the first, beyond the integers of f32 and of f64.
            of(|v| 1000.0 + v),
            of(|v| -1e8 + 10.0 * (10.0 * v).round()),
            of(|_| -0.7),
            // Powers of two that f32 has not, and products with them that are no normal numbers.
            of(|v| v * 1e-44),
            of(|v| if v > 0.0 { 1e30 } else { v * 1e-30 }),
            of(|v| v * 1e38),
            of(|v| v * 1e-310),
            of(|v| if v > 0.0 { 1e200 } else { v * 1e-300 }),
            of(|v| if v > 1.0 { f64::MAX } else { v * 1e308 }),
            of(|v| if v > 1.0 { f64::NAN } else { 1.0 / v.max(0.0) }),
        ]
    }

    fn is_spread_as_one_by_one<T: Scalar>() {
        for len in (0..40).chain([448, 449, 503, 504, 505, 1200, 4097]) {
            for sample in samples(len) {
                let values: Vec<T> = sample.iter().map(|&v| T::from_f64(v)).collect();
                let wide: Vec<f64> = values.iter().map(|v| Scalar::to_f64(*v)).collect();
                is_of(&wide, spread(&values));
                let quotients = wide.iter().map(|v| v / 150.0).collect::<Vec<_>>();
                is_of(&quotients, spread_of_quotients(&values, 150.0));
            }
        }
    }

    fn is_of(values: &[f64], (moments, bins): (Moments, Bins)) {
        let expected = Moments::of(values.iter().copied());
        assert_eq!(bins, Bins::of(values.iter().copied()), "{values:?}");
        assert_eq!(moments.count, expected.count);
        assert_eq!((moments.min, moments.max), (expected.min, expected.max));
        if expected.sum_of_squares.is_finite() {
            let size: f64 = values.iter().map(|v| v.abs()).sum();
            let bound = values.len() as f64 * f64::EPSILON;
            assert!((moments.sum - expected.sum).abs() <= bound * size);
            let squares = moments.sum_of_squares;
            assert!((squares - expected.sum_of_squares).abs() <= bound * squares);
        } else {
            let [sum, expected] = [moments.sum, expected.sum].map(f64::to_bits);
            assert_eq!(sum, expected);
        }
    }

    #[test]
    fn a_slice_is_spread_as_its_numbers_one_by_one() {
        is_spread_as_one_by_one::<f32>();
        is_spread_as_one_by_one::<f64>();
    }

    #[test]
    fn moments_and_counts_have_the_same_bits_on_every_instruction_set() {
        for len in [1, 7, 16, 17, 100, 513, 2000] {
            for values in samples(len).into_iter().take(7) {
                let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
                let number = |v: f32| f64::from(v) / 3.0;
                let sum = |set: InstructionSet| {
                    let values = values.as_slice();
                    set.try_out(Sum { values, number })
                };
                let expected = sum(InstructionSet::Portable);
                let bins = Bins::between(expected.min, expected.max);
                for set in InstructionSet::available() {
                    assert_eq!(sum(set), expected, "{set:?} {len}");
                    let Some(grid) = bins.grid() else { continue };
                    let values = values.as_slice();
                    let count = |set: InstructionSet| {
                        let grid = &grid;
                        set.try_out(Count {
                            values,
                            number,
                            grid,
                        })
                    };
                    assert_eq!(count(set), count(InstructionSet::Portable), "{set:?} {len}");
                }
            }
        }
    }

    #[test]
    fn a_distance_is_the_norm_of_the_difference() {
        assert_eq!(distance(&[1.0_f32, 5.0, 2.0], &[4.0, 1.0, 2.0]), 5.0);
        assert_eq!(distance::<f64>(&[], &[]), 0.0);
    }
}
