//! Reading: a table's column as an encoder takes its values, what its categories mean looked up once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::data::{Column, Kind};
use crate::model::columns::encoder::Encoder;

/// A column of a table and the encoder that reads it.
pub struct Reading<'a> {
    encoder: &'a Encoder,
    column: &'a Column,
    meanings: Meanings,
}

/// What the column's numbers or codes mean to the encoder.
enum Meanings {
    /// Numbers are values.
    Themselves,
    /// The value of each code.
    OfCodes(Vec<f64>),
    /// The value of each number that there is, by its bits.
    OfNumbers(HashMap<u64, f64>),
}

impl<'a> Reading<'a> {
    /// Looks up what the column's values mean.
    ///
    /// Errors: the encoder refuses one of them.
    pub fn new(encoder: &'a Encoder, column: &'a Column) -> Result<Self, String> {
        let categorical = encoder.spec().kind() == Kind::Categorical;
        let meanings = match (categorical, column.codes()) {
            (false, None) => Meanings::Themselves,
            (false, Some(_)) => {
                let name = column.name();
                return Err(format!("column {name:?} must hold numbers, got words"));
            }
            (true, Some(_)) => {
                let words = column.categories().iter();
                Meanings::OfCodes(
                    words
                        .map(|word| encoder.place(word))
                        .collect::<Result<_, _>>()?,
                )
            }
            (true, None) => {
                let numbers = column.numbers().expect("a column of numbers has them");
                let mut meanings = HashMap::new();
                for number in numbers.into_iter().filter(|number| !number.is_nan()) {
                    let key = (number + 0.0).to_bits(); // −0 is 0
                    if let Entry::Vacant(place) = meanings.entry(key) {
                        place.insert(encoder.place(&column.word_of(number))?);
                    }
                }
                Meanings::OfNumbers(meanings)
            }
        };
        Ok(Self {
            encoder,
            column,
            meanings,
        })
    }

    /// The encoder.
    pub fn encoder(&self) -> &'a Encoder {
        self.encoder
    }

    /// The values of some rows, which rise; NaN where missing.
    ///
    /// Panics: there is not one place for each row, the caller's bug.
    pub fn pick(&self, rows: &[u32], into: &mut [f64]) {
        match &self.meanings {
            Meanings::Themselves => self.column.pick(rows, into, |number| number),
            Meanings::OfCodes(values) => {
                let codes = self.column.codes().expect("a column of words has codes");
                for (place, &row) in into.iter_mut().zip(rows) {
                    let value = values.get(codes[row as usize] as usize);
                    *place = value.copied().unwrap_or(f64::NAN);
                }
            }
            Meanings::OfNumbers(values) => {
                self.column.pick(rows, into, |number| number);
                for place in into.iter_mut().filter(|place| !place.is_nan()) {
                    *place = values[&(*place + 0.0).to_bits()];
                }
            }
        }
    }
}
