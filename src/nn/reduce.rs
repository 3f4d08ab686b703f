//! Sums over samples, always added up in the same order.
//!
//! Floating-point addition is not associative, so a sum has the same bits twice only if its tree of additions is the
//! same. Here the tree is fixed by the number of samples alone: samples are cut into chunks of `CHUNK`, a chunk is
//! summed by its own code, and chunks are added in pairs, pairs in fours, and so on, like the carries of a counter.

use std::convert::Infallible;
use std::mem::swap;
use std::ops::{ControlFlow, Range};

use ndarray::Array1;

use crate::nn::Scalar;

/// Rows that are computed together, and the leaves of every sum over samples.
pub const CHUNK: usize = 64;

/// What can be added up: a number, a vector, or a struct of them.
pub trait Accumulator {
    /// self ← self + other.
    fn add(&mut self, other: &Self);
}

impl Accumulator for f64 {
    fn add(&mut self, other: &Self) {
        *self += other;
    }
}

impl<T: Scalar> Accumulator for Array1<T> {
    fn add(&mut self, other: &Self) {
        *self += other;
    }
}

/// A sum over samples whose tree of additions depends on the number of samples alone.
#[derive(Clone, Debug)]
pub struct FixedTree<A> {
    samples: usize,
    /// `levels[i]` holds, while bit i of the number of finished chunks is 1, the sum of 2ⁱ chunks.
    levels: Vec<A>,
    /// Takes a chunk while `levels[0]` is occupied; there is none where there can be but one chunk.
    second: Option<A>,
}

impl<A: Accumulator> FixedTree<A> {
    /// A tree for up to `samples` samples; all that it will ever need is made by `zero` now.
    pub fn new(samples: usize, mut zero: impl FnMut() -> A) -> Self {
        let chunks = samples.div_ceil(CHUNK).max(1);
        let levels = (0..=chunks.ilog2()).map(|_| zero()).collect();
        let second = (chunks > 1).then(zero);
        Self {
            samples,
            levels,
            second,
        }
    }

    /// Σ over 0..samples, where `leaf(rows, sum)` OVERWRITES `sum` with the sum over the rows of one chunk.
    ///
    /// Leaves are called in order. Of no samples the sum is what `leaf(0..0, sum)` writes. A `Break` from a leaf ends
    /// the sum and comes back; the tree can be used again. Allocates nothing.
    ///
    /// Panics: where `samples` is more than the tree was made for, the caller's bug.
    pub fn sum<B>(
        &mut self,
        samples: usize,
        mut leaf: impl FnMut(Range<usize>, &mut A) -> ControlFlow<B>,
    ) -> ControlFlow<B, &A> {
        assert!(
            samples <= self.samples,
            "a tree for {} samples was given {samples}",
            self.samples
        );
        let chunks = samples.div_ceil(CHUNK).max(1);
        for chunk in 0..chunks {
            let rows = chunk * CHUNK..samples.min((chunk + 1) * CHUNK);
            if chunk & 1 == 0 {
                leaf(rows, &mut self.levels[0])?;
            } else {
                let second = self
                    .second
                    .as_mut()
                    .expect("a second chunk was planned for");
                leaf(rows, second)?;
                self.levels[0].add(second);
                self.carry(chunk);
            }
        }
        ControlFlow::Continue(self.total(chunks))
    }

    /// Moves the pair in level 0 up, past every level that the `finished` chunks before it occupy.
    fn carry(&mut self, finished: usize) {
        let mut level = 0;
        while finished >> level & 1 == 1 {
            let (lower, upper) = self.levels.split_at_mut(level + 1);
            let (sum, next) = (&mut lower[level], &mut upper[0]);
            if finished >> (level + 1) & 1 == 1 {
                next.add(sum);
            } else {
                swap(next, sum);
            }
            level += 1;
        }
    }

    /// Adds the levels that are occupied after `chunks` chunks, smallest first, and finds the sum in the highest.
    fn total(&mut self, chunks: usize) -> &A {
        let highest = chunks.ilog2() as usize;
        let mut sum = chunks.trailing_zeros() as usize;
        for level in sum + 1..=highest {
            if chunks >> level & 1 == 1 {
                let (lower, upper) = self.levels.split_at_mut(level);
                upper[0].add(&lower[sum]);
                sum = level;
            }
        }
        &self.levels[highest]
    }
}

/// Σ value(i) over 0..samples: one after another inside a chunk, chunks in the fixed tree.
pub fn sum_over_samples(samples: usize, mut value: impl FnMut(usize) -> f64) -> f64 {
    let mut tree = FixedTree::new(samples, || 0.0);
    let sum = tree.sum(samples, |rows, sum| {
        *sum = 0.0;
        for row in rows {
            *sum += value(row);
        }
        ControlFlow::<Infallible>::Continue(())
    });
    match sum {
        ControlFlow::Continue(sum) => *sum,
        ControlFlow::Break(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree written out as text: "(0+1)" is the sum of chunks 0 and 1.
    #[derive(Clone, Debug, PartialEq)]
    struct Shape(String);

    impl Accumulator for Shape {
        fn add(&mut self, other: &Self) {
            self.0 = format!("({}+{})", self.0, other.0);
        }
    }

    fn shape(tree: &mut FixedTree<Shape>, samples: usize) -> String {
        let sum = tree.sum(samples, |rows, sum| {
            sum.0 = (rows.start / CHUNK).to_string();
            ControlFlow::<()>::Continue(())
        });
        match sum {
            ControlFlow::Continue(sum) => sum.0.clone(),
            ControlFlow::Break(()) => unreachable!("no leaf breaks"),
        }
    }

    fn empty() -> Shape {
        Shape("stale".into())
    }

    #[test]
    fn the_tree_is_a_binary_counter_over_the_chunks() {
        let mut tree = FixedTree::new(8 * CHUNK, empty);
        let expected = [
            (1, "0"),
            (2, "(0+1)"),
            (3, "((0+1)+2)"),
            (4, "((0+1)+(2+3))"),
            (5, "(((0+1)+(2+3))+4)"),
            (6, "(((0+1)+(2+3))+(4+5))"),
            (7, "(((0+1)+(2+3))+((4+5)+6))"),
            (8, "(((0+1)+(2+3))+((4+5)+(6+7)))"),
        ];
        for (chunks, expected) in expected {
            assert_eq!(shape(&mut tree, chunks * CHUNK), expected);
            assert_eq!(shape(&mut tree, (chunks - 1) * CHUNK + 1), expected);
        }
    }

    #[test]
    fn the_shape_depends_on_the_number_of_samples_and_not_on_the_size_of_the_tree() {
        let mut large = FixedTree::new(100 * CHUNK, empty);
        for samples in (0..40).map(|chunks| chunks * CHUNK + 7) {
            let mut exact = FixedTree::new(samples, empty);
            assert_eq!(shape(&mut large, samples), shape(&mut exact, samples));
        }
    }

    #[test]
    fn the_sum_is_the_plain_sum_up_to_rounding() {
        for samples in [0, 1, 63, 64, 65, 128, 1000, 4097] {
            let value = |i: usize| 1.0 / (1.0 + i as f64);
            let plain: f64 = (0..samples).map(value).sum();
            assert!((sum_over_samples(samples, value) - plain).abs() < 1e-12);
        }
    }

    #[test]
    fn every_sample_is_counted_exactly_once() {
        for samples in 0..1000 {
            assert_eq!(
                sum_over_samples(samples, |i| i as f64),
                (samples * samples.saturating_sub(1) / 2) as f64
            );
        }
    }

    #[test]
    fn a_sum_broken_off_leaves_the_tree_fit_for_use() {
        for stop in 0..8 {
            let mut tree = FixedTree::new(8 * CHUNK, empty);
            let broken = tree.sum(8 * CHUNK, |rows, sum| {
                if rows.start / CHUNK == stop {
                    return ControlFlow::Break(stop);
                }
                sum.0 = "left over".into();
                ControlFlow::Continue(())
            });
            assert!(matches!(broken, ControlFlow::Break(chunk) if chunk == stop));
            assert_eq!(shape(&mut tree, 3 * CHUNK), "((0+1)+2)");
        }
    }

    #[test]
    #[should_panic(expected = "a tree for 64 samples was given 65")]
    fn more_samples_than_planned_are_a_bug() {
        sum_over_samples(0, |_| 0.0);
        shape(&mut FixedTree::new(64, empty), 65);
    }
}
