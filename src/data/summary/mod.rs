//! A table at a glance, column by column: each one's distribution, how it goes together with a target, and warnings.

mod association;
mod column;
#[cfg(test)]
mod tests;
mod warnings;

use serde::Serialize;

use crate::data::Column;
pub use crate::data::summary::association::{Association, Measure};
use crate::data::summary::association::{Shared, Values};
use crate::data::summary::column::summarize;
pub use crate::data::summary::column::{
    ColumnSummary, Frequency, Histogram, NumericSummary, TopValue,
};
pub use crate::data::summary::warnings::{Code, Warning};
use crate::data::summary::warnings::{RowHashes, of_column, of_leakage};

/// A table at a glance.
#[derive(Serialize, Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Each column, in the table's order.
    pub columns: Vec<ColumnSummary>,
    /// What may spoil what is trained on the table: of each column in the table's order, then of its rows.
    pub warnings: Vec<Warning>,
}

/// Takes the columns of a table one after the other. Between them it holds some numbers of each row: a hash of what it has seen
/// of the row, and the target's value.
#[derive(Debug, Default)]
pub struct Summarizer {
    target: Option<Target>,
    rows: RowHashes,
    summary: Summary,
}

#[derive(Debug)]
struct Target {
    name: String,
    values: Values,
}

impl Summarizer {
    /// A summary with this target, or with none.
    pub fn new(target: Option<&Column>) -> Self {
        let target = target.map(|column| Target {
            name: column.name().to_owned(),
            values: Values::of(column),
        });
        Self {
            target,
            ..Self::default()
        }
    }

    /// Takes the next column.
    ///
    /// Panics: it has other rows than those before it or the target, the caller's bug.
    pub fn add(&mut self, column: &Column) {
        let mut summary = summarize(column);
        let values = Values::of(column);
        let warnings = &mut self.summary.warnings;
        match &self.target {
            Some(target) if target.name == column.name() => {
                warnings.extend(of_column(&summary, &values, true));
            }
            target => {
                warnings.extend(of_column(&summary, &values, false));
                if let Some(target) = target {
                    let shared = Shared::of(&values, &target.values);
                    let association = shared.association();
                    warnings.extend(of_leakage(&summary, &target.name, (&shared, association)));
                    summary.association = Some(association);
                }
                self.rows.add(&values);
            }
        }
        self.summary.columns.push(summary);
    }

    /// The summary of the columns that were taken.
    pub fn finish(self) -> Summary {
        let mut summary = self.summary;
        let target = self.target.map(|target| (target.name, target.values));
        summary.warnings.extend(self.rows.warnings(target));
        summary
    }
}
