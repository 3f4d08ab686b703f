//! What a reader of tables is told: how large they may be, how a text is written, and what its columns are.

use crate::data::Kind;

/// How large a table may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// The most columns.
    pub columns: usize,
    /// The most cells: rows times columns, without the header.
    pub cells: u64,
    /// The most bytes of one cell, its quotes not counted.
    pub cell_bytes: usize,
    /// The most different words of one column.
    pub categories: usize,
    /// The most bytes that the different words of all columns take, each with 20 beside its own.
    pub category_bytes: u64,
}

/// How a CSV text is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// What separates cells.
    pub delimiter: u8,
    /// What cells are quoted with, where they are.
    pub quote: Option<u8>,
    /// The words that mean a missing value; an empty cell does in any case.
    pub missing: Vec<String>,
}

impl Default for CsvOptions {
    /// Commas, double quotes, and `NA` for a missing value.
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            missing: vec!["NA".to_owned()],
        }
    }
}

/// The kinds of columns that are not left to be found.
pub type Kinds = Vec<(String, Kind)>;
