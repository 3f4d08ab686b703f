//! A run's raw data: inline rows or columns of a dataset, before splitting and preprocessing.

use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use ndarray::Array2;

use crate::data::{Column, ColumnDescription};
use crate::model::{Error, ReadTensors, Tensors};
use crate::train::{self, AnyOptimizerState};

/// Columns that stay where they are stored, and are read a few rows at a time.
pub trait StoredColumns: Debug + Send + Sync {
    /// What is known of them, in the order of the spec.
    fn columns(&self) -> &[ColumnDescription];

    /// One of them with all its values.
    ///
    /// Errors: it cannot be read.
    fn column(&self, place: usize) -> Result<Column, train::Error>;

    /// Some of them, with the values of some rows, and perhaps of some before these: how many is the second.
    ///
    /// Errors: they cannot be read.
    fn part(
        &self,
        columns: Range<usize>,
        rows: Range<usize>,
    ) -> Result<(Vec<Column>, usize), train::Error>;
}

/// Columns of a stored table that are read together: a chunk of so many takes 4 MiB, or less.
const TOGETHER: usize = 32;

/// The feature columns of a dataset.
#[derive(Clone, Debug)]
pub enum Features {
    /// With all their values.
    Held(Vec<Column>),
    /// Those of a table that is not held in memory.
    Stored(Arc<dyn StoredColumns>),
}

impl PartialEq for Features {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Held(columns), Self::Held(others)) => columns == others,
            (Self::Stored(columns), Self::Stored(others)) => Arc::ptr_eq(columns, others),
            (Self::Held(_), Self::Stored(_)) | (Self::Stored(_), Self::Held(_)) => false,
        }
    }
}

impl Features {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Held(columns) => columns.len(),
            Self::Stored(stored) => stored.columns().len(),
        }
    }

    /// What is known of one of them.
    pub(super) fn description(&self, place: usize) -> &ColumnDescription {
        match self {
            Self::Held(columns) => columns[place].description(),
            Self::Stored(stored) => &stored.columns()[place],
        }
    }

    /// One of them with all its values.
    ///
    /// Errors: it cannot be read.
    pub(super) fn column(&self, place: usize) -> Result<Cow<'_, Column>, train::Error> {
        match self {
            Self::Held(columns) => Ok(Cow::Borrowed(&columns[place])),
            Self::Stored(stored) => stored.column(place).map(Cow::Owned),
        }
    }

    /// Some of them, with the values of at least these rows, and how many are before those.
    ///
    /// Errors: they cannot be read.
    pub(super) fn part(
        &self,
        columns: Range<usize>,
        rows: Range<usize>,
    ) -> Result<(Cow<'_, [Column]>, usize), train::Error> {
        match self {
            Self::Held(held) => Ok((Cow::Borrowed(&held[columns]), rows.start)),
            Self::Stored(stored) => {
                let (columns, before) = stored.part(columns, rows)?;
                Ok((Cow::Owned(columns), before))
            }
        }
    }

    /// The columns that are to be read together: all that are held, few of those that are not.
    pub(super) fn groups(&self) -> impl Iterator<Item = Range<usize>> {
        let columns = self.len();
        let together = match self {
            Self::Held(_) => columns.max(1),
            Self::Stored(_) => TOGETHER,
        };
        let firsts = (0..columns).step_by(together);
        firsts.map(move |first| first..columns.min(first + together))
    }
}

/// Raw samples, in the table's own units.
#[derive(Clone, Debug, PartialEq)]
pub enum RawSamples {
    /// Rows given in the request: inputs (N × K) and target activations (N × J), and their N weights.
    Inline {
        /// Inputs in raw units.
        inputs: Array2<f64>,
        /// Target activations.
        targets: Array2<f64>,
        /// Their sample weights, where they have any.
        weights: Option<Vec<f64>>,
    },
    /// Columns of a dataset, in the order of the spec.
    Columns {
        /// The feature columns.
        features: Features,
        /// The target columns.
        targets: Vec<Column>,
        /// The column of sample weights, where there is one.
        weights: Option<Column>,
    },
}

impl RawSamples {
    /// Columns that were read together: so many features, so many targets, and the sample weights, where there are any.
    ///
    /// Panics: where there are fewer, the caller's bug.
    pub fn of_columns(mut columns: Vec<Column>, features: usize, targets: usize) -> Self {
        let mut others = columns.split_off(features);
        let mut weights = others.split_off(targets);
        Self::Columns {
            features: Features::Held(columns),
            targets: others,
            weights: weights.pop(),
        }
    }
}

/// Everything a run reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What to train on.
    pub data: RawSamples,
    /// What to validate on, where it is not a share of `data`.
    pub validation: Option<RawSamples>,
    /// The column of `data` that its rows are split by, where there is one.
    pub split_by: Option<Column>,
    /// The fold of `data` that is left out and validated on, counted from 0, of cross-validation.
    pub left_out: Option<u32>,
    /// What the optimizer remembers of the run that is continued, where it is to go on from it.
    pub optimizer: Option<AnyOptimizerState>,
}

impl Source {
    /// Rows alone.
    pub fn of(data: RawSamples) -> Self {
        Self {
            data,
            validation: None,
            split_by: None,
            left_out: None,
            optimizer: None,
        }
    }
}

/// What the tensor of sample weights is called; rows without weights have none.
const WEIGHTS: &str = "sample_weight";

/// Inline rows as bytes for the store.
pub(crate) fn encode_inline(
    inputs: &Array2<f64>,
    targets: &Array2<f64>,
    weights: Option<&[f64]>,
) -> Vec<u8> {
    let mut tensors = Tensors::default();
    tensors.push("inputs".to_owned(), inputs.shape(), inputs.iter());
    tensors.push("targets".to_owned(), targets.shape(), targets.iter());
    if let Some(weights) = weights {
        tensors.push(WEIGHTS.to_owned(), &[weights.len()], weights.iter());
    }
    tensors.encode(&())
}

impl RawSamples {
    /// The inline rows of their bytes.
    ///
    /// Errors: the bytes are none of ours.
    pub fn decode_inline(bytes: &[u8]) -> Result<Self, Error> {
        let ((), tensors) = ReadTensors::decode::<()>(bytes)?;
        let inputs: Array2<f64> = tensors.matrix("inputs")?;
        let weights = tensors
            .has(WEIGHTS)
            .then(|| tensors.vector::<f64>(WEIGHTS))
            .transpose()?;
        if weights
            .as_ref()
            .is_some_and(|weights| weights.len() != inputs.nrows())
        {
            let detail = "there must be a weight for each row".to_owned();
            return Err(Error::Artifact { detail });
        }
        Ok(Self::Inline {
            inputs,
            targets: tensors.matrix("targets")?,
            weights: weights.map(|weights| weights.to_vec()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_rows_read_back_with_weights_and_without() {
        let inputs = Array2::from_elem((2, 3), 0.1);
        let targets = Array2::from_elem((2, 1), 0.2);
        let encoded = |weights: Option<&[f64]>| encode_inline(&inputs, &targets, weights);
        let read = |bytes: &[u8]| RawSamples::decode_inline(bytes);
        for weights in [None, Some(vec![0.1, 3.0])] {
            let bytes = encoded(weights.as_deref());
            let (inputs, targets) = (inputs.clone(), targets.clone());
            let expected = RawSamples::Inline {
                inputs,
                targets,
                weights,
            };
            assert_eq!(read(&bytes).expect("its own bytes"), expected);
        }
        assert!(read(&encoded(Some(&[1.0]))).is_err());
    }
}
