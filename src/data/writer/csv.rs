//! CSV: a header, and a line for each row.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::data::writer::Written;
use crate::data::{Value, format_timestamp, quoted};

/// A CSV text that is being written.
pub struct CsvWriter<W> {
    into: W,
    bytes: u64,
    /// The line that is being written.
    line: String,
}

impl<W: Write> CsvWriter<W> {
    /// Begins a text with its header.
    ///
    /// Errors: `into` fails.
    pub fn begin<'a>(into: W, names: impl Iterator<Item = &'a str>) -> io::Result<Self> {
        let mut writer = Self {
            into,
            bytes: 0,
            line: String::new(),
        };
        writer.write_line(names.map(quoted))?;
        Ok(writer)
    }

    /// Writes so many rows of each column. Numbers have as many digits as make them exact, and a missing value has none.
    ///
    /// Errors: `into` fails. Panics: a column has not so many rows, the caller's bug.
    pub fn write(&mut self, columns: &[Written], rows: usize) -> io::Result<()> {
        for row in 0..rows {
            let values = columns.iter();
            let values = values.map(|written| written.column.value(written.first + row));
            self.write_line(values.map(cell))?;
        }
        Ok(())
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was written to.
    pub fn finish(self) -> W {
        self.into
    }

    fn write_line<'a>(&mut self, cells: impl Iterator<Item = Cow<'a, str>>) -> io::Result<()> {
        self.line.clear();
        for (place, cell) in cells.enumerate() {
            if place > 0 {
                self.line.push(',');
            }
            self.line.push_str(&cell);
        }
        self.line.push('\n');
        self.bytes += self.line.len() as u64;
        self.into.write_all(self.line.as_bytes())
    }
}

fn cell(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Missing => Cow::Borrowed(""),
        Value::Number(number) => Cow::Owned(number.to_string()),
        Value::Word(word) => quoted(word),
        Value::Boolean(true) => Cow::Borrowed("true"),
        Value::Boolean(false) => Cow::Borrowed("false"),
        Value::Timestamp(moment) => Cow::Owned(format_timestamp(moment)),
    }
}
