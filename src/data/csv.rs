//! Reads CSV: a header, then rows of cells, handed on as they come.

use std::borrow::Cow;
use std::io::Read;

use crate::data::builder::{Cell, Sink};
use crate::data::cells::{After, Cells, Fault};
use crate::data::intake::{Intake, Reading, Taken};
use crate::data::{At, CsvOptions, Error, Place, TableLimits};

/// What separates cells in tables that are no CSV of ours.
const OTHER_DELIMITERS: [char; 4] = [';', '\t', '|', ','];

/// Reads a table from CSV text with a header, in one pass, with a chunk of rows in memory.
///
/// A column whose kind is not declared is numeric if all values of its first chunk are numbers, boolean if they are all
/// truth values, timestamp if they are all moments, and else categorical, with its words exactly as written but for
/// surrounding white space. Blank lines are skipped, also in a table of one column, where `""` and `NA` are missing values.
/// Text after a closing quote belongs to the cell: `"2"3` is 23. Lines are counted by their line feeds, so a text with
/// bare CRs has one line.
///
/// Errors: each says the line and, where there is one, the column: no header or no rows; names that are empty, repeated,
/// longer than 128 bytes or have control characters; rows of another length than the header; quotes that are not closed;
/// text that is not UTF-8; in a numeric column, a cell such as `nan`, `inf` or `1e999`; words where most values are
/// numbers; a cell of another kind than its column; a limit exceeded; a failing reader.
pub fn read_csv<S: Sink>(
    source: impl Read,
    options: &CsvOptions,
    reading: Reading<S>,
) -> Result<Taken, Error> {
    let numbers_may_be_missing = options
        .missing
        .iter()
        .any(|word| short_integer(word.as_bytes()).is_some());
    let mut table = Table {
        intake: Intake::begin(reading, At::Line)?,
        numbers_may_be_missing,
    };
    read_rows(source, options, &mut table)?;
    table.intake.finish()
}

/// What takes the cells of a text, row by row.
pub(super) trait Rows {
    /// What can go wrong, the faults of the text among it.
    type Error: From<Error>;

    /// How large the table may be.
    fn limits(&self) -> &TableLimits;
    /// The columns so far.
    fn width(&self) -> usize;
    /// Where a column stands in a line.
    fn place(&self, index: usize, line: u64) -> Place;
    /// Takes the name of the next column.
    fn add_column(&mut self, name: &str, line: u64) -> Result<(), Self::Error>;
    /// Looks at all names.
    fn end_header(&mut self) -> Result<(), Self::Error>;
    /// Begins a row.
    fn begin_row(&mut self, line: u64) -> Result<(), Self::Error>;
    /// Takes a whole number without looking for other meanings; false where it has to be looked at as a text.
    fn push_integer(&mut self, index: usize, integer: i32) -> bool;
    /// Takes a cell; none where the value is missing.
    fn push(&mut self, index: usize, cell: Option<&str>, line: u64) -> Result<(), Self::Error>;
    /// Ends a row.
    fn end_row(&mut self) -> Result<(), Self::Error>;
}

/// A table whose columns are chunks.
struct Table<S> {
    intake: Intake<S>,
    /// Whether a whole number may mean a missing value.
    numbers_may_be_missing: bool,
}

impl<S: Sink> Rows for Table<S> {
    type Error = Error;

    fn limits(&self) -> &TableLimits {
        self.intake.limits()
    }

    fn width(&self) -> usize {
        self.intake.width()
    }

    fn place(&self, index: usize, line: u64) -> Place {
        self.intake.place(index, line)
    }

    fn add_column(&mut self, name: &str, line: u64) -> Result<(), Error> {
        self.intake.add_column(name, line, None)
    }

    fn end_header(&mut self) -> Result<(), Error> {
        self.intake.check_columns()
    }

    fn begin_row(&mut self, line: u64) -> Result<(), Error> {
        self.intake.begin_row(line)
    }

    fn push_integer(&mut self, index: usize, integer: i32) -> bool {
        !self.numbers_may_be_missing && self.intake.push_integer(index, integer)
    }

    fn push(&mut self, index: usize, cell: Option<&str>, line: u64) -> Result<(), Error> {
        let cell = cell.map_or(Cell::Missing, Cell::Text);
        self.intake.push(index, cell, line)
    }

    fn end_row(&mut self) -> Result<(), Error> {
        self.intake.end_row()
    }
}

/// Reads a header and rows of as many cells.
///
/// Errors: as [`read_csv`], but for those of the values; whatever the rows refuse.
pub(super) fn read_rows<R: Rows>(
    source: impl Read,
    options: &CsvOptions,
    rows: &mut R,
) -> Result<(), R::Error> {
    let cell_bytes = rows.limits().cell_bytes;
    let mut cells = Cells::new(source, cell_bytes, options)
        .map_err(|source| Error::Read { line: 1, source })?;
    let header_line = read_header(&mut cells, rows, options)?;
    rows.end_header()?;
    let width = rows.width();
    let missing = |cell: &str| cell.is_empty() || options.missing.iter().any(|word| word == cell);
    let mut has_rows = false;
    'rows: loop {
        for index in 0..width {
            let Some(after) = cells.advance().map_err(|fault| {
                let place = rows.place(index, cells.cell_line());
                locate(fault, place, rows.limits())
            })?
            else {
                break 'rows;
            };
            let (cell, line) = (cells.cell(), cells.cell_line());
            if index == 0 {
                rows.begin_row(line)?;
            }
            if !short_integer(cell).is_some_and(|integer| rows.push_integer(index, integer)) {
                let cell = str::from_utf8(cell.trim_ascii()).map_err(|_| Error::InvalidUtf8 {
                    place: rows.place(index, line),
                })?;
                rows.push(index, Some(cell).filter(|cell| !missing(cell)), line)?;
            }
            match after {
                After::Cell if index + 1 == width => {
                    let place = rows.place(width, line);
                    let columns = width;
                    return Err(Error::TooManyCells { place, columns }.into());
                }
                After::Line if index + 1 < width => {
                    let fault = Error::TooFewCells {
                        place: rows.place(index + 1, line),
                        columns: width,
                        cells: index + 1,
                    };
                    return Err(fault.into());
                }
                After::Cell | After::Line => {}
            }
        }
        rows.end_row()?;
        has_rows = true;
    }
    if has_rows {
        return Ok(());
    }
    Err(Error::NoRows { line: header_line }.into())
}

/// Reads the header. Its line.
fn read_header<R: Rows>(
    cells: &mut Cells<impl Read>,
    rows: &mut R,
    options: &CsvOptions,
) -> Result<u64, R::Error> {
    loop {
        let index = rows.width();
        let Some(after) = cells.advance().map_err(|fault| {
            let place = rows.place(index, cells.cell_line());
            locate(fault, place, rows.limits())
        })?
        else {
            return Err(Error::Empty.into());
        };
        let line = cells.cell_line();
        let place = || rows.place(index, line);
        let Ok(name) = str::from_utf8(cells.cell().trim_ascii()) else {
            return Err(Error::InvalidUtf8 { place: place() }.into());
        };
        let is_other = |found: &char| {
            OTHER_DELIMITERS.contains(found) && *found != char::from(options.delimiter)
        };
        let delimiter = name.chars().find(is_other);
        if let (0, After::Line, Some(found)) = (index, after, delimiter) {
            let fault = Error::OtherDelimiter {
                place: place(),
                expected: options.delimiter.into(),
                found,
            };
            return Err(fault.into());
        }
        rows.add_column(name, line)?;
        if after == After::Line {
            return Ok(line);
        }
    }
}

/// A text as a cell of CSV: in quotes where it has a comma, a quote or a line end.
pub fn quoted(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        return Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")));
    }
    Cow::Borrowed(text)
}

fn locate(fault: Fault, place: Place, limits: &TableLimits) -> Error {
    match fault {
        Fault::Read(source) => Error::Read {
            line: place.at.number(),
            source,
        },
        Fault::TooLong(bytes) => Error::Limit {
            place,
            limit: "bytes of a cell",
            allowed: limits.cell_bytes as u64,
            got: bytes as u64,
        },
        Fault::UnclosedQuote => Error::UnclosedQuote { place },
        Fault::Utf16 => Error::Utf16,
    }
}

/// An integer of at most nine digits that prints back as it is written.
fn short_integer(cell: &[u8]) -> Option<i32> {
    let (negative, digits) = match cell {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 9
        || digits.is_empty()
        || (digits[0] == b'0' && (negative || digits.len() > 1))
    {
        return None;
    }
    let mut value = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i32::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}
