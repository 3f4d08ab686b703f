//! The intake of a table: values go in row by row, chunks of columns come out, and no more than one chunk is held.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::data::builder::{Builder, Cell, Shared, Sink};
use crate::data::numbers::CHUNK_ROWS;
use crate::data::{At, ColumnDescription, Error, Kind, Kinds, Place, TableLimits};

/// Bytes of a column name, at most.
const NAME_BYTES: usize = 128;
/// Bytes of cells that wait for the kinds of their columns. A table so wide that they do not have room for the rows of a
/// chunk gets its kinds from fewer rows, and so do columns whose first values come late.
const UNDECIDED_BYTES: usize = 16 << 20;

/// Names that rows to append may bring and that no column has before the others are not looked at.
const MOST_UNKNOWN: usize = 16;

/// Up to [`CHUNK_ROWS`] values of one column, as bytes: a tag, then little-endian values as narrow as they can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The column's place in the table, from 0.
    pub column: usize,
    /// The chunk's number in its column, from 0.
    pub chunk: usize,
    /// Whether it has [`CHUNK_ROWS`] rows; the last may have fewer.
    pub is_full: bool,
    /// SHA-256 of the bytes.
    pub digest: [u8; 32],
    /// The values.
    pub bytes: Vec<u8>,
}

/// The rows that others are appended to.
#[derive(Clone, Debug)]
pub struct Base {
    /// The digest of these rows, as text.
    pub digest: String,
    /// The columns, with their categories in the order of their codes.
    pub columns: Vec<ColumnDescription>,
    /// The bytes of each column's last chunk, where that is not full.
    pub tails: Vec<Option<Vec<u8>>>,
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// All rows, those that were there before among them.
    pub rows: usize,
    /// The columns of all rows; of their categories only those that are new, in the order of their codes.
    pub columns: Vec<ColumnDescription>,
    /// SHA-256 over the rows and those before them.
    ///
    /// The hashed text is `gradientd table 2` and a zero byte; the digest of the rows before as 64 hexadecimal digits, or
    /// nothing; the numbers of columns and of all rows; then of each column its name, a byte for its kind (0 numeric, 1
    /// categorical, 2 boolean, 3 timestamp), SHA-256 over the digests of the chunks that were written, and the number of
    /// new categories and the categories. A chunk that was not full before is written anew, whole. Chunks are coded as
    /// narrowly as their values allow, so equal values have equal digests. Integers are 64-bit and little-endian; a text
    /// is its length in bytes, then its UTF-8.
    pub digest: [u8; 32],
}

/// A table as it is being read.
pub(super) struct Intake<S> {
    columns: Vec<Builder>,
    /// The place of each name among the columns.
    places: HashMap<String, usize>,
    /// The columns in the order of the text.
    order: Vec<usize>,
    kinds: Kinds,
    before: Option<String>,
    columns_before: usize,
    rows: usize,
    first_row: usize,
    /// Where the rows of the current chunk stand, while columns are undecided.
    lines: Vec<u64>,
    is_decided: bool,
    shared: Shared<S>,
}

/// How a table is read, whatever its format.
pub struct Reading<S> {
    /// How large it may be.
    pub limits: TableLimits,
    /// The kinds that are declared; none where rows are appended.
    pub kinds: Kinds,
    /// The rows that others are appended to, where there are any.
    pub base: Option<Base>,
    /// What takes the chunks.
    pub sink: S,
}

/// Refuses a name that no column can have.
pub(super) fn check_name(name: &str, place: impl Fn() -> Place) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::EmptyName { place: place() });
    }
    if name.len() > NAME_BYTES {
        return Err(Error::LongName {
            place: place(),
            bytes: name.len(),
            allowed: NAME_BYTES,
        });
    }
    if name.chars().any(char::is_control) {
        let (place, name) = (place(), name.to_owned());
        return Err(Error::ControlInName { place, name });
    }
    Ok(())
}

impl<S: Sink> Intake<S> {
    /// Begins a table, or goes on with one. Places are told by `at`.
    ///
    /// Errors: the bytes of the rows before are damaged.
    pub(super) fn begin(reading: Reading<S>, at: fn(u64) -> At) -> Result<Self, Error> {
        let Reading {
            limits,
            kinds,
            base,
            sink,
        } = reading;
        let mut shared = Shared {
            limits,
            sink,
            at,
            category_bytes: 0,
            undecided_bytes: 0,
            appends: base.is_some(),
        };
        let rows = base.as_ref().map_or(0, |base| base.columns[0].rows);
        let before = base.as_ref().map(|base| base.digest.clone());
        let mut columns = Vec::new();
        if let Some(base) = base {
            for (description, tail) in base.columns.into_iter().zip(base.tails) {
                let tail = tail.as_deref();
                let column = Builder::resume(description, columns.len(), tail, &mut shared)?;
                columns.push(column);
            }
        }
        let places = columns.iter().map(|column| column.name().to_owned());
        Ok(Self {
            places: places.zip(0..).collect(),
            columns_before: columns.len(),
            columns,
            order: Vec::new(),
            kinds,
            before,
            rows,
            first_row: rows,
            lines: Vec::new(),
            is_decided: false,
            shared,
        })
    }

    /// How many columns the text has.
    pub(super) fn width(&self) -> usize {
        self.order.len()
    }

    /// How many rows were read.
    pub(super) fn rows_read(&self) -> usize {
        self.rows - self.first_row
    }

    pub(super) fn limits(&self) -> &TableLimits {
        &self.shared.limits
    }

    /// The place of a cell of the text's `index`-th column.
    pub(super) fn place(&self, index: usize, line: u64) -> Place {
        let at = (self.shared.at)(line);
        match self.order.get(index) {
            Some(&column) => self.columns[column].place(at),
            None => Place {
                at,
                column: index + 1,
                name: None,
            },
        }
    }

    /// The names of the columns that have rows already.
    pub(super) fn names_before(&self) -> Vec<String> {
        let before = self.columns[..self.columns_before].iter();
        before.map(|column| column.name().to_owned()).collect()
    }

    /// The place among the text's columns of a name.
    pub(super) fn index(&self, name: &str) -> Option<usize> {
        let number = self.columns[*self.places.get(name)?].number;
        number.checked_sub(1)
    }

    /// Adds the text's next column. Where rows were read already, its value in them is missing.
    ///
    /// Errors: the name is empty, too long or given twice, or has control characters; there are too many columns.
    pub(super) fn add_column(
        &mut self,
        name: &str,
        line: u64,
        kind: Option<Kind>,
    ) -> Result<(), Error> {
        let number = self.width() + 1;
        let place = || self.place(self.width(), line);
        let allowed = self.limits().columns;
        if number > allowed {
            return Err(Error::Limit {
                place: place(),
                limit: "columns",
                allowed: allowed as u64,
                got: number as u64,
            });
        }
        check_name(name, place)?;
        let found = self.places.get(name).copied();
        let first = found.map_or(0, |column| self.columns[column].number);
        if first > 0 {
            let mut place = place();
            place.name = Some(name.to_owned());
            return Err(Error::DuplicateName { place, first });
        }
        let column = match found {
            Some(column) => column,
            None => self.begin_column(name, line, kind)?,
        };
        self.columns[column].number = number;
        self.order.push(column);
        Ok(())
    }

    /// Begins a column that was not there before: its place.
    fn begin_column(&mut self, name: &str, line: u64, kind: Option<Kind>) -> Result<usize, Error> {
        let column = self.columns.len();
        let new = &self.columns[self.columns_before..];
        if self.columns_before > 0 && new.len() >= MOST_UNKNOWN {
            let unknown = new.iter().map(|column| column.name().to_owned());
            return Err(Error::OtherColumns {
                unknown: unknown.collect(),
                absent: Vec::new(),
            });
        }
        let declared = self.kinds.iter().find(|(declared, _)| declared == name);
        let kind = declared.map(|(_, kind)| *kind).or(kind);
        let mut builder = Builder::new(name.to_owned(), column, kind);
        for _ in 0..self.rows {
            builder.push(Cell::Missing, line, &mut self.shared)?;
        }
        self.columns.push(builder);
        self.places.insert(name.to_owned(), column);
        Ok(column)
    }

    /// Checks the text's columns once all of them are known.
    ///
    /// Errors: kinds are declared of columns that are not there; where rows are appended, the columns are not those of
    /// the rows before.
    pub(super) fn check_columns(&self) -> Result<(), Error> {
        let names = |columns: &[Builder], wanted: fn(&Builder) -> bool| -> Vec<String> {
            let columns = columns.iter().filter(|column| wanted(column));
            columns.map(|column| column.name().to_owned()).collect()
        };
        let (before, new) = self.columns.split_at(self.columns_before);
        if !before.is_empty() {
            let unknown = names(new, |_| true);
            let absent = names(before, |column| column.number == 0);
            if !unknown.is_empty() || !absent.is_empty() {
                return Err(Error::OtherColumns { unknown, absent });
            }
        }
        let unknown = self.kinds.iter().map(|(name, _)| name);
        let unknown = unknown.filter(|name| !self.places.contains_key(*name));
        let unknown: Vec<String> = unknown.cloned().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let known = names(&self.columns, |_| true);
        Err(Error::UnknownKinds { unknown, known })
    }

    /// Begins a row.
    ///
    /// Errors: cells or rows are too many.
    pub(super) fn begin_row(&mut self, line: u64) -> Result<(), Error> {
        self.check_room(1, line)?;
        if !self.is_decided {
            self.lines.push(line);
        }
        Ok(())
    }

    /// Checks that there is room for more rows, of which the first is at `line`.
    ///
    /// Errors: cells or rows are too many.
    pub(super) fn check_room(&self, more: usize, line: u64) -> Result<(), Error> {
        let rows = self.rows as u64 + more as u64;
        let cells = rows.saturating_mul(self.width() as u64);
        let limit = |limit, allowed, got| Error::Limit {
            place: self.place(0, line),
            limit,
            allowed,
            got,
        };
        if cells > self.limits().cells {
            return Err(limit("cells", self.limits().cells, cells));
        }
        if rows >= u64::from(u32::MAX) {
            return Err(limit("rows", u64::from(u32::MAX) - 1, rows));
        }
        Ok(())
    }

    /// The kind of the text's `index`-th column, where it is known.
    pub(super) fn kind(&self, index: usize) -> Option<Kind> {
        self.columns[self.order[index]].kind()
    }

    /// Ends a value of a column that goes ahead of the others, with `ahead` values more than there are rows.
    ///
    /// Errors: nobody takes the chunks.
    pub(super) fn end_value(&mut self, index: usize, ahead: usize) -> Result<(), Error> {
        if (self.rows + ahead).is_multiple_of(CHUNK_ROWS) {
            self.columns[self.order[index]].flush(&[], &mut self.shared)?;
        }
        Ok(())
    }

    /// Ends rows of which every column has gone ahead.
    pub(super) fn end_rows(&mut self, rows: usize) {
        self.rows += rows;
    }

    /// Takes an integer into the text's `index`-th column, where that is known to be of numbers.
    pub(super) fn push_integer(&mut self, index: usize, integer: i32) -> bool {
        self.columns[self.order[index]].push_integer(integer)
    }

    /// Takes the row's next value into the text's `index`-th column.
    ///
    /// Errors: it is not of the column's kind; it is one word too many.
    pub(super) fn push(&mut self, index: usize, cell: Cell, line: u64) -> Result<(), Error> {
        self.columns[self.order[index]].push(cell, line, &mut self.shared)
    }

    /// Ends a row of which every column has a value.
    ///
    /// Errors: a column has values of several kinds; nobody takes the chunks.
    pub(super) fn end_row(&mut self) -> Result<(), Error> {
        self.rows += 1;
        let is_full = self.rows.is_multiple_of(CHUNK_ROWS);
        let is_too_much = self.shared.undecided_bytes > UNDECIDED_BYTES;
        if is_too_much || (is_full && !self.is_decided) {
            self.decide()?;
        }
        if is_full {
            for column in &mut self.columns {
                column.flush(&self.lines, &mut self.shared)?;
            }
            self.lines.clear();
        }
        Ok(())
    }

    /// Whether the columns have their kinds, and no other columns may come.
    pub(super) fn is_decided(&self) -> bool {
        self.is_decided
    }

    fn decide(&mut self) -> Result<(), Error> {
        self.check_columns()?;
        let faults = self
            .columns
            .iter()
            .filter_map(|column| column.fault(&self.shared));
        if let Some(first) = faults.min_by_key(Error::line) {
            return Err(first);
        }
        for column in &mut self.columns {
            column.decide(&self.lines, &mut self.shared)?;
        }
        self.is_decided = true;
        self.shared.undecided_bytes = 0;
        Ok(())
    }

    /// Ends the table, which has a row at least.
    ///
    /// Errors: a column has values of several kinds; nobody takes the chunks.
    pub(super) fn finish(mut self) -> Result<Taken, Error> {
        if self.columns.is_empty() {
            return Err(Error::NoColumns);
        }
        if !self.is_decided {
            self.decide()?;
        }
        let mut sha = Sha256::new();
        sha.update(b"gradientd table 2\0");
        sha.update(self.before.as_deref().unwrap_or_default());
        sha.update((self.columns.len() as u64).to_le_bytes());
        sha.update((self.rows as u64).to_le_bytes());
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in self.columns {
            let (column, chunks) = column.finish(self.rows, &self.lines, &mut self.shared)?;
            hash_text(&mut sha, &column.name);
            sha.update([match column.kind {
                Kind::Numeric => 0,
                Kind::Categorical => 1,
                Kind::Boolean => 2,
                Kind::Timestamp => 3,
            }]);
            sha.update(chunks);
            sha.update((column.categories.len() as u64).to_le_bytes());
            for category in &column.categories {
                hash_text(&mut sha, category);
            }
            columns.push(column);
        }
        Ok(Taken {
            rows: self.rows,
            columns,
            digest: sha.finalize().into(),
        })
    }
}

fn hash_text(sha: &mut Sha256, text: &str) {
    sha.update((text.len() as u64).to_le_bytes());
    sha.update(text);
}
