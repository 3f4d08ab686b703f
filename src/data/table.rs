//! A table: named columns of equal length, and the digest that identifies its contents.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::data::{Column, Error, Kind};

/// Columns of equal length and different names.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
}

impl Table {
    /// Puts columns side by side.
    ///
    /// Errors: no columns; two of one name; columns of different lengths.
    pub fn new(columns: Vec<Column>) -> Result<Self, Error> {
        let expected = columns.first().ok_or(Error::NoColumns)?.rows();
        let mut names = HashSet::new();
        for column in &columns {
            let name = column.name();
            if column.rows() != expected {
                return Err(Error::UnequalColumns {
                    name: name.to_owned(),
                    rows: column.rows(),
                    expected,
                });
            }
            if !names.insert(name) {
                return Err(Error::RepeatedColumn {
                    name: name.to_owned(),
                });
            }
        }
        Ok(Self { columns })
    }

    /// How many rows every column has.
    pub fn rows(&self) -> usize {
        self.columns[0].rows()
    }

    /// The columns in their order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name() == name)
    }

    /// SHA-256 over the names, kinds and values, however they are coded.
    ///
    /// The hashed text is `gradientd table 1` and a zero byte, the numbers of columns and rows, then of each column: its
    /// name; 0 if it is numeric, 1 if it is categorical, 2 if it is boolean, 3 if it is timestamp; of a categorical one
    /// the number of categories, the categories and 32-bit codes ([`crate::data::MISSING`] where missing), of the others
    /// float64 values (one NaN, `f64::NAN`'s bits, for every missing value). Integers are 64-bit, all is little-endian,
    /// and a text is its length in bytes, then its UTF-8.
    pub fn digest(&self) -> [u8; 32] {
        let mut sha = Sha256::new();
        sha.update(b"gradientd table 1\0");
        sha.update((self.columns.len() as u64).to_le_bytes());
        sha.update((self.rows() as u64).to_le_bytes());
        for column in &self.columns {
            hash_text(&mut sha, column.name());
            sha.update([match column.kind() {
                Kind::Numeric => 0,
                Kind::Categorical => 1,
                Kind::Boolean => 2,
                Kind::Timestamp => 3,
            }]);
            if let Some(codes) = column.codes() {
                sha.update((column.categories().len() as u64).to_le_bytes());
                for category in column.categories() {
                    hash_text(&mut sha, category);
                }
                for codes in codes.chunks(4096) {
                    let bytes: Vec<u8> = codes.iter().flat_map(|code| code.to_le_bytes()).collect();
                    sha.update(bytes);
                }
            } else {
                let bits = |number: &f64| {
                    if number.is_nan() {
                        f64::NAN.to_bits()
                    } else {
                        number.to_bits()
                    }
                };
                for numbers in column.numbers().unwrap_or_default().chunks(4096) {
                    let bytes: Vec<u8> = numbers
                        .iter()
                        .flat_map(|number| bits(number).to_le_bytes())
                        .collect();
                    sha.update(bytes);
                }
            }
        }
        sha.finalize().into()
    }
}

fn hash_text(sha: &mut Sha256, text: &str) {
    sha.update((text.len() as u64).to_le_bytes());
    sha.update(text);
}
