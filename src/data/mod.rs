//! Tables: typed columns read from CSV, their bytes, their summaries, and the deterministic ways to split and shuffle rows.

mod cells;
mod classes;
mod column;
mod csv;
mod error;
mod folds;
mod numbers;
mod split;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod words;

pub use self::column::{Column, ColumnDescription, FirstWord, Kind, MISSING};
pub use self::csv::{CsvLimits, read_csv};
pub use self::error::{Error, Place};
pub use self::folds::{folds, folds_grouped, folds_stratified};
pub use self::numbers::CHUNK_ROWS;
pub use self::split::{
    SHUFFLE, SPLIT, Split, group_sizes, groups_of, permutation, split, split_grouped, split_latest,
    split_stratified,
};
pub use self::summary::{
    Association, Code, ColumnSummary, Frequency, Histogram, Measure, NumericSummary, Summarizer,
    Summary, Value, Warning,
};
pub use self::table::Table;
pub use self::words::{parse_boolean, parse_timestamp};
