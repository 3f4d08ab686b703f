//! A run's raw data: inline rows or columns of a dataset, before splitting and preprocessing.

use ndarray::Array2;

use crate::data::Column;
use crate::model::{Error, ReadTensors, Tensors};

/// Raw samples, in the table's own units.
#[derive(Clone, Debug, PartialEq)]
pub enum RawSamples {
    /// Rows given in the request: inputs (N × K) and target activations (N × J).
    Inline {
        /// Inputs in raw units.
        inputs: Array2<f64>,
        /// Target activations.
        targets: Array2<f64>,
    },
    /// Columns of a dataset, in the order of the spec.
    Columns {
        /// The feature columns.
        features: Vec<Column>,
        /// The target columns.
        targets: Vec<Column>,
    },
}

/// Everything a run reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What to train on.
    pub data: RawSamples,
    /// What to validate on, where it is not a share of `data`.
    pub validation: Option<RawSamples>,
}

/// Inline rows as bytes for the store.
pub(crate) fn encode_inline(inputs: &Array2<f64>, targets: &Array2<f64>) -> Vec<u8> {
    let mut tensors = Tensors::default();
    tensors.push("inputs".to_owned(), inputs.shape(), inputs.iter());
    tensors.push("targets".to_owned(), targets.shape(), targets.iter());
    tensors.encode(&())
}

impl RawSamples {
    /// The inline rows of their bytes.
    ///
    /// Errors: the bytes are none of ours.
    pub fn decode_inline(bytes: &[u8]) -> Result<Self, Error> {
        let ((), tensors) = ReadTensors::decode::<()>(bytes)?;
        Ok(Self::Inline {
            inputs: tensors.matrix("inputs")?,
            targets: tensors.matrix("targets")?,
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Inline { inputs, .. } => inputs.nrows(),
            Self::Columns { targets, .. } => targets.first().map_or(0, Column::rows),
        }
    }
}
