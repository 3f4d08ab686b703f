//! Reads lines of JSON: one object for each row, handed on as they come.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::data::builder::{Cell, Sink};
use crate::data::cells::is_utf16;
use crate::data::intake::{Intake, Reading, Taken};
use crate::data::{At, Error};

/// Bytes of a line, at most.
const LINE_BYTES: usize = 32 << 20;

/// Reads a table from lines that are objects of JSON, in one pass, with a line and a chunk of rows in memory.
///
/// The columns are the keys of the first chunk's objects, in the order in which they come. A key that a row has not is a
/// missing value, and so is null. Numbers, true and false are what they are; a column of strings is categorical, or
/// timestamp if they are all moments. Blank lines are skipped.
///
/// Errors: each says the line and, where there is one, the column: no rows; lines that are no object or too long; keys
/// given twice; a key first met after the first chunk; arrays and objects as values; numbers and strings in one column
/// whose kind is not declared; a limit exceeded; a failing reader.
pub fn read_ndjson<S: Sink>(source: impl Read, reading: Reading<S>) -> Result<Taken, Error> {
    let mut intake = Intake::begin(reading, At::Line)?;
    for name in intake.names_before() {
        intake.add_column(&name, 1, None)?;
    }
    let has_columns = intake.width() > 0;
    let mut lines = Lines {
        source: BufReader::new(source),
        text: Vec::new(),
        number: 0,
    };
    let mut row = Row {
        given: Vec::new(),
        scratch: String::new(),
        is_closed: has_columns,
        fault: None,
        line: 0,
        intake,
    };
    while let Some((text, line)) = lines.next()? {
        row.read(text, line)?;
    }
    if row.intake.rows_read() == 0 {
        return Err(Error::Json {
            line: lines.number.max(1),
            detail: "the table has no rows: each line must be an object, such as {\"a\":1}"
                .to_owned(),
        });
    }
    row.intake.finish()
}

/// The lines of a text, one after another.
struct Lines<R> {
    source: BufReader<R>,
    text: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// The next line that is not blank, and its number.
    fn next(&mut self) -> Result<Option<(&[u8], u64)>, Error> {
        loop {
            self.number += 1;
            self.text.clear();
            let limited = self.source.by_ref().take(LINE_BYTES as u64 + 1);
            let read = read_line(limited, &mut self.text);
            let line = self.number;
            if read.map_err(|source| Error::Read { line, source })? == 0 {
                self.number -= 1;
                return Ok(None);
            }
            if line == 1 && is_utf16(&self.text) {
                return Err(Error::Utf16);
            }
            if self.text.len() > LINE_BYTES {
                let detail = format!("a line must have at most {LINE_BYTES} bytes");
                return Err(Error::Json { line, detail });
            }
            if line == 1 && self.text.starts_with("\u{feff}".as_bytes()) {
                self.text.drain(..3);
            }
            if !self.text.trim_ascii().is_empty() {
                return Ok(Some((self.text.trim_ascii_end(), line)));
            }
        }
    }
}

fn read_line(mut source: impl BufRead, text: &mut Vec<u8>) -> io::Result<usize> {
    source.read_until(b'\n', text)
}

/// A row as it is being read.
struct Row<S> {
    intake: Intake<S>,
    /// The line of the last value of each column.
    given: Vec<u64>,
    scratch: String,
    /// Whether no other keys may come.
    is_closed: bool,
    /// What is wrong with a value, told by the intake.
    fault: Option<Error>,
    line: u64,
}

impl<S: Sink> Row<S> {
    fn read(&mut self, text: &[u8], line: u64) -> Result<(), Error> {
        self.line = line;
        self.intake.begin_row(line)?;
        let mut json = serde_json::Deserializer::from_slice(text);
        let read = json.deserialize_any(&mut *self).and_then(|()| json.end());
        if let Err(error) = read {
            return Err(self.fault.take().unwrap_or_else(|| fault(&error, line)));
        }
        for index in 0..self.intake.width() {
            if self.given.get(index) != Some(&line) {
                self.intake.push(index, Cell::Missing, line)?;
            }
        }
        self.intake.end_row()?;
        self.is_closed |= self.intake.is_decided();
        Ok(())
    }

    /// The column of a key, which this row has not had yet.
    fn column(&mut self, key: &str) -> Result<usize, Error> {
        let line = self.line;
        let index = match self.intake.index(key) {
            Some(index) => index,
            None if self.is_closed => {
                let known = (0..self.intake.width())
                    .filter_map(|index| self.intake.place(index, line).name);
                let known = known.collect();
                let key = key.to_owned();
                return Err(Error::LateKey { line, key, known });
            }
            None => {
                self.intake.add_column(key, line, None)?;
                self.intake.width() - 1
            }
        };
        self.given.resize(self.intake.width(), 0);
        if self.given[index] == line {
            let detail = format!("key {key:?} must be given once");
            return Err(Error::Json { line, detail });
        }
        self.given[index] = line;
        Ok(index)
    }

    fn push(&mut self, index: usize, cell: Cell) -> Result<(), Error> {
        if let Cell::Text(word) | Cell::Word(word) = cell {
            let allowed = self.intake.limits().cell_bytes;
            if word.len() > allowed {
                return Err(Error::Limit {
                    place: self.intake.place(index, self.line),
                    limit: "bytes of a cell",
                    allowed: allowed as u64,
                    got: word.len() as u64,
                });
            }
        }
        self.intake.push(index, cell, self.line)
    }

    /// Keeps an error of ours while the parser is told of one of its own.
    fn keep<T, E: serde::de::Error>(&mut self, result: Result<T, Error>) -> Result<T, E> {
        result.map_err(|error| {
            self.fault = Some(error);
            E::custom("")
        })
    }
}

/// What the parser says of a line.
fn fault(error: &serde_json::Error, line: u64) -> Error {
    let text = error.to_string();
    let column = error.column();
    let end = format!(" at line {} column {column}", error.line());
    let text = text.strip_suffix(&end).unwrap_or(&text);
    let detail = format!("each line must be an object of JSON: {text}, at byte {column}");
    Error::Json { line, detail }
}

impl<'de, S: Sink> Visitor<'de> for &mut Row<S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            let column = self.column(&key);
            let index = self.keep(column)?;
            map.next_value_seed(Value {
                row: &mut *self,
                index,
            })?;
        }
        Ok(())
    }
}

/// A key, borrowed where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = std::borrow::Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = std::borrow::Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(key.into())
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(key.to_owned().into())
    }
}

/// A value on its way into a column.
struct Value<'a, S> {
    row: &'a mut Row<S>,
    index: usize,
}

impl<S: Sink> Value<'_, S> {
    fn push<E: serde::de::Error>(self, cell: Cell) -> Result<(), E> {
        let pushed = self.row.push(self.index, cell);
        self.row.keep(pushed)
    }

    /// A number, which a column of words takes as it is printed.
    fn number<E: serde::de::Error>(self, number: impl fmt::Display) -> Result<(), E> {
        use fmt::Write;
        let mut text = std::mem::take(&mut self.row.scratch);
        text.clear();
        write!(text, "{number}").map_err(E::custom)?;
        let pushed = self.row.push(self.index, Cell::Text(&text));
        self.row.scratch = text;
        self.row.keep(pushed)
    }

    fn nested<E: serde::de::Error>(self, found: &'static str) -> Result<(), E> {
        let place = self.row.intake.place(self.index, self.row.line);
        self.row.keep(Err(Error::Nested { place, found }))
    }
}

impl<'de, S: Sink> DeserializeSeed<'de> for Value<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Value<'_, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.push(Cell::Missing)
    }

    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<(), E> {
        self.push(Cell::Text(if truth { "true" } else { "false" }))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        match i32::try_from(number) {
            Ok(integer) if self.row.intake.push_integer(self.index, integer) => Ok(()),
            _ => self.number(number),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        match i32::try_from(number) {
            Ok(integer) if self.row.intake.push_integer(self.index, integer) => Ok(()),
            _ => self.number(number),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.number(number)
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<(), E> {
        self.push(Cell::Word(word))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.nested("an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.nested("an object")
    }
}
