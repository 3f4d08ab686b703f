//! Sums and maxima over slices, in an order that depends on their length alone and that vectors can follow.
#![expect(
    clippy::inline_always,
    reason = "a sum must be compiled with the features of the loop that calls it"
)]

use std::array;

use crate::nn::Scalar;
use crate::nn::kernel::select;

/// How many sums run beside each other.
const LANES: usize = 8;
/// How many terms are computed before they are added, where they are many: a multiple of `LANES`.
const BLOCK: usize = 64;

/// Σ f(xₖ, yₖ) over two slices of one length, in the order of `total`, for an f of a few operations.
#[inline(always)]
pub(crate) fn add_up<T: Scalar, S: Scalar>(x: &[T], y: &[T], f: impl Fn(T, T) -> S) -> S {
    let (groups_of_x, last_of_x) = x.as_chunks::<LANES>();
    let (groups_of_y, last_of_y) = y.as_chunks::<LANES>();
    let mut sums = [S::zero(); LANES];
    for (x, y) in groups_of_x.iter().zip(groups_of_y) {
        let terms: [S; LANES] = array::from_fn(|lane| f(x[lane], y[lane]));
        add(&mut sums, &terms);
    }
    let mut sum = across(sums, |x, y| x + y);
    for (&x, &y) in last_of_x.iter().zip(last_of_y) {
        sum += f(x, y);
    }
    sum
}

/// The same to the last bit, for an f of any length: its terms are computed in a loop of their own, which the compiler
/// puts into vectors.
#[inline(always)]
pub(crate) fn add_up_in_blocks<T: Scalar, S: Scalar>(x: &[T], y: &[T], f: impl Fn(T, T) -> S) -> S {
    let mut terms = [S::zero(); BLOCK];
    let mut sums = [S::zero(); LANES];
    let mut last: &[S] = &[];
    for (x, y) in x.chunks(BLOCK).zip(y.chunks(BLOCK)) {
        let terms = &mut terms[..x.len()];
        for ((term, &x), &y) in terms.iter_mut().zip(x).zip(y) {
            *term = f(x, y);
        }
        let (groups, left_over) = terms.as_chunks::<LANES>();
        for group in groups {
            add(&mut sums, group);
        }
        last = left_over;
    }
    let mut sum = across(sums, |x, y| x + y);
    for &term in last {
        sum += term;
    }
    sum
}

/// Σ xₖ: eight sums of every eighth number run beside each other; the later four are added onto the earlier, and so on;
/// then come the numbers that are left over at the end, one by one.
#[inline(always)]
pub(crate) fn total<T: Scalar>(numbers: &[T]) -> T {
    add_up(numbers, numbers, |x, _| x)
}

#[inline(always)]
fn add<T: Scalar>(sums: &mut [T; LANES], terms: &[T; LANES]) {
    for (sum, &term) in sums.iter_mut().zip(terms) {
        *sum += term;
    }
}

/// The largest number that is no NaN, −∞ where there is none.
#[inline(always)]
pub(crate) fn largest<T: Scalar>(numbers: &[T]) -> T {
    let larger = |x, y| select(y > x, y, x);
    let (chunks, last) = numbers.as_chunks::<LANES>();
    let mut most = [T::neg_infinity(); LANES];
    for chunk in chunks {
        for (most, &number) in most.iter_mut().zip(chunk) {
            *most = larger(*most, number);
        }
    }
    let mut most = across(most, larger);
    for &number in last {
        most = larger(most, number);
    }
    most
}

/// The lanes joined to one, each with the lane half of them away.
#[inline(always)]
fn across<T: Copy>(lanes: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    let four: [T; 4] = array::from_fn(|lane| join(lanes[lane], lanes[lane + 4]));
    let two: [T; 2] = array::from_fn(|lane| join(four[lane], four[lane + 2]));
    join(two[0], two[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernel::{Arithmetic, InstructionSet, Loops};

    /// Both sums of x y, and the largest x.
    struct Folds<'a>(&'a [f32], &'a [f32]);

    impl Loops for Folds<'_> {
        type Output = (f64, f64, f32);

        #[inline(always)]
        fn run<A: Arithmetic>(self) -> (f64, f64, f32) {
            let product = |x: f32, y: f32| f64::from(x) * f64::from(y);
            let (x, y) = (self.0, self.1);
            (
                add_up(x, y, product),
                add_up_in_blocks(x, y, product),
                largest(x),
            )
        }
    }

    #[test]
    fn a_sum_has_the_same_bits_in_blocks_and_on_every_instruction_set() {
        let number = |index: u16| f32::from(index * 37 % 1000) / 7.0 - 60.0;
        for len in (0..150).chain([64 * 8 + 3]) {
            let x: Vec<f32> = (0..len).map(number).collect();
            let y: Vec<f32> = (0..len).map(|index| number(index + 3)).collect();
            let terms = x.iter().zip(&y).map(|(&x, &y)| f64::from(x) * f64::from(y));
            let (plain, size) = terms.fold((0.0, 0.0), |(sum, size), term| {
                (sum + term, size + f64::abs(term))
            });
            let expected = InstructionSet::Portable.run(Folds(&x, &y));
            let bound = f64::from(len) * f64::EPSILON * size;
            assert!((expected.0 - plain).abs() <= bound, "{len}");
            let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(expected.2, most, "{len}");
            for set in InstructionSet::available() {
                let (sum, in_blocks, largest) = set.run(Folds(&x, &y));
                assert_eq!(sum.to_bits(), expected.0.to_bits(), "{set:?} {len}");
                assert_eq!(in_blocks.to_bits(), expected.0.to_bits(), "{set:?} {len}");
                assert_eq!(largest, most, "{set:?} {len}");
            }
        }
    }

    #[test]
    fn the_largest_number_stands_anywhere_and_is_no_nan() {
        for len in 1..40 {
            for at in 0..len {
                let mut numbers = vec![-3.0; len];
                numbers[at] = -1.0;
                if len > 1 {
                    numbers[(at + 1) % len] = f32::NAN;
                }
                assert_eq!(largest(&numbers), -1.0, "{len} {at}");
            }
        }
        assert_eq!(largest::<f64>(&[f64::NAN]), f64::NEG_INFINITY);
    }
}
