//! The samples that a pass is made over.

use std::ops::Range;

use ndarray::ArrayView2;

use crate::nn::kernel::Matrix;

/// Rows of inputs x and of targets y, one of each for every sample. Nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    inputs: Matrix<'a, T>,
    targets: Matrix<'a, T>,
}

impl<'a, T: Copy> Batch<'a, T> {
    /// All rows of two tables.
    ///
    /// Shapes: `inputs` (n × K), `targets` (n × J). Panics: where there are not as many of both, or rows do not stand one
    /// after another in memory, the caller's bug.
    pub fn new(inputs: ArrayView2<'a, T>, targets: ArrayView2<'a, T>) -> Self {
        assert_eq!(
            inputs.nrows(),
            targets.nrows(),
            "as many rows of targets as of inputs"
        );
        Self {
            inputs: Matrix::new(numbers(&inputs), inputs.ncols()),
            targets: Matrix::new(numbers(&targets), targets.ncols()),
        }
    }

    /// Rows of two tables, in the order of their numbers. Panics: as [`Batch::new`], or where there is no such row.
    pub fn picked(inputs: ArrayView2<'a, T>, targets: ArrayView2<'a, T>, rows: &'a [u32]) -> Self {
        Self {
            inputs: Matrix::picked(numbers(&inputs), inputs.ncols(), rows),
            targets: Matrix::picked(numbers(&targets), targets.ncols(), rows),
        }
    }

    /// Some of the samples.
    pub(crate) fn slice(self, rows: Range<usize>) -> Self {
        Self {
            inputs: self.inputs.slice(rows.clone()),
            targets: self.targets.slice(rows),
        }
    }

    /// How many samples there are.
    pub(crate) fn len(&self) -> usize {
        self.inputs.len()
    }

    /// x.
    pub(crate) fn inputs(&self) -> Matrix<'a, T> {
        self.inputs
    }

    /// y.
    pub(crate) fn targets(&self) -> Matrix<'a, T> {
        self.targets
    }
}

fn numbers<'a, T>(rows: &ArrayView2<'a, T>) -> &'a [T] {
    rows.to_slice().expect("rows one after another")
}
