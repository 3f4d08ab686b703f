//! A column whose kind is not known yet: its cells as they were written, and what they could be.

use crate::data::builder::Cell;
use crate::data::{Error, FirstWord, Kind, MISSING, Place, parse_boolean, parse_timestamp};

/// Bytes that a cell takes here beside its own.
pub(super) const CELL_BYTES: usize = 4;

/// The cells of a column from its first row on. Rows before the first present value cost only a count.
#[derive(Default)]
pub(super) struct Undecided {
    /// Rows before the first present value.
    pub(super) blanks: usize,
    text: String,
    /// Where each later cell ends in `text`; [`MISSING`] where it is missing.
    ends: Vec<u32>,
    present: usize,
    numbers: usize,
    truths: usize,
    moments: usize,
    /// Cells that are words even if they look like something else.
    strings: usize,
    /// The first cell that is no number.
    pub(super) first_word: Option<FirstWord>,
    /// The first number that is not finite.
    not_finite: Option<FirstWord>,
}

impl Undecided {
    /// Whether any value is present.
    pub(super) fn is_present(&self) -> bool {
        self.present > 0
    }

    /// Whether all values are strings.
    pub(super) fn is_of_strings(&self) -> bool {
        self.strings > 0 && self.strings == self.present
    }

    /// Takes the next cell. How many more bytes it takes.
    pub(super) fn push(&mut self, cell: &Cell, line: u64) -> usize {
        let word = match cell {
            Cell::Missing => {
                if self.present == 0 {
                    self.blanks += 1;
                    return 0;
                }
                self.ends.push(MISSING);
                return CELL_BYTES;
            }
            Cell::Text(word) | Cell::Word(word) => word,
            Cell::Number(_) => unreachable!("whoever pushes numbers knows the column's kind"),
        };
        self.present += 1;
        let is_string = matches!(cell, Cell::Word(_));
        self.strings += usize::from(is_string);
        let first = || {
            let word = (*word).to_owned();
            Some(FirstWord { line, word })
        };
        let number = word.parse::<f64>().ok().filter(|_| !is_string);
        match number {
            Some(number) => {
                self.numbers += 1;
                if !number.is_finite() && self.not_finite.is_none() {
                    self.not_finite = first();
                }
            }
            None if self.first_word.is_none() => self.first_word = first(),
            None => {}
        }
        self.truths += usize::from(!is_string && parse_boolean(word).is_some());
        self.moments += usize::from(number.is_none() && parse_timestamp(word).is_some());
        self.text.push_str(word);
        self.ends.push(self.text.len() as u32);
        word.len() + CELL_BYTES
    }

    /// What the column is: numbers if all its values are, truth values if all are, moments if all are, and else words. A
    /// column without values is one of numbers.
    ///
    /// Errors: a number that is not finite; numbers among which there are a few words, or any strings.
    pub(super) fn kind(&self, place: impl Fn(u64) -> Place) -> Result<Kind, Error> {
        if self.numbers == self.present {
            return match &self.not_finite {
                Some(FirstWord { line, word }) => Err(Error::NotFinite {
                    place: place(*line),
                    cell: word.clone(),
                }),
                None => Ok(Kind::Numeric),
            };
        }
        if self.truths == self.present {
            return Ok(Kind::Boolean);
        }
        let first = self
            .first_word
            .as_ref()
            .expect("there is no other value than numbers");
        let mixed = |of, count| Error::Mixed {
            place: place(first.line),
            word: first.word.clone(),
            of,
            count,
            present: self.present,
        };
        let strings_and_others = self.strings > 0 && self.strings < self.present;
        if 2 * self.numbers > self.present || (strings_and_others && self.numbers > 0) {
            return Err(mixed("numbers", self.numbers));
        }
        if strings_and_others {
            return Err(mixed("strings", self.strings));
        }
        if self.moments == self.present {
            return Ok(Kind::Timestamp);
        }
        Ok(Kind::Categorical)
    }

    /// The cells after the blank rows, `None` where missing.
    pub(super) fn cells(&self) -> impl Iterator<Item = Option<&str>> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            (end != MISSING).then(|| {
                let word = &self.text[start..end as usize];
                start = end as usize;
                word
            })
        })
    }
}
