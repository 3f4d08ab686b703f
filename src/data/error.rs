//! What can be wrong with a table, and where.

use std::{fmt, io};

use crate::data::Kind;

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// On a line of a text; the first is 1.
    Line(u64),
    /// In a file without lines: its number; the first is 1.
    Row(u64),
}

impl At {
    /// The number of the line or row.
    pub fn number(self) -> u64 {
        match self {
            Self::Line(number) | Self::Row(number) => number,
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(formatter, "line {line}"),
            Self::Row(row) => write!(formatter, "row {row}"),
        }
    }
}

/// Where in a table a mistake stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line on which the cell begins, or its row.
    pub at: At,
    /// The column's number; the first column is 1.
    pub column: usize,
    /// The column's name, where the header gives one.
    pub name: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, column {}", self.at, self.column)?;
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
    /// No row has a value.
    #[error("the table must have at least one column, and no row has a value under a name")]
    NoColumns,
    /// There is a header and nothing else.
    #[error("line {line}: the table has a header and no rows")]
    NoRows {
        /// The header's line.
        line: u64,
    },
    /// The header is one cell, and has what separates cells elsewhere.
    #[error(
        "{place}: cells must be separated by {expected:?}, and in this header only {found:?} could separate them: declare it with delimiter={}", named_delimiter(*found)
    )]
    OtherDelimiter {
        /// The cell's place.
        place: Place,
        /// What separates cells.
        expected: char,
        /// What stands in its place.
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
    /// A column of which only some values are numbers, or strings.
    #[error(
        "{place}: {count} of the first {present} values are {of}, and {word:?} is none: mend the cell, write NA (null in JSON) where a value is missing, or declare the kind of the column with kinds={}:categorical",
        column(place)
    )]
    Mixed {
        /// The first other value's place.
        place: Place,
        /// That value.
        word: String,
        /// What the others are.
        of: &'static str,
        /// How many of them there are.
        count: usize,
        /// How many values were looked at.
        present: usize,
    },
    /// A value of another kind than those before it.
    #[error("{place}: the column is {}, got {cell:?}: {}", named_kind(*kind), remedy(place, *appends))]
    Unlike {
        /// The value's place.
        place: Place,
        /// The column's kind.
        kind: Kind,
        /// The value.
        cell: String,
        /// Whether the column is that of a dataset already, and cannot be another.
        appends: bool,
    },
    /// A cell has a zero byte.
    #[error("{place}: a cell must not have the character NUL: is this a text, saved as UTF-8?")]
    Nul {
        /// The cell's place.
        place: Place,
    },
    /// A text is UTF-16.
    #[error("line 1, column 1: the text is UTF-16: save it as UTF-8")]
    Utf16,
    /// A line is no object of JSON.
    #[error("line {line}: {detail}")]
    Json {
        /// The line.
        line: u64,
        /// What is wrong.
        detail: String,
    },
    /// A value is an array or an object.
    #[error(
        "{place}: a value must be a number, a string, true, false or null, got {found}: give each of its parts a key of its own"
    )]
    Nested {
        /// The value's place.
        place: Place,
        /// What it is.
        found: &'static str,
    },
    /// A key that no row before has had, after the kinds of all columns were found.
    #[error(
        "line {line}: key {key:?} is none of the table's columns, which are the keys of the first rows ({}): give it there, as null where it is missing",
        listed(known)
    )]
    LateKey {
        /// The line.
        line: u64,
        /// The key.
        key: String,
        /// The columns.
        known: Vec<String>,
    },
    /// Kinds are declared for columns that are not there.
    #[error(
        "kinds must name columns of the table ({}), got {}",
        listed(known),
        listed(unknown)
    )]
    UnknownKinds {
        /// The names that are none.
        unknown: Vec<String>,
        /// The columns.
        known: Vec<String>,
    },
    /// Rows to append have other columns than the dataset.
    #[error(
        "the columns must be those of the dataset{}",
        difference(unknown, absent)
    )]
    OtherColumns {
        /// Those that it has not.
        unknown: Vec<String>,
        /// Those of it that are not there.
        absent: Vec<String>,
    },
    /// A Parquet file cannot be read.
    #[error("{detail}")]
    Parquet {
        /// Why, and what to do.
        detail: String,
    },
    /// Columns of a Parquet file have what no column here has.
    #[error(
        "columns must be of numbers, booleans, strings, dates or timestamps, and neither nested nor repeated, which these are not: {}",
        listed(columns)
    )]
    ParquetColumns {
        /// Their names.
        columns: Vec<String>,
    },
    /// The file that a table is put into for a while cannot be written.
    #[error("the table could not be put on the disk: {source}")]
    Scratch {
        /// Why.
        source: io::Error,
    },
    /// Nobody takes the chunks of the table.
    #[error("the table is not wanted any more")]
    Stopped,
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
    /// The line of the text, or the row, where the mistake stands, where that is known.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::Read { line, .. }
            | Self::NoRows { line }
            | Self::Json { line, .. }
            | Self::LateKey { line, .. } => Some(*line),
            Self::Empty | Self::Utf16 => Some(1),
            _ => self.place().map(|place| place.at.number()),
        }
    }

    /// The number of the column where the mistake stands, counted from 1, where that is known.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Empty | Self::Utf16 => Some(1),
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
            | Self::Mixed { place, .. }
            | Self::Unlike { place, .. }
            | Self::Nul { place }
            | Self::Nested { place, .. }
            | Self::Limit { place, .. } => Some(place),
            Self::Read { .. }
            | Self::Empty
            | Self::NoRows { .. }
            | Self::NoColumns
            | Self::Infinite { .. }
            | Self::Utf16
            | Self::Json { .. }
            | Self::LateKey { .. }
            | Self::UnknownKinds { .. }
            | Self::OtherColumns { .. }
            | Self::Parquet { .. }
            | Self::ParquetColumns { .. }
            | Self::Scratch { .. }
            | Self::Stopped
            | Self::Damaged { .. }
            | Self::Fraction { .. }
            | Self::Groups { .. }
            | Self::Folds { .. }
            | Self::RowsToSplit { .. } => None,
        }
    }
}

/// How a delimiter is declared in a query.
fn named_delimiter(delimiter: char) -> String {
    match delimiter {
        '\t' => "tab".to_owned(),
        delimiter => delimiter.to_string(),
    }
}

/// What a column of a kind is.
fn named_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Numeric => "numeric",
        Kind::Categorical => "categorical, of strings",
        Kind::Boolean => "boolean (true, false)",
        Kind::Timestamp => "timestamp (2026-01-31, or RFC 3339)",
    }
}

fn column(place: &Place) -> &str {
    place.name.as_deref().unwrap_or_default()
}

/// What to do about a value of another kind.
fn remedy(place: &Place, appends: bool) -> String {
    let mend = "mend the cell, or leave it empty (null in JSON) where a value is missing";
    if appends {
        return mend.to_owned();
    }
    let column = column(place);
    format!("{mend}, or declare the kind of the column with kinds={column}:categorical")
}

/// Names that are told, at most.
const NAMES_TOLD: usize = 20;

/// A list of names, the first of many.
fn listed(names: &[String]) -> String {
    let told = names.iter().take(NAMES_TOLD);
    let told: Vec<String> = told.map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(NAMES_TOLD);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    told.join(", ") + &more
}

fn difference(unknown: &[String], absent: &[String]) -> String {
    let told = |what: &str, names: &[String], end: &str| {
        if names.is_empty() {
            String::new()
        } else {
            format!("{what}{}{end}", listed(names))
        }
    };
    told(": without ", absent, "") + &told(": with ", unknown, ", which it has not")
}
