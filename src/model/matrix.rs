//! A matrix as it is written in an answer: an array of rows.

use ndarray::{ArrayView1, ArrayView2};
use serde::{Serialize, Serializer};

/// Writes a matrix (rows × columns) as an array of rows, each number with its shortest exact digits.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T>(pub ArrayView2<'a, T>);

struct Row<'a, T>(ArrayView1<'a, T>);

impl<T: Serialize> Serialize for Row<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

impl<T: Serialize> Serialize for Matrix<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.rows().into_iter().map(Row))
    }
}
