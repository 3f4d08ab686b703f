//! Tables: typed columns read from CSV, lines of JSON and Parquet, their bytes, their summaries, and the deterministic ways to split and shuffle rows.

mod builder;
mod cells;
mod classes;
#[cfg(test)]
mod coding_tests;
mod column;
mod csv;
mod error;
mod folds;
mod intake;
#[cfg(test)]
mod intake_tests;
mod lexicon;
mod moments;
mod ndjson;
#[cfg(test)]
mod ndjson_tests;
mod numbers;
mod options;
mod pages;
mod parquet;
#[cfg(test)]
mod parquet_tests;
mod split;
mod summary;
#[cfg(test)]
pub(crate) mod tests;
mod texts;
mod undecided;
mod words;
mod writer;

pub use self::builder::Sink;
pub use self::column::{Column, ColumnDescription, FirstWord, Kind, MISSING, Value};
pub use self::csv::{quoted, read_csv};
pub use self::error::{At, Error, Place};
pub use self::folds::{folds, folds_grouped, folds_stratified};
pub use self::intake::{Base, Piece, Reading, Taken};
pub use self::ndjson::read_ndjson;
pub use self::numbers::CHUNK_ROWS;
pub use self::options::{CsvOptions, Kinds, TableLimits};
pub use self::parquet::read_parquet;
pub use self::split::{
    SHUFFLE, SHUFFLE_BLOCKS, SPLIT, Split, group_sizes, groups_of, permutation,
    permutation_of_part, split, split_grouped, split_latest, split_stratified,
};
pub use self::summary::{
    Association, Code, ColumnSummary, Frequency, Histogram, Measure, NumericSummary, Summarizer,
    Summary, TopValue, Warning,
};
pub use self::texts::{TextRows, read_texts};
pub use self::words::{format_timestamp, parse_boolean, parse_timestamp};
pub use self::writer::{CsvWriter, TableFormat, TableWriter, Written};
