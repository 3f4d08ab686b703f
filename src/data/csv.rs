//! Reads CSV: a header, then rows of cells, handed on as they come.

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
    let mut intake = Intake::begin(reading, At::Line)?;
    let cell_bytes = intake.limits().cell_bytes;
    let mut cells = Cells::new(source, cell_bytes, options)
        .map_err(|source| Error::Read { line: 1, source })?;
    let header_line = read_header(&mut cells, &mut intake, options)?;
    intake.check_columns()?;
    let width = intake.width();
    let missing = |cell: &str| cell.is_empty() || options.missing.iter().any(|word| word == cell);
    let numbers_may_be_missing = options
        .missing
        .iter()
        .any(|word| short_integer(word.as_bytes()).is_some());
    'rows: loop {
        for index in 0..width {
            let Some(after) = cells.advance().map_err(|fault| {
                let place = intake.place(index, cells.cell_line());
                locate(fault, place, intake.limits())
            })?
            else {
                break 'rows;
            };
            let (cell, line) = (cells.cell(), cells.cell_line());
            if index == 0 {
                intake.begin_row(line)?;
            }
            let integer = short_integer(cell).filter(|_| !numbers_may_be_missing);
            if !integer.is_some_and(|integer| intake.push_integer(index, integer)) {
                let cell = str::from_utf8(cell.trim_ascii()).map_err(|_| Error::InvalidUtf8 {
                    place: intake.place(index, line),
                })?;
                let cell = if missing(cell) {
                    Cell::Missing
                } else {
                    Cell::Text(cell)
                };
                intake.push(index, cell, line)?;
            }
            match after {
                After::Cell if index + 1 == width => {
                    return Err(Error::TooManyCells {
                        place: intake.place(width, line),
                        columns: width,
                    });
                }
                After::Line if index + 1 < width => {
                    return Err(Error::TooFewCells {
                        place: intake.place(index + 1, line),
                        columns: width,
                        cells: index + 1,
                    });
                }
                After::Cell | After::Line => {}
            }
        }
        intake.end_row()?;
    }
    if intake.rows_read() == 0 {
        return Err(Error::NoRows { line: header_line });
    }
    intake.finish()
}

/// Reads the header. Its line.
fn read_header<R: Read, S: Sink>(
    cells: &mut Cells<R>,
    intake: &mut Intake<S>,
    options: &CsvOptions,
) -> Result<u64, Error> {
    loop {
        let index = intake.width();
        let Some(after) = cells.advance().map_err(|fault| {
            let place = intake.place(index, cells.cell_line());
            locate(fault, place, intake.limits())
        })?
        else {
            return Err(Error::Empty);
        };
        let line = cells.cell_line();
        let place = || intake.place(index, line);
        let Ok(name) = str::from_utf8(cells.cell().trim_ascii()) else {
            return Err(Error::InvalidUtf8 { place: place() });
        };
        let is_other = |found: &char| {
            OTHER_DELIMITERS.contains(found) && *found != char::from(options.delimiter)
        };
        let delimiter = name.chars().find(is_other);
        if let (0, After::Line, Some(found)) = (index, after, delimiter) {
            return Err(Error::OtherDelimiter {
                place: place(),
                expected: options.delimiter.into(),
                found,
            });
        }
        intake.add_column(name, line, None)?;
        if after == After::Line {
            return Ok(line);
        }
    }
}

fn locate(fault: Fault, place: Place, limits: &TableLimits) -> Error {
    match fault {
        Fault::Read(source) => Error::Read {
            line: match place.at {
                At::Line(line) | At::Row(line) => line,
            },
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
