//! When a row of outputs is right: where it names the class of the targets, or where every label is as they say.

#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled with the features of the function that calls it"
)]

use crate::nn::Scalar;
use crate::nn::kernel::{Arithmetic, Loops, vectorize};

/// When a row of outputs is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rightness {
    /// Where it names the class that the targets name: the same largest entry (the first of equals) in a and y, or, where
    /// there is one output, both on the same side of ½ (a half counts as above).
    #[default]
    OfClass,
    /// Where every output is on the same side of ½ as its target.
    OfLabels,
}

impl Rightness {
    /// Whether the outputs a of a row are right. Panics: where the row is empty, the caller's bug.
    #[inline(always)]
    pub(crate) fn holds<T: Scalar>(self, a: &[T], y: &[T]) -> bool {
        match self {
            Self::OfClass => named_by(a) == named_by(y),
            Self::OfLabels => {
                let half = T::from_f64(0.5);
                a.iter().zip(y).all(|(&a, &y)| (a >= half) == (y >= half))
            }
        }
    }

    /// How many rows are right. Shapes: `a` and `y` (rows × units), row-major. Panics: as [`Rightness::holds`].
    pub(crate) fn count<T: Scalar>(self, units: usize, a: &[T], y: &[T]) -> u64 {
        vectorize(Count {
            rightness: self,
            units,
            a,
            y,
        })
    }
}

/// The class that a row of outputs names: of its largest entry, the first of equals, or, where there is one output, whether
/// it is at least ½.
///
/// Panics: where the row is empty, the caller's bug.
pub(crate) fn class_of<T: Scalar>(row: &[T]) -> usize {
    named_by(row) as usize
}

/// [`class_of`] as a number that is no wider than those of the row, so that several rows go into a vector.
#[inline(always)]
fn named_by<T: Scalar>(row: &[T]) -> u32 {
    if let [single] = row {
        return u32::from(*single >= T::from_f64(0.5));
    }
    // Two selections instead of a branch, which nothing could foresee.
    let (mut best, mut largest) = (0, row[0]);
    for (index, &value) in row.iter().enumerate() {
        let is_larger = value > largest;
        best = if is_larger { index as u32 } else { best };
        largest = if is_larger { value } else { largest };
    }
    best
}

/// Counts the rows that are right.
struct Count<'a, T> {
    rightness: Rightness,
    units: usize,
    a: &'a [T],
    y: &'a [T],
}

impl<T: Scalar> Loops for Count<'_, T> {
    type Output = u64;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> u64 {
        let Self {
            rightness,
            units,
            a,
            y,
        } = self;
        match (rightness, units) {
            (Rightness::OfClass, 1) => of_class::<T, 1>(a, y),
            (Rightness::OfClass, 2) => of_class::<T, 2>(a, y),
            (Rightness::OfClass, 3) => of_class::<T, 3>(a, y),
            _ => {
                let rows = a.chunks_exact(units).zip(y.chunks_exact(units));
                rows.map(|(a, y)| u64::from(rightness.holds(a, y))).sum()
            }
        }
    }
}

/// The same of rows of few units, whose classes are found without a loop.
#[inline(always)]
fn of_class<T: Scalar, const UNITS: usize>(a: &[T], y: &[T]) -> u64 {
    let (a, y) = (a.as_chunks::<UNITS>().0, y.as_chunks::<UNITS>().0);
    let mut count = 0_u32;
    for (a, y) in a.iter().zip(y) {
        // Unchecked: at most one a row.
        count = count.wrapping_add(u32::from(named_by(a) == named_by(y)));
    }
    u64::from(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_labels_is_right_where_each_of_them_is_and_one_of_a_class_where_the_largest_is() {
        for (a, y, of_class, of_labels) in [
            ([0.9_f32, 0.6, 0.1], [1.0, 1.0, 0.0], true, true),
            ([0.9, 0.4, 0.1], [1.0, 1.0, 0.0], true, false),
            ([0.6, 0.9, 0.1], [1.0, 1.0, 0.0], false, true),
            ([0.4, 0.3, 0.1], [0.0, 0.0, 0.0], true, true),
            ([0.3, 0.4, 0.1], [0.0, 0.0, 0.0], false, true),
            ([0.5, 0.1, 0.1], [0.0, 0.0, 0.0], true, false),
        ] {
            assert_eq!(Rightness::OfClass.holds(&a, &y), of_class, "{a:?}");
            assert_eq!(Rightness::OfLabels.holds(&a, &y), of_labels, "{a:?}");
        }
        for (a, y, right) in [([0.5_f64], [1.0], true), ([0.5], [0.0], false)] {
            assert_eq!(Rightness::OfClass.holds(&a, &y), right);
            assert_eq!(Rightness::OfLabels.holds(&a, &y), right);
        }
    }

    #[test]
    fn as_many_rows_are_right_as_hold_one_by_one() {
        for units in 1..=11 {
            let number = |i: usize| [0.1_f32, 0.5, f32::NAN, 0.7, 0.5, 0.2, 0.9][i % 7];
            let a: Vec<f32> = (0..53 * units).map(|i| number(i * i / 3 + i)).collect();
            let y: Vec<f32> = (0..53 * units).map(|i| number(i / 2 + i * i)).collect();
            for rightness in [Rightness::OfClass, Rightness::OfLabels] {
                let rows = a.chunks(units).zip(y.chunks(units));
                let expected = rows.filter(|(a, y)| rightness.holds(a, y)).count() as u64;
                assert_eq!(rightness.count(units, &a, &y), expected, "{units}");
            }
            let right = Rightness::OfClass.count(units, &a, &y);
            assert!((1..53).contains(&right), "{right} of {units}");
        }
    }
}
