//! The rows that a trained model carries, raw, to be predicted again wherever it is loaded.

use crate::data::{Column, Kind};
use crate::model::columns::{Cell, Instance};
use crate::model::{GOLDEN_NUMBERS, GOLDEN_ROWS, InputRows, Rows};
use crate::train::RawSamples;
use crate::train::layout::numbers;

impl RawSamples {
    /// A few of the rows, evenly apart; of a model that was declared from a table by the names of their columns.
    pub(super) fn golden(&self, rows: &[u32], by_name: bool) -> InputRows {
        let width = match self {
            Self::Inline { inputs, .. } => inputs.ncols(),
            Self::Columns { features, .. } => features.len(),
        };
        let most = (GOLDEN_NUMBERS / width.max(1)).clamp(1, GOLDEN_ROWS);
        let step = rows.len().div_ceil(most).max(1);
        let chosen: Vec<u32> = rows.iter().copied().step_by(step).collect();
        let values = match self {
            Self::Columns { features, .. } if by_name => {
                let instances = chosen.iter().map(|&row| instance(features, row as usize));
                return InputRows::Instances(instances.collect());
            }
            Self::Columns { features, .. } => {
                let columns: Vec<_> = features
                    .iter()
                    .map(|column| numbers(column, &chosen))
                    .collect();
                let rows = 0..chosen.len();
                rows.flat_map(|row| columns.iter().map(move |column| column[row]))
                    .collect()
            }
            Self::Inline { inputs, .. } => {
                let rows = chosen.iter();
                rows.flat_map(|&row| inputs.row(row as usize).to_vec())
                    .collect()
            }
        };
        InputRows::Inputs(Rows::new(width, values).unwrap_or_default())
    }
}

fn instance(columns: &[Column], row: usize) -> Instance {
    let cells = columns
        .iter()
        .map(|column| (column.name().to_owned(), cell(column, row)));
    cells.collect()
}

/// The value of a column in a row as its sender would write it.
fn cell(column: &Column, row: usize) -> Cell {
    if column.is_missing(row) {
        return Cell::Missing;
    }
    if let Some(codes) = column.codes() {
        return Cell::Word(column.categories()[codes[row] as usize].clone());
    }
    let number = numbers(column, &[row as u32])[0];
    match column.kind() {
        Kind::Boolean => Cell::Boolean(number != 0.0),
        Kind::Numeric | Kind::Timestamp | Kind::Categorical => Cell::Number(number),
    }
}
