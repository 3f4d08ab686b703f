//! A column as it is being read: its current chunk, and what is known of those that have gone.

use sha2::{Digest, Sha256};

use crate::data::lexicon::{BYTES_BESIDE, Lexicon};
use crate::data::moments::Moments;
use crate::data::numbers::{CHUNK_ROWS, Chunk, check_codes, codes_from_bytes, codes_to_bytes};
use crate::data::undecided::Undecided;
use crate::data::{
    At, ColumnDescription, Error, Kind, MISSING, Piece, Place, TableLimits, parse_boolean,
    parse_timestamp,
};

/// One value on its way into a column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    /// None.
    Missing,
    /// A text that is what it looks like: a cell of CSV, or a number of JSON.
    Text(&'a str),
    /// A text that is a word or a moment, and no number even if it looks like one: a string of JSON.
    Word(&'a str),
    /// A number of the column's own kind, which is known: 0 or 1, or seconds since 1970, where it is not numeric.
    Number(f64),
}

/// What the columns of a table share while they are read.
pub(super) struct Shared<S> {
    pub(super) limits: TableLimits,
    /// What takes the chunks.
    pub(super) sink: S,
    /// Whether places are lines of a text or rows.
    pub(super) at: fn(u64) -> At,
    /// Bytes of all words so far.
    pub(super) category_bytes: u64,
    /// Bytes of the cells of columns that are not decided.
    pub(super) undecided_bytes: usize,
    /// Whether rows are appended to columns that have some.
    pub(super) appends: bool,
}

/// A column as it is being read.
pub(super) struct Builder {
    /// Its place in the table.
    column: usize,
    /// Its place in the text, counted from 1; 0 until it is found there.
    pub(super) number: usize,
    description: ColumnDescription,
    is_declared: bool,
    /// Whether it was found to be of strings, among which numbers would be a mistake.
    is_of_strings: bool,
    values: Values,
    /// Rows of the current chunk that an earlier revision has described.
    described: usize,
    moments: Option<Moments>,
    /// Words of earlier revisions.
    known: usize,
    /// The number of the current chunk.
    chunk: usize,
    chunks: Sha256,
}

enum Values {
    Undecided(Undecided),
    Numbers(Chunk),
    Codes(Vec<u32>, Lexicon),
}

impl Values {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Numeric | Kind::Boolean | Kind::Timestamp => Self::Numbers(Chunk::new()),
            Kind::Categorical => Self::Codes(Vec::new(), Lexicon::default()),
        }
    }
}

impl Builder {
    /// A column without rows, of a kind that is declared or is to be found.
    pub(super) fn new(name: String, column: usize, kind: Option<Kind>) -> Self {
        let values = kind.map_or_else(|| Values::Undecided(Undecided::default()), Values::of);
        Self {
            column,
            number: 0,
            description: ColumnDescription::new(name, kind.unwrap_or(Kind::Numeric)),
            is_declared: kind.is_some(),
            is_of_strings: false,
            values,
            described: 0,
            moments: None,
            known: 0,
            chunk: 0,
            chunks: Sha256::new(),
        }
    }

    /// A column that goes on after its rows, with the bytes of its last chunk where that is not full. The categories of
    /// the description are in the order of their codes. The bytes that its words take are added to those of all.
    ///
    /// Errors: the bytes are none of its.
    pub(super) fn resume<S>(
        mut description: ColumnDescription,
        column: usize,
        tail: Option<&[u8]>,
        shared: &mut Shared<S>,
    ) -> Result<Self, Error> {
        let mut values = Values::of(description.kind);
        let words = std::mem::take(&mut description.categories);
        let known = words.len();
        let described = description.rows % CHUNK_ROWS;
        let mut read = || match &mut values {
            Values::Undecided(_) => unreachable!("a stored column has a kind"),
            Values::Numbers(chunk) => {
                if let Some(tail) = tail {
                    *chunk = Chunk::from_bytes(tail)?;
                }
                Ok(chunk.rows())
            }
            Values::Codes(codes, lexicon) => {
                for word in &words {
                    shared.category_bytes += (word.len() + BYTES_BESIDE) as u64;
                    lexicon.code(word);
                }
                if let Some(tail) = tail {
                    *codes = codes_from_bytes(tail)?;
                }
                check_codes(codes, known)?;
                Ok(codes.len())
            }
        };
        let damaged = |detail| Error::Damaged {
            name: description.name.clone(),
            detail,
        };
        let rows = read().map_err(damaged)?;
        if rows != described {
            let detail = format!("the last chunk must hold {described} rows, got {rows}");
            return Err(damaged(detail));
        }
        Ok(Self {
            column,
            number: 0,
            is_declared: true,
            is_of_strings: false,
            values,
            described,
            moments: description.moments(),
            known,
            chunk: description.rows / CHUNK_ROWS,
            chunks: Sha256::new(),
            description,
        })
    }

    /// What its values are, where that is known.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.values {
            Values::Undecided(_) => None,
            Values::Numbers(_) | Values::Codes(..) => Some(self.description.kind),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.description.name
    }

    /// The place of this column's cell at a line or row.
    pub(super) fn place(&self, at: At) -> Place {
        Place {
            at,
            column: self.number,
            name: Some(self.description.name.clone()),
        }
    }

    /// Takes an integer, where the column is known to be of numbers.
    pub(super) fn push_integer(&mut self, integer: i32) -> bool {
        match &mut self.values {
            Values::Numbers(chunk) if self.description.kind == Kind::Numeric => {
                chunk.push_integer(integer);
                true
            }
            _ => false,
        }
    }

    /// Takes the next value.
    ///
    /// Errors: it is not of the column's kind; it is one word too many.
    pub(super) fn push<S>(
        &mut self,
        cell: Cell,
        line: u64,
        shared: &mut Shared<S>,
    ) -> Result<(), Error> {
        if let Cell::Text(word) | Cell::Word(word) = cell
            && word.contains('\0')
        {
            let place = self.place((shared.at)(line));
            return Err(Error::Nul { place });
        }
        match &mut self.values {
            Values::Undecided(undecided) => {
                shared.undecided_bytes += undecided.push(&cell, line);
                Ok(())
            }
            Values::Numbers(chunk) => {
                if let Some(number) = number(self.description.kind, self.is_declared, &cell) {
                    self.description.missing += usize::from(number.is_nan());
                    chunk.push(number);
                    return Ok(());
                }
                Err(self.unlike(&cell, line, shared))
            }
            Values::Codes(codes, lexicon) => match cell {
                Cell::Missing => {
                    self.description.missing += 1;
                    codes.push(MISSING);
                    Ok(())
                }
                Cell::Text(word) | Cell::Word(word)
                    if !self.is_of_strings || matches!(cell, Cell::Word(_)) =>
                {
                    let before = lexicon.len();
                    codes.push(lexicon.code(word));
                    if lexicon.len() > before {
                        shared.category_bytes += (word.len() + BYTES_BESIDE) as u64;
                        return self.check_categories(line, shared);
                    }
                    Ok(())
                }
                _ => Err(self.unlike(&cell, line, shared)),
            },
        }
    }

    fn check_categories<S>(&self, line: u64, shared: &Shared<S>) -> Result<(), Error> {
        let limits = &shared.limits;
        let Values::Codes(_, lexicon) = &self.values else {
            return Ok(());
        };
        let limit = |limit, allowed, got| Error::Limit {
            place: self.place((shared.at)(line)),
            limit,
            allowed,
            got,
        };
        if lexicon.len() > limits.categories {
            let (allowed, got) = (limits.categories as u64, lexicon.len() as u64);
            return Err(limit("categories", allowed, got));
        }
        if shared.category_bytes > limits.category_bytes {
            let (allowed, got) = (limits.category_bytes, shared.category_bytes);
            return Err(limit("bytes of all categories", allowed, got));
        }
        Ok(())
    }

    /// The error of a cell that is not of the column's kind.
    fn unlike<S>(&self, cell: &Cell, line: u64, shared: &Shared<S>) -> Error {
        let place = self.place((shared.at)(line));
        let cell = match cell {
            Cell::Missing => String::new(),
            Cell::Text(word) | Cell::Word(word) => (*word).to_owned(),
            Cell::Number(number) => number.to_string(),
        };
        let is_infinite = cell.parse::<f64>().is_ok_and(|number| !number.is_finite());
        if self.description.kind == Kind::Numeric && is_infinite {
            return Error::NotFinite { place, cell };
        }
        Error::Unlike {
            place,
            kind: self.description.kind,
            cell,
            appends: shared.appends,
        }
    }

    /// What is wrong with a column that is to get its kind now.
    pub(super) fn fault<S>(&self, shared: &Shared<S>) -> Option<Error> {
        match &self.values {
            Values::Undecided(undecided) => {
                undecided.kind(|line| self.place((shared.at)(line))).err()
            }
            Values::Numbers(_) | Values::Codes(..) => None,
        }
    }

    /// Gives the column its kind, if it has values and there is nothing wrong with it, by its cells so far. `lines` are
    /// those of the rows of the current chunk.
    pub(super) fn decide<S: Sink>(
        &mut self,
        lines: &[u64],
        shared: &mut Shared<S>,
    ) -> Result<(), Error> {
        match &self.values {
            Values::Undecided(undecided) if undecided.is_present() => self.settle(lines, shared),
            _ => Ok(()),
        }
    }

    fn settle<S: Sink>(&mut self, lines: &[u64], shared: &mut Shared<S>) -> Result<(), Error> {
        let Values::Undecided(undecided) = &mut self.values else {
            return Ok(());
        };
        let undecided = std::mem::take(undecided);
        let kind = undecided.kind(|line| self.place((shared.at)(line)))?;
        self.description.kind = kind;
        if kind == Kind::Categorical {
            self.description
                .first_word
                .clone_from(&undecided.first_word);
        }
        self.values = Values::of(kind);
        for row in 0..undecided.blanks {
            if row > 0 && row.is_multiple_of(CHUNK_ROWS) {
                self.flush(lines, shared)?;
            }
            self.push(Cell::Missing, 0, shared)?;
        }
        let within = undecided.blanks % CHUNK_ROWS;
        if undecided.blanks > 0 && within == 0 && undecided.is_present() {
            self.flush(lines, shared)?;
        }
        let lines = lines.get(within..).unwrap_or_default();
        let first_line = undecided.first_word.as_ref().map_or(0, |first| first.line);
        for (place, cell) in undecided.cells().enumerate() {
            let line = lines.get(place).copied().unwrap_or(first_line);
            let cell = cell.map_or(Cell::Missing, Cell::Text);
            self.push(cell, line, shared)?;
        }
        self.is_of_strings = undecided.is_of_strings();
        Ok(())
    }

    /// Hands out the current chunk, which is full or the last.
    pub(super) fn flush<S: Sink>(
        &mut self,
        lines: &[u64],
        shared: &mut Shared<S>,
    ) -> Result<(), Error> {
        self.decide(lines, shared)?;
        let (bytes, rows) = match &mut self.values {
            Values::Undecided(_) => return Ok(()),
            Values::Numbers(chunk) => {
                let mut chunk = std::mem::replace(chunk, Chunk::new());
                chunk.seal();
                let added = Moments::of(&chunk.iter().skip(self.described));
                let both = self.moments.zip(added).map(|(old, new)| old.with(new));
                self.moments = both.or(self.moments).or(added);
                (chunk.to_bytes(), chunk.rows())
            }
            Values::Codes(codes, lexicon) => {
                let bytes = codes_to_bytes(codes, lexicon.len());
                let rows = codes.len();
                codes.clear();
                (bytes, rows)
            }
        };
        if rows == 0 {
            return Ok(());
        }
        self.described = 0;
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        self.chunks.update(digest);
        let piece = Piece {
            column: self.column,
            chunk: self.chunk,
            is_full: rows == CHUNK_ROWS,
            digest,
            bytes,
        };
        self.chunk += 1;
        shared.sink.words(shared.category_bytes)?;
        shared.sink.take(piece)
    }

    /// Ends the column at so many rows: its description, of whose words only the new ones are told, in the order of
    /// their codes, and the digest of the chunks that were handed out.
    pub(super) fn finish<S: Sink>(
        mut self,
        rows: usize,
        lines: &[u64],
        shared: &mut Shared<S>,
    ) -> Result<(ColumnDescription, [u8; 32]), Error> {
        self.settle(lines, shared)?;
        self.flush(lines, shared)?;
        self.description.rows = rows;
        self.description.set_moments(self.moments);
        if let Values::Codes(_, lexicon) = &self.values {
            let words = lexicon.words_from(self.known);
            self.description.categories = words.map(str::to_owned).collect();
        }
        Ok((self.description, self.chunks.finalize().into()))
    }
}

/// What takes the chunks of a table.
pub trait Sink {
    /// Hears how many bytes all words take so far, with 20 more for each.
    ///
    /// Errors: [`Error::Stopped`], where they are too many.
    fn words(&mut self, _bytes: u64) -> Result<(), Error> {
        Ok(())
    }

    /// Takes the next.
    ///
    /// Errors: [`Error::Stopped`], where no more are wanted.
    fn take(&mut self, piece: Piece) -> Result<(), Error>;
}

/// The number that a cell of a column of numbers, truth values or moments is; NaN where missing.
fn number(kind: Kind, is_declared: bool, cell: &Cell) -> Option<f64> {
    let number = match *cell {
        Cell::Missing => return Some(f64::NAN),
        Cell::Word(_) if !is_declared && kind != Kind::Timestamp => return None,
        Cell::Text(word) | Cell::Word(word) => match kind {
            Kind::Numeric => word.parse().ok()?,
            Kind::Boolean => match (parse_boolean(word), word, is_declared) {
                (Some(truth), _, _) => f64::from(truth),
                (None, "1", true) => 1.0,
                (None, "0", true) => 0.0,
                (None, _, _) => return None,
            },
            Kind::Timestamp => parse_timestamp(word)?,
            Kind::Categorical => return None,
        },
        Cell::Number(number) => number,
    };
    number.is_finite().then_some(number)
}
