//! The rows that a trained model carries, raw, to be predicted again wherever it is loaded.

use crate::data::{Column, Kind};
use crate::model::columns::{Cell, Instance};
use crate::model::{GOLDEN_NUMBERS, GOLDEN_ROWS, InputRows, Rows};
use crate::train::layout::numbers;
use crate::train::{Error, RawSamples};

impl RawSamples {
    /// A few of the rows, evenly apart; of a model that was declared from a table by the names of their columns.
    ///
    /// Errors: they cannot be read.
    pub(super) fn golden(&self, rows: &[u32], by_name: bool) -> Result<InputRows, Error> {
        let width = self.width();
        let most = (GOLDEN_NUMBERS / width.max(1)).clamp(1, GOLDEN_ROWS);
        let step = rows.len().div_ceil(most).max(1);
        let chosen = rows.iter().copied().step_by(step);
        let (mut instances, mut values) = (Vec::new(), Vec::new());
        for row in chosen.map(|row| row as usize) {
            match self {
                Self::Inline { inputs, .. } => values.extend(inputs.row(row)),
                Self::Columns { features, .. } => {
                    let mut of_row = Instance::new();
                    for group in features.groups() {
                        let (columns, before) = features.part(group, row..row + 1)?;
                        for column in &*columns {
                            if by_name {
                                of_row.insert(column.name().to_owned(), cell(column, before));
                            } else {
                                values.push(number(column, before));
                            }
                        }
                    }
                    instances.push(of_row);
                }
            }
        }
        Ok(match self {
            Self::Columns { .. } if by_name => InputRows::Instances(instances),
            Self::Columns { .. } | Self::Inline { .. } => {
                InputRows::Inputs(Rows::new(width, values).unwrap_or_default())
            }
        })
    }
}

fn number(column: &Column, row: usize) -> f64 {
    numbers(column, &[row as u32])[0]
}

/// The value of a column in a row as its sender would write it.
pub(super) fn cell(column: &Column, row: usize) -> Cell {
    if column.is_missing(row) {
        return Cell::Missing;
    }
    if let Some(codes) = column.codes() {
        return Cell::Word(column.categories()[codes[row] as usize].clone());
    }
    let number = number(column, row);
    match column.kind() {
        Kind::Boolean => Cell::Boolean(number != 0.0),
        Kind::Numeric | Kind::Timestamp | Kind::Categorical => Cell::Number(number),
    }
}
