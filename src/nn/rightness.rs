//! When a row of outputs is right: where it names the class of the targets, or where every label is as they say.

use crate::nn::Scalar;
use crate::nn::workspace::class_of;

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
    pub(crate) fn holds<T: Scalar>(self, a: &[T], y: &[T]) -> bool {
        match self {
            Self::OfClass => class_of(a) == class_of(y),
            Self::OfLabels => {
                let half = T::from_f64(0.5);
                a.iter().zip(y).all(|(&a, &y)| (a >= half) == (y >= half))
            }
        }
    }
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
}
