//! Reads CSV into a table: columns of numbers, unless a cell is a word.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::Read;

use crate::data::cells::{After, Cells, Fault};
use crate::data::numbers::Numbers;
use crate::data::{Column, Error, FirstWord, Kind, MISSING, Place, Table};

/// What separates cells in tables that are no CSV of ours.
const OTHER_DELIMITERS: [char; 3] = [';', '\t', '|'];
/// Bytes of a column name, at most.
const NAME_BYTES: usize = 128;

/// How large a table may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsvLimits {
    /// The most columns.
    pub columns: usize,
    /// The most cells: rows times columns, without the header.
    pub cells: u64,
    /// The most bytes of one cell, its quotes not counted.
    pub cell_bytes: usize,
    /// The most different words of one column.
    pub categories: usize,
}

/// Reads a table from CSV text with a header, in one pass and without holding the text.
///
/// An empty cell or `NA` is missing. A column is numeric unless some cell is neither missing nor a number; then it is
/// categorical, and all its cells are words exactly as written, but for surrounding white space. Blank lines are skipped,
/// also in a table of one column, where `""` and `NA` are missing values. Text after a closing quote belongs to the cell:
/// `"2"3` is 23. Lines are counted by their line feeds, so a text with bare CRs has one line.
///
/// Errors: each says the line and, where there is one, the column: no header or no rows; names that are empty, repeated,
/// longer than 128 bytes or have control characters; rows of another length than the header; quotes that are not closed;
/// text that is not UTF-8; in a numeric column, a cell such as `nan`, `inf` or `1e999`; a limit exceeded; a failing reader.
pub fn read_csv(reader: impl Read, limits: &CsvLimits) -> Result<Table, Error> {
    let mut cells =
        Cells::new(reader, limits.cell_bytes).map_err(|source| Error::Read { line: 1, source })?;
    let (mut columns, header_line) = read_header(&mut cells, limits)?;
    let width = columns.len();
    let mut rows: usize = 0;
    'rows: loop {
        for index in 0..width {
            let Some(after) = cells
                .advance()
                .map_err(|fault| columns[index].fault(fault, &cells, limits))?
            else {
                break 'rows;
            };
            if index == 0 {
                check_size(rows + 1, &columns, cells.cell_line(), limits)?;
            }
            columns[index].push(rows, cells.cell(), cells.cell_line(), limits)?;
            match after {
                After::Comma if index + 1 == width => {
                    let place = Place {
                        line: cells.cell_line(),
                        column: width + 1,
                        name: None,
                    };
                    return Err(Error::TooManyCells {
                        place,
                        columns: width,
                    });
                }
                After::Line if index + 1 < width => {
                    let place = columns[index + 1].place(cells.cell_line());
                    return Err(Error::TooFewCells {
                        place,
                        columns: width,
                        cells: index + 1,
                    });
                }
                After::Comma | After::Line => {}
            }
        }
        rows += 1;
    }
    if rows == 0 {
        return Err(Error::NoRows { line: header_line });
    }
    if let Some(error) = columns
        .iter_mut()
        .filter_map(Builder::not_finite)
        .min_by_key(Error::line)
    {
        return Err(error);
    }
    Table::new(columns.into_iter().map(Builder::finish).collect())
}

fn read_header<R: Read>(
    cells: &mut Cells<R>,
    limits: &CsvLimits,
) -> Result<(Vec<Builder>, u64), Error> {
    let mut columns: Vec<Builder> = Vec::new();
    let mut numbers = HashMap::new();
    loop {
        let number = columns.len() + 1;
        let place = |line, name| Place {
            line,
            column: number,
            name,
        };
        let Some(after) = cells
            .advance()
            .map_err(|fault| locate(fault, place(cells.cell_line(), None), limits))?
        else {
            return Err(Error::Empty);
        };
        let line = cells.cell_line();
        if number > limits.columns {
            return Err(exceeds(
                place(line, None),
                "columns",
                limits.columns,
                number,
            ));
        }
        let Ok(name) = str::from_utf8(cells.cell().trim_ascii()) else {
            return Err(Error::InvalidUtf8 {
                place: place(line, None),
            });
        };
        if name.is_empty() {
            return Err(Error::EmptyName {
                place: place(line, None),
            });
        }
        if name.len() > NAME_BYTES {
            return Err(Error::LongName {
                place: place(line, None),
                bytes: name.len(),
                allowed: NAME_BYTES,
            });
        }
        let delimiter = name.chars().find(|found| OTHER_DELIMITERS.contains(found));
        if let (1, false, Some(found)) = (number, after == After::Comma, delimiter) {
            return Err(Error::OtherDelimiter {
                place: place(line, None),
                found,
            });
        }
        if name.chars().any(char::is_control) {
            return Err(Error::ControlInName {
                place: place(line, None),
                name: name.to_owned(),
            });
        }
        if let Some(first) = numbers.insert(name.to_owned(), number) {
            return Err(Error::DuplicateName {
                place: place(line, Some(name.to_owned())),
                first,
            });
        }
        columns.push(Builder::new(name.to_owned(), number));
        if after != After::Comma {
            return Ok((columns, line));
        }
    }
}

fn check_size(
    rows: usize,
    columns: &[Builder],
    line: u64,
    limits: &CsvLimits,
) -> Result<(), Error> {
    let got = rows as u64 * columns.len() as u64;
    if got > limits.cells {
        return Err(Error::Limit {
            place: columns[0].place(line),
            limit: "cells",
            allowed: limits.cells,
            got,
        });
    }
    if rows >= u32::MAX as usize {
        return Err(exceeds(
            columns[0].place(line),
            "rows",
            u32::MAX as usize - 1,
            rows,
        ));
    }
    Ok(())
}

fn exceeds(place: Place, limit: &'static str, allowed: usize, got: usize) -> Error {
    Error::Limit {
        place,
        limit,
        allowed: allowed as u64,
        got: got as u64,
    }
}

fn locate(fault: Fault, place: Place, limits: &CsvLimits) -> Error {
    match fault {
        Fault::Read(source) => Error::Read {
            line: place.line,
            source,
        },
        Fault::TooLong(bytes) => exceeds(place, "bytes of a cell", limits.cell_bytes, bytes),
        Fault::UnclosedQuote => Error::UnclosedQuote { place },
    }
}

/// A column as it is being read.
struct Builder {
    name: String,
    number: usize,
    values: Values,
}

enum Values {
    Numbers(Numbers, Texts),
    Words(Words),
}

impl Builder {
    fn new(name: String, number: usize) -> Self {
        Self {
            name,
            number,
            values: Values::Numbers(Numbers::new(), Texts::default()),
        }
    }

    fn place(&self, line: u64) -> Place {
        Place {
            line,
            column: self.number,
            name: Some(self.name.clone()),
        }
    }

    fn fault<R: Read>(&self, fault: Fault, cells: &Cells<R>, limits: &CsvLimits) -> Error {
        locate(fault, self.place(cells.cell_line()), limits)
    }

    fn push(
        &mut self,
        row: usize,
        cell: &[u8],
        line: u64,
        limits: &CsvLimits,
    ) -> Result<(), Error> {
        if let Values::Numbers(numbers, _) = &mut self.values
            && let Some(integer) = short_integer(cell)
        {
            numbers.push_integer(integer);
            return Ok(());
        }
        let cell = str::from_utf8(cell.trim_ascii()).map_err(|_| Error::InvalidUtf8 {
            place: self.place(line),
        })?;
        let missing = cell.is_empty() || cell == "NA";
        if let Values::Numbers(numbers, texts) = &mut self.values {
            if missing {
                numbers.push(f64::NAN);
                return Ok(());
            }
            if let Ok(number) = cell.parse::<f64>() {
                texts.keep(row, cell, number, line);
                numbers.push(if number.is_finite() { number } else { f64::NAN });
                return Ok(());
            }
            let first_word = FirstWord {
                line,
                word: cell.to_owned(),
            };
            let words = Words::from_numbers(numbers, texts, first_word, limits.categories);
            self.values =
                Values::Words(words.map_err(|got| {
                    exceeds(self.place(line), "categories", limits.categories, got)
                })?);
        }
        if let Values::Words(words) = &mut self.values {
            let pushed = if missing {
                words.push_missing()
            } else {
                words.push(cell, limits.categories)
            };
            pushed
                .map_err(|got| exceeds(self.place(line), "categories", limits.categories, got))?;
        }
        Ok(())
    }

    /// The error of the first number that is not finite, if this is a numeric column and has one.
    fn not_finite(&mut self) -> Option<Error> {
        match &mut self.values {
            Values::Numbers(_, texts) => {
                let (line, cell) = texts.not_finite.take()?;
                Some(Error::NotFinite {
                    place: self.place(line),
                    cell,
                })
            }
            Values::Words(_) => None,
        }
    }

    fn finish(self) -> Column {
        match self.values {
            Values::Numbers(numbers, _) => Column::from_numbers(self.name, Kind::Numeric, numbers),
            Values::Words(words) => words.finish(self.name),
        }
    }
}

/// The texts of numbers that do not print back as they were written, should the column turn out to be one of words.
#[derive(Default)]
struct Texts {
    bytes: String,
    /// Row and end in `bytes` of each text.
    ends: Vec<(u32, usize)>,
    not_finite: Option<(u64, String)>,
    scratch: String,
}

impl Texts {
    fn keep(&mut self, row: usize, cell: &str, number: f64, line: u64) {
        if !number.is_finite() && self.not_finite.is_none() {
            self.not_finite = Some((line, cell.to_owned()));
        }
        if is_plain_decimal(cell.as_bytes()) {
            return;
        }
        self.scratch.clear();
        write!(self.scratch, "{number}").expect("writing to a string does not fail");
        if self.scratch != cell || !number.is_finite() {
            self.bytes.push_str(cell);
            self.ends.push((row as u32, self.bytes.len()));
        }
    }
}

/// Codes of words, numbered as they come until the end sorts them.
struct Words {
    codes: Vec<u32>,
    seen: HashMap<Box<str>, u32>,
    first_word: FirstWord,
}

impl Words {
    /// Turns what was read as numbers into words again; the error is the number of categories that would be too many.
    fn from_numbers(
        numbers: &Numbers,
        texts: &Texts,
        first_word: FirstWord,
        allowed: usize,
    ) -> Result<Self, usize> {
        let mut words = Self {
            codes: Vec::with_capacity(numbers.rows()),
            seen: HashMap::new(),
            first_word,
        };
        let mut kept = texts.ends.iter().peekable();
        let mut start = 0;
        let mut printed = String::new();
        for (row, number) in numbers.iter().enumerate() {
            if let Some(&&(_, end)) = kept.peek().filter(|kept| kept.0 as usize == row) {
                words.push(&texts.bytes[start..end], allowed)?;
                start = end;
                kept.next();
            } else if number.is_nan() {
                words.push_missing()?;
            } else {
                printed.clear();
                write!(printed, "{number}").expect("writing to a string does not fail");
                words.push(&printed, allowed)?;
            }
        }
        Ok(words)
    }

    fn push(&mut self, word: &str, allowed: usize) -> Result<(), usize> {
        let code = if let Some(&code) = self.seen.get(word) {
            code
        } else {
            let code = self.seen.len();
            if code >= allowed {
                return Err(code + 1);
            }
            self.seen.insert(word.into(), code as u32);
            code as u32
        };
        self.codes.push(code);
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "stands where push stands")]
    fn push_missing(&mut self) -> Result<(), usize> {
        self.codes.push(MISSING);
        Ok(())
    }

    fn finish(mut self, name: String) -> Column {
        let mut sorted: Vec<(Box<str>, u32)> = self.seen.into_iter().collect();
        sorted.sort_unstable();
        let mut ranks = vec![0; sorted.len()];
        for (rank, (_, code)) in sorted.iter().enumerate() {
            ranks[*code as usize] = rank as u32;
        }
        for code in self.codes.iter_mut().filter(|code| **code != MISSING) {
            *code = ranks[*code as usize];
        }
        self.codes.shrink_to_fit();
        let categories = sorted
            .into_iter()
            .map(|(word, _)| word.into_string())
            .collect();
        Column::from_codes(name, categories, self.codes, Some(self.first_word))
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

/// Whether a decimal surely prints back as it is written: no exponent, no needless zero, at most 15 digits, because all
/// such decimals differ as float64 and so each is the shortest that means its number.
fn is_plain_decimal(cell: &[u8]) -> bool {
    let unsigned = cell.strip_prefix(b"-").unwrap_or(cell);
    let Some(point) = unsigned.iter().position(|&byte| byte == b'.') else {
        return false;
    };
    let (whole, part) = (&unsigned[..point], &unsigned[point + 1..]);
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    unsigned.len() <= 16
        && digits(whole)
        && digits(part)
        && (whole.len() == 1 || whole[0] != b'0')
        && part.last() != Some(&b'0')
}
