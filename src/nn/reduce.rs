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

/// Rows that are added up one after another: the leaves of every sum over samples.
pub const CHUNK: usize = 64;

/// Rows whose gradient is computed in one pass over the parameters: a power of two of chunks, so that sums over blocks go on
/// in the tree of the chunks.
pub const BLOCK: usize = 8 * CHUNK;

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
///
/// Its leaves are the sums over chunks, or over blocks of them, which are whole branches of the same tree.
#[derive(Clone, Debug)]
pub struct FixedTree<A> {
    leaves: usize,
    /// Leaves that have been added.
    finished: usize,
    /// `levels[i]` holds, while bit i of the number of finished leaves is 1, the sum of 2ⁱ leaves.
    levels: Vec<A>,
    /// Takes a leaf while `levels[0]` is occupied; there is none where there can be but one leaf.
    second: Option<A>,
}

impl<A: Accumulator> FixedTree<A> {
    /// A tree for up to `samples` samples, cut into chunks; all that it will ever need is made by `zero` now.
    pub fn new(samples: usize, zero: impl FnMut() -> A) -> Self {
        Self::of_leaves(samples.div_ceil(CHUNK).max(1), zero)
    }

    /// The same for up to so many leaves, at least one.
    pub fn of_leaves(leaves: usize, mut zero: impl FnMut() -> A) -> Self {
        let levels = (0..=leaves.ilog2()).map(|_| zero()).collect();
        Self {
            leaves,
            finished: 0,
            levels,
            second: (leaves > 1).then(zero),
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
        self.begin();
        for chunk in 0..samples.div_ceil(CHUNK).max(1) {
            let rows = chunk * CHUNK..samples.min((chunk + 1) * CHUNK);
            leaf(rows, self.leaf())?;
            self.add_leaf();
        }
        ControlFlow::Continue(self.total())
    }

    /// Begins a new sum, of nothing.
    pub fn begin(&mut self) {
        self.finished = 0;
    }

    /// Where the next leaf is to be written, before [`FixedTree::add_leaf`].
    ///
    /// Panics: where there are more leaves than the tree was made for, the caller's bug.
    pub fn leaf(&mut self) -> &mut A {
        assert!(
            self.finished < self.leaves,
            "a tree of {} leaves was given another",
            self.leaves
        );
        if self.finished & 1 == 0 {
            return &mut self.levels[0];
        }
        let second = self.second.as_mut();
        second.expect("a tree of more leaves than one has a second place")
    }

    /// Adds the leaf that was written.
    pub fn add_leaf(&mut self) {
        let before = self.finished;
        self.finished += 1;
        if before & 1 == 0 {
            return;
        }
        if let Some(second) = &self.second {
            self.levels[0].add(second);
        }
        // Moves the pair in level 0 up, past every level that the leaves before it occupy.
        let mut level = 0;
        while before >> level & 1 == 1 {
            let (lower, upper) = self.levels.split_at_mut(level + 1);
            let (sum, next) = (&mut lower[level], &mut upper[0]);
            if before >> (level + 1) & 1 == 1 {
                next.add(sum);
            } else {
                swap(next, sum);
            }
            level += 1;
        }
    }

    /// The sum of all leaves: adds the levels that are occupied, smallest first.
    ///
    /// Panics: where there was no leaf, the caller's bug.
    pub fn total(&mut self) -> &mut A {
        let leaves = self.finished;
        let highest = leaves.ilog2() as usize;
        let mut sum = leaves.trailing_zeros() as usize;
        for level in sum + 1..=highest {
            if leaves >> level & 1 == 1 {
                let (lower, upper) = self.levels.split_at_mut(level);
                upper[0].add(&lower[sum]);
                sum = level;
            }
        }
        &mut self.levels[highest]
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
    #[should_panic(expected = "a tree of 1 leaves was given another")]
    fn more_samples_than_planned_are_a_bug() {
        sum_over_samples(0, |_| 0.0);
        shape(&mut FixedTree::new(64, empty), 65);
    }
}
