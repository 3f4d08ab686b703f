//! How the numbers of a slice are spread: their moments and their bins, in loops that run in vectors.
#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled with the features of the function that calls it"
)]

use std::array;

use crate::nn::histogram::Grid;
use crate::nn::kernel::{Arithmetic, Loops, add_up, select, vectorize};
use crate::nn::{BINS, Bins, Moments, Scalar};

/// Numbers that are summed or counted beside each other.
const LANES: usize = 16;

/// The moments and the bins of the numbers.
pub(super) fn spread<T: Scalar>(values: &[T]) -> (Moments, Bins) {
    let moments = moments(values, |v| v);
    if !moments.is_of_finite() {
        return (moments, Bins::of(values.iter().map(|&v| v.to_f64())));
    }
    let bins = Bins::between(moments.min, moments.max);
    let counts = match bins.grid::<T>() {
        Some(grid) => count(values, |v| v, &grid),
        None => count_in_f64(values, Scalar::to_f64, &bins),
    };
    (moments, bins.with(counts))
}

/// The moments and the bins of the numbers divided by another.
pub(super) fn spread_of_quotients<T: Scalar>(values: &[T], divisor: f64) -> (Moments, Bins) {
    let quotient = |v: T| v.to_f64() / divisor;
    let moments = moments(values, quotient);
    if !moments.is_of_finite() {
        return (moments, Bins::of(values.iter().map(|&v| quotient(v))));
    }
    let bins = Bins::between(moments.min, moments.max);
    let counts = count_in_f64(values, quotient, &bins);
    (moments, bins.with(counts))
}

/// √Σ (xₖ − yₖ)² over two slices of one length.
pub(super) fn distance<T: Scalar>(x: &[T], y: &[T]) -> f64 {
    vectorize(SquaredDistance(x, y)).sqrt()
}

fn moments<T: Scalar, S: Scalar>(values: &[T], number: impl Fn(T) -> S + Copy) -> Moments {
    let moments = vectorize(Sum { values, number });
    if moments.is_of_finite() {
        return moments;
    }
    // Where a number or its square is NaN or infinite, the least and the largest are found with more care.
    Moments::of(values.iter().map(|&v| number(v).to_f64()))
}

fn count_in_f64<T: Scalar>(values: &[T], number: impl Fn(T) -> f64, bins: &Bins) -> [u64; BINS] {
    let grid = bins.grid().expect("k is from -1020 to 1022");
    count(values, number, &grid)
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

/// Sums of every sixteenth number, the later eight added onto the earlier, and so on; then the numbers that are left over at
/// the end. All that depends on is how many there are.
struct Sum<'a, T, F> {
    values: &'a [T],
    number: F,
}

impl<T: Scalar, S: Scalar, F: Fn(T) -> S> Loops for Sum<'_, T, F> {
    type Output = Moments;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> Moments {
        let Self { values, number } = self;
        let (groups, rest) = values.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        let mut squares = [0.0; LANES];
        let mut min = [S::infinity(); LANES];
        let mut max = [S::neg_infinity(); LANES];
        for group in groups {
            let numbers: [S; LANES] = array::from_fn(|lane| number(group[lane]));
            for lane in 0..LANES {
                min[lane] = smaller(min[lane], numbers[lane]);
                max[lane] = larger(max[lane], numbers[lane]);
            }
            for lane in 0..LANES {
                let x = numbers[lane].to_f64();
                sums[lane] += x;
                squares[lane] += x * x;
            }
        }
        let (mut sum, mut sum_of_squares) =
            (across(sums, |x, y| x + y), across(squares, |x, y| x + y));
        let (mut min, mut max) = (across(min, smaller), across(max, larger));
        for &value in rest {
            let number = number(value);
            (min, max) = (smaller(min, number), larger(max, number));
            let x = number.to_f64();
            sum += x;
            sum_of_squares += x * x;
        }
        Moments {
            count: values.len() as u64,
            sum,
            sum_of_squares,
            min: min.to_f64(),
            max: max.to_f64(),
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

/// The lanes joined to one, each with the lane half of them away.
#[inline(always)]
fn across<S: Copy>(lanes: [S; LANES], join: impl Fn(S, S) -> S) -> S {
    let eight: [S; 8] = array::from_fn(|lane| join(lanes[lane], lanes[lane + 8]));
    let four: [S; 4] = array::from_fn(|lane| join(eight[lane], eight[lane + 4]));
    let two: [S; 2] = array::from_fn(|lane| join(four[lane], four[lane + 2]));
    join(two[0], two[1])
}

/// Bits of a field of a word that has one for each bin: it counts to 7.
const FIELD: u32 = 3;
/// Groups until a field may be full.
const GROUPS: usize = (1 << FIELD) - 1;
/// Pieces of so many groups until a field of twice the bits may be full.
const PIECES: usize = ((1 << (2 * FIELD)) - 1) / GROUPS;
/// Every second field of 3 bits, at twice the width, and of 6.
const EVERY_SECOND: [u64; 2] = [0o0707_0707_0707_0707_0707, 0o77_0077_0077_0077_0077];

const _: () = assert!(BINS == 20, "fields of 3 bits of a word");

/// How many of the numbers, which are finite and within a grid, are in each of its bins.
///
/// Sixteen words count beside each other, in fields of 3 bits, to which 2³ⁱ adds 1 for bin i. Before they can be full, they
/// are added to fields of 6 bits, and before these are, to the counts.
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
        let one_more = |value: T| {
            let shift = S::from_f64(f64::from(FIELD));
            let shift = A::multiply_add(bin::<A, S>(number(value), grid), shift, S::INTEGERS);
            1_u64.wrapping_shl(shift.last_bits())
        };
        let mut counts = [0; BINS];
        for part in values.chunks(PIECES * GROUPS * LANES) {
            let mut wider = [[0_u64; LANES]; 2];
            for piece in part.chunks(GROUPS * LANES) {
                let (groups, rest) = piece.as_chunks::<LANES>();
                let mut fields = [0_u64; LANES];
                for group in groups {
                    for lane in 0..LANES {
                        fields[lane] = fields[lane].wrapping_add(one_more(group[lane]));
                    }
                }
                for (field, &value) in fields.iter_mut().zip(rest) {
                    *field = field.wrapping_add(one_more(value));
                }
                for lane in 0..LANES {
                    let [even, odd] =
                        [fields[lane], fields[lane] >> FIELD].map(|f| f & EVERY_SECOND[0]);
                    wider[0][lane] = wider[0][lane].wrapping_add(even);
                    wider[1][lane] = wider[1][lane].wrapping_add(odd);
                }
            }
            for (first, lanes) in wider.into_iter().enumerate() {
                for (second, shift) in [0, 2 * FIELD].into_iter().enumerate() {
                    let fields: [u64; LANES] =
                        array::from_fn(|lane| lanes[lane] >> shift & EVERY_SECOND[1]);
                    let fields = across(fields, u64::wrapping_add);
                    for index in 0..BINS / 4 {
                        counts[4 * index + 2 * second + first] +=
                            fields >> (4 * FIELD * index as u32) & 0o7777;
                    }
                }
            }
        }
        counts
    }
}

/// ⌊x / width⌋ − first, exactly.
///
/// x / width is exact but where it is 0 for being too small, and the difference is rounded, twice, to an integer, so that
/// this is the bin of x or the next; the lower edge of that tells.
#[inline(always)]
fn bin<A: Arithmetic, S: Scalar>(x: S, grid: &Grid<S>) -> S {
    let from_first = A::multiply_add(x, grid.scale, -grid.first);
    let bin = from_first + S::INTEGERS - S::INTEGERS;
    let is_below = (grid.first + bin) * grid.width > x;
    bin - select(is_below, S::one(), S::zero())
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
