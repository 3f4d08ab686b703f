//! What can be wrong with a table, and where.

use std::{fmt, io};

/// Where in a CSV text a mistake stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line on which the cell begins; the first line is 1.
    pub line: u64,
    /// The column's number; the first column is 1.
    pub column: usize,
    /// The column's name, where the header gives one.
    pub name: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, column {}", self.line, self.column)?;
        match &self.name {
            Some(name) => write!(formatter, " ({name:?})"),
            None => Ok(()),
        }
    }
}

/// A table, its bytes or a wish to split it that cannot be accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reader failed.
    #[error("the table could not be read at line {line}: {source}")]
    Read {
        /// The line that was being read.
        line: u64,
        /// The reader's own error.
        source: io::Error,
    },
    /// There is no header.
    #[error("line 1, column 1: a header row is required, and the text is empty")]
    Empty,
    /// There is a header and nothing else.
    #[error("line {line}: the table has a header and no rows")]
    NoRows {
        /// The header's line.
        line: u64,
    },
    /// The header is one cell, and has what separates cells elsewhere.
    #[error(
        "{place}: cells must be separated by commas, and in this header only {found:?} could separate them"
    )]
    OtherDelimiter {
        /// The cell's place.
        place: Place,
        /// What stands in the place of commas.
        found: char,
    },
    /// A header name is empty.
    #[error(
        "{place}: a column name must not be empty: does the line end with a comma, or has it one too many?"
    )]
    EmptyName {
        /// The name's place.
        place: Place,
    },
    /// A header name is too long.
    #[error("{place}: a column name must be at most {allowed} bytes, got {bytes}")]
    LongName {
        /// The name's place.
        place: Place,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        allowed: usize,
    },
    /// A header name contains a control character.
    #[error("{place}: a column name must not contain control characters, got {name:?}")]
    ControlInName {
        /// The name's place.
        place: Place,
        /// The name.
        name: String,
    },
    /// Two columns have one name.
    #[error("{place}: column names must differ, and column {first} has this name too")]
    DuplicateName {
        /// The second column's place.
        place: Place,
        /// The first column's number.
        first: usize,
    },
    /// A row ends before the header does.
    #[error("{place}: the row has too few cells: {columns} expected, got {cells}")]
    TooFewCells {
        /// The place of the first absent cell.
        place: Place,
        /// How many cells the header has.
        columns: usize,
        /// How many cells the row has.
        cells: usize,
    },
    /// A row goes on after the header's last column.
    #[error("{place}: the row has too many cells: {columns} expected")]
    TooManyCells {
        /// The place of the first cell too many.
        place: Place,
        /// How many cells the header has.
        columns: usize,
    },
    /// A cell is not text.
    #[error("{place}: a cell must be valid UTF-8: save the file as UTF-8")]
    InvalidUtf8 {
        /// The cell's place.
        place: Place,
    },
    /// A quoted cell never ends.
    #[error("{place}: the quote is never closed")]
    UnclosedQuote {
        /// The place of the opening quote.
        place: Place,
    },
    /// A number is NaN, infinite or too large for a float64.
    #[error(
        "{place}: a number must be finite, got {cell:?}: leave the cell empty, or write NA, where a value is missing"
    )]
    NotFinite {
        /// The cell's place.
        place: Place,
        /// The cell's text.
        cell: String,
    },
    /// A limit of the server is exceeded.
    #[error("{place}: {limit} must be at most {allowed}, got {got}")]
    Limit {
        /// Where the limit was crossed.
        place: Place,
        /// What is limited.
        limit: &'static str,
        /// The most that is allowed.
        allowed: u64,
        /// What was found; reading stops there, so there may be more.
        got: u64,
    },
    /// A value given to a numeric column is infinite.
    #[error("column {name:?}, row {row}: a number must be finite, got {value}")]
    Infinite {
        /// The column.
        name: String,
        /// The row; the first is 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A table has no columns.
    #[error("a table must have at least one column")]
    NoColumns,
    /// Columns of one table differ in length.
    #[error("column {name:?} must have {expected} rows like the first column, got {rows}")]
    UnequalColumns {
        /// The column that differs.
        name: String,
        /// Its rows.
        rows: usize,
        /// The rows of the first column.
        expected: usize,
    },
    /// Two columns of a table have one name.
    #[error("column names must differ, got {name:?} twice")]
    RepeatedColumn {
        /// The name.
        name: String,
    },
    /// Stored bytes are not those of the column they claim to be.
    #[error("the stored values of column {name:?} are damaged: {detail}")]
    Damaged {
        /// The column.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// A validation fraction is outside (0, 1).
    #[error("fraction must be in (0, 1), got {fraction}")]
    Fraction {
        /// What was asked for.
        fraction: f64,
    },
    /// There are too few groups to split.
    #[error("the groups must number at least {least}, got {groups}")]
    Groups {
        /// The groups there are.
        groups: usize,
        /// How many there must be.
        least: usize,
    },
    /// There are fewer rows than folds.
    #[error("the rows must be at least as many as the folds, {folds}, got {rows}")]
    Folds {
        /// The folds.
        folds: usize,
        /// The rows there are.
        rows: usize,
    },
    /// There are too few rows, or too many, to split.
    #[error("the rows to split must number in [2, 4294967295], got {rows}")]
    RowsToSplit {
        /// The rows there are.
        rows: usize,
    },
}

impl Error {
    /// The line of the text where the mistake stands, where that is known.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::Read { line, .. } | Self::NoRows { line } => Some(*line),
            Self::Empty => Some(1),
            _ => self.place().map(|place| place.line),
        }
    }

    /// The number of the column where the mistake stands, counted from 1, where that is known.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Empty => Some(1),
            _ => self.place().map(|place| place.column),
        }
    }

    /// The place in the text where the mistake stands, where that is known.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::OtherDelimiter { place, .. }
            | Self::EmptyName { place }
            | Self::LongName { place, .. }
            | Self::ControlInName { place, .. }
            | Self::DuplicateName { place, .. }
            | Self::TooFewCells { place, .. }
            | Self::TooManyCells { place, .. }
            | Self::InvalidUtf8 { place }
            | Self::UnclosedQuote { place }
            | Self::NotFinite { place, .. }
            | Self::Limit { place, .. } => Some(place),
            Self::Read { .. }
            | Self::Empty
            | Self::NoRows { .. }
            | Self::Infinite { .. }
            | Self::NoColumns
            | Self::UnequalColumns { .. }
            | Self::RepeatedColumn { .. }
            | Self::Damaged { .. }
            | Self::Fraction { .. }
            | Self::Groups { .. }
            | Self::Folds { .. }
            | Self::RowsToSplit { .. } => None,
        }
    }
}
