//! Batch prediction as it runs: columns of a dataset read, predicted and written, some rows at a time.

use std::io::{self, Write};
use std::ops::{ControlFlow, Range};

use ndarray::Array2;

use crate::data::{Column, TableWriter, Written};
use crate::model::columns::{Columns, Reading, misfit};
use crate::model::{AnswerColumns, AnyNetwork, Model, Outputs, Preprocessing, Scaling};
use crate::nn::{Network, Scalar, Team, flush_denormals};
use crate::train::encoded::write;
use crate::train::golden::cell;
use crate::train::layout::{Misfit, Numbers, Place};
use crate::train::prediction::CheckedPrediction;

/// Multiply-adds between two polls, about: a fraction of a second.
const WORK: usize = 1 << 30;

/// Columns of some rows, as a batch prediction reads them.
pub type ReadColumns = Vec<Column>;

/// Why a batch prediction ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum PredictionError {
    /// A value that the model does not take.
    #[error("row {row}, column {column:?}: {detail}")]
    Value {
        /// The row of the dataset; the first is 1.
        row: u64,
        /// The column.
        column: String,
        /// What it must be, and what it is.
        detail: String,
    },
    /// A row that the model does not answer.
    #[error(
        "row {row}: the model answers it with NaN or infinity: its values are far from those that the model was trained on"
    )]
    NotFinite {
        /// The row; the first is 1.
        row: u64,
    },
    /// The answers cannot be kept.
    #[error("the answers could not be written: {0}")]
    Write(#[from] io::Error),
}

/// A batch prediction that is under way.
pub struct Predicting<'a, W: Write + Send> {
    model: &'a Model,
    spec: &'a CheckedPrediction,
    writer: TableWriter<W>,
    answers: AnswerColumns<'a>,
    /// Rows that are predicted and that are written at a time.
    rows_predicted: usize,
    rows_written: usize,
    /// Rows that are done.
    done: usize,
    /// Rows before those that are read now.
    before: usize,
}

/// A value that does not fit: its row and column, and what it must be.
type Fault = (usize, usize, String);

/// What is read of the feature columns of some rows.
enum Features<'a> {
    /// Columns that the model encodes.
    Encoded(&'a Columns, Vec<Reading<'a>>),
    /// Numbers that are inputs, scaled or not.
    Inputs(&'a Scaling, &'a [Column]),
}

impl PredictionError {
    /// The code of a failed batch prediction.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Value { .. } => "unusable_row",
            Self::NotFinite { .. } => "not_finite",
            Self::Write(_) => "not_written",
        }
    }
}

impl<'a, W: Write + Send> Predicting<'a, W> {
    /// Begins the table of answers.
    ///
    /// Errors: `into` fails.
    pub fn begin(model: &'a Model, spec: &'a CheckedPrediction, into: W) -> io::Result<Self> {
        let header = model.header();
        let rows = (WORK / model.network.layer_parameter_count()).max(1);
        Ok(Self {
            model,
            spec,
            writer: TableWriter::begin(spec.format, into, &spec.columns(&header))?,
            answers: AnswerColumns::new(model, spec.top_k),
            rows_predicted: rows.min(model.rows_at_once()),
            rows_written: spec.rows_written(&header),
            done: 0,
            before: 0,
        })
    }

    /// Predicts and writes the next rows: all those of the columns, which are [`CheckedPrediction::reads`] in its order.
    /// `poll` is asked again and again, with the rows that are predicted; its `Break` ends it.
    ///
    /// Errors: a row that the model does not take or answer; the table cannot be written.
    pub fn push(
        &mut self,
        columns: &[Column],
        mut poll: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, PredictionError> {
        self.before = self.done;
        let (read, kept) = columns.split_at(self.spec.features.len());
        let features = Features::of(self.model, read).map_err(|fault| self.refused(fault))?;
        let rows = columns.first().map_or(0, Column::rows);
        for first in (0..rows).step_by(self.rows_written) {
            let group = first..rows.min(first + self.rows_written);
            for at in group.clone().step_by(self.rows_predicted) {
                if poll((self.before + at) as u64).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                let batch = at..group.end.min(at + self.rows_predicted);
                self.predict(&features, batch)?;
            }
            let answers = self.answers.take();
            let kept = kept.iter().map(|column| Written { column, first });
            let answers = answers.iter().map(|column| Written { column, first: 0 });
            let written: Vec<_> = kept.chain(answers).collect();
            self.writer.write(&written, group.len())?;
            self.done += group.len();
        }
        Ok(poll(self.done as u64))
    }

    /// Ends the table.
    ///
    /// Errors: it cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.writer.finish()
    }

    /// Adds the answers to some of the rows.
    fn predict(&mut self, features: &Features, rows: Range<usize>) -> Result<(), PredictionError> {
        // Not of what is kept, which is written as it is.
        let _flushing = flush_denormals();
        let outputs = match &self.model.network {
            AnyNetwork::Float32(network) => {
                outputs(network, features, rows.clone()).map(Outputs::Float32)
            }
            AnyNetwork::Float64(network) => {
                outputs(network, features, rows.clone()).map(Outputs::Float64)
            }
        };
        let outputs = outputs.map_err(|fault| self.refused(fault))?;
        let pushed = self.answers.push(&outputs);
        pushed.map_err(|row| PredictionError::NotFinite {
            row: (self.before + rows.start + row + 1) as u64,
        })
    }

    fn refused(&self, (row, column, detail): Fault) -> PredictionError {
        PredictionError::Value {
            row: (self.before + row + 1) as u64,
            column: self.spec.features[column].clone(),
            detail,
        }
    }
}

impl<'a> Features<'a> {
    /// The feature columns of some rows.
    ///
    /// Errors: the first value that the model does not take.
    fn of(model: &'a Model, columns: &'a [Column]) -> Result<Self, Fault> {
        match &model.preprocessing {
            Preprocessing::Inputs { scaling, .. } => Ok(Self::Inputs(scaling, columns)),
            Preprocessing::Columns(encoded) => {
                let pairs = encoded.encoders().iter().zip(columns);
                let readings = pairs.map(|(encoder, column)| Reading::new(encoder, column));
                let readings: Result<Vec<_>, String> = readings.collect();
                match readings {
                    Ok(readings) => Ok(Self::Encoded(encoded, readings)),
                    Err(detail) => Err(first_refused(encoded, columns, detail)),
                }
            }
        }
    }
}

/// The first value that is refused, row by row, once it is known that one is.
fn first_refused(encoded: &Columns, columns: &[Column], detail: String) -> Fault {
    let rows = 0..columns.first().map_or(0, Column::rows);
    let mut places = rows.flat_map(|row| (0..columns.len()).map(move |place| (row, place)));
    let refused = places.find_map(|(row, place)| {
        let value = encoded.encoders()[place].value(&cell(&columns[place], row));
        value.err().map(|detail| (row, place, detail))
    });
    refused.unwrap_or((0, 0, detail))
}

/// The outputs of some rows, by the layout and the forward pass of evaluations.
///
/// Errors: the first value that does not fit `T` once scaled.
fn outputs<T: Scalar>(
    network: &Network<T>,
    features: &Features,
    rows: Range<usize>,
) -> Result<Array2<T>, Fault> {
    let (team, go_on) = (Team::alone(), &mut || ControlFlow::Continue(()));
    let rows: Vec<u32> = rows.map(|row| row as u32).collect();
    let width = match features {
        Features::Encoded(columns, _) => columns.width(),
        Features::Inputs(_, columns) => columns.len(),
    };
    let place = Place { first: 0, width };
    let mut inputs = Array2::zeros((rows.len(), width));
    let into = inputs.as_slice_mut().expect("rows follow one another");
    let written = match features {
        Features::Encoded(_, readings) => write((readings, place), &rows, into, &team, go_on),
        Features::Inputs(scaling, columns) => {
            Numbers::Columns(columns, place).lay_out(&rows, Some(scaling), into, &team, go_on)
        }
    };
    let ControlFlow::Continue(written) = written else {
        unreachable!("nothing ends it");
    };
    written.map_err(|Misfit { row, column, value }| (row as usize, column, misfit::<T>(value)))?;
    Ok(network.predict(inputs.view()))
}
