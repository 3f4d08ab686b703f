//! A column: its values, what is known of them without reading them, and their bytes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::data::Error;
use crate::data::numbers::{CHUNK_ROWS, Chunk, Numbers, codes_from_bytes, codes_to_bytes};

/// The code of a missing value in a categorical column.
pub const MISSING: u32 = u32::MAX;

/// What a column's values are. All but words are held as numbers.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Finite numbers, exact in float64.
    Numeric,
    /// Words, each a code into the sorted categories.
    Categorical,
    /// Truth values: 1 where true, 0 where false.
    Boolean,
    /// Moments, in seconds since 1970-01-01T00:00:00Z.
    Timestamp,
}

/// What is known of a column without its values.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ColumnDescription {
    /// The column's name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// How many values it has, missing ones included.
    pub rows: usize,
    /// How many of them are missing.
    pub missing: usize,
    /// The different words, sorted bytewise; empty for numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Where a categorical column first stopped being numeric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_word: Option<FirstWord>,
    /// The smallest present number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest present number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// μ = (1/n) Σ x over the n present numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// √((1/n) Σ (x − μ)²) over the n present numbers: the population's standard deviation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
}

/// The first cell of a column that is not a number.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct FirstWord {
    /// The cell's line in the CSV text; the header is line 1.
    pub line: u64,
    /// The cell's text.
    pub word: String,
}

/// A named column of numbers or words, any of which may be missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    description: ColumnDescription,
    values: Values,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    Numbers(Numbers),
    Codes(Vec<u32>),
}

impl Column {
    /// A column of numbers, NaN where missing.
    ///
    /// Errors: an infinite value.
    pub fn numeric(
        name: impl Into<String>,
        values: impl IntoIterator<Item = f64>,
    ) -> Result<Self, Error> {
        Self::finite(name.into(), Kind::Numeric, values)
    }

    /// A column of moments, in seconds since 1970-01-01T00:00:00Z, NaN where missing.
    ///
    /// Errors: an infinite value.
    pub fn timestamp(
        name: impl Into<String>,
        values: impl IntoIterator<Item = f64>,
    ) -> Result<Self, Error> {
        Self::finite(name.into(), Kind::Timestamp, values)
    }

    /// A column of truth values, `None` where missing.
    pub fn boolean(
        name: impl Into<String>,
        values: impl IntoIterator<Item = Option<bool>>,
    ) -> Self {
        let mut numbers = Numbers::new();
        for value in values {
            numbers.push(value.map_or(f64::NAN, f64::from));
        }
        Self::from_numbers(name.into(), Kind::Boolean, numbers)
    }

    fn finite(
        name: String,
        kind: Kind,
        values: impl IntoIterator<Item = f64>,
    ) -> Result<Self, Error> {
        let mut numbers = Numbers::new();
        for (row, value) in values.into_iter().enumerate() {
            if value.is_infinite() {
                return Err(Error::Infinite { name, row, value });
            }
            numbers.push(value);
        }
        Ok(Self::from_numbers(name, kind, numbers))
    }

    /// A column of words, `None` where missing.
    pub fn categorical<W: AsRef<str>>(name: impl Into<String>, words: &[Option<W>]) -> Self {
        let words = || words.iter().map(|word| word.as_ref().map(AsRef::as_ref));
        let distinct: BTreeSet<&str> = words().flatten().collect();
        let categories: Vec<&str> = distinct.into_iter().collect();
        let code = |word| {
            categories
                .binary_search(&word)
                .expect("every word is a category") as u32
        };
        let codes = words().map(|word| word.map_or(MISSING, code)).collect();
        let categories = categories.into_iter().map(str::to_owned).collect();
        Self::from_codes(name.into(), categories, codes, None)
    }

    /// Takes collected numbers, which mean what `kind` says, and describes them.
    pub(super) fn from_numbers(name: String, kind: Kind, mut numbers: Numbers) -> Self {
        numbers.seal();
        let missing = numbers.missing();
        let moments = Moments::of(&numbers, numbers.rows() - missing);
        let description = ColumnDescription {
            name,
            kind,
            rows: numbers.rows(),
            missing,
            categories: Vec::new(),
            first_word: None,
            min: moments.as_ref().map(|moments| moments.min),
            max: moments.as_ref().map(|moments| moments.max),
            mean: moments.as_ref().map(|moments| moments.mean),
            std: moments.as_ref().map(|moments| moments.std),
        };
        Self {
            description,
            values: Values::Numbers(numbers),
        }
    }

    /// Takes codes into categories that the caller has sorted.
    pub(super) fn from_codes(
        name: String,
        categories: Vec<String>,
        codes: Vec<u32>,
        first_word: Option<FirstWord>,
    ) -> Self {
        let description = ColumnDescription {
            name,
            kind: Kind::Categorical,
            rows: codes.len(),
            missing: codes.iter().filter(|&&code| code == MISSING).count(),
            categories,
            first_word,
            min: None,
            max: None,
            mean: None,
            std: None,
        };
        Self {
            description,
            values: Values::Codes(codes),
        }
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// What its values are.
    pub fn kind(&self) -> Kind {
        self.description.kind
    }

    /// How many values it has, missing ones included.
    pub fn rows(&self) -> usize {
        self.description.rows
    }

    /// How many values are missing.
    pub fn missing(&self) -> usize {
        self.description.missing
    }

    /// What is known of the column without its values.
    pub fn description(&self) -> &ColumnDescription {
        &self.description
    }

    /// The numbers, NaN where missing; `None` of a categorical column.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        match &self.values {
            Values::Numbers(numbers) => Some(numbers.to_vec()),
            Values::Codes(_) => None,
        }
    }

    /// Writes what `convert` makes of the numbers of some rows, each above the one before it; of a missing one it makes what
    /// it makes of NaN.
    ///
    /// Panics: the column is categorical, a row is not below [`Column::rows`], or there is not one place for each row, the
    /// caller's bug. Whether the rows rise is looked at in debug builds.
    pub fn pick<T>(&self, rows: &[u32], into: &mut [T], convert: impl Fn(f64) -> T + Copy) {
        assert_eq!(rows.len(), into.len(), "a place for each row");
        debug_assert!(rows.is_sorted_by(|one, next| one < next), "rows rise");
        let Values::Numbers(numbers) = &self.values else {
            panic!("a column of numbers is asked for them");
        };
        numbers.pick(rows, into, convert);
    }

    /// The codes, [`MISSING`] where missing; `None` of a numeric column.
    pub fn codes(&self) -> Option<&[u32]> {
        match &self.values {
            Values::Numbers(_) => None,
            Values::Codes(codes) => Some(codes),
        }
    }

    /// The different words in bytewise order: code c means `categories()[c]`. Empty for numbers.
    pub fn categories(&self) -> &[String] {
        &self.description.categories
    }

    /// Whether the value at `row` is missing.
    ///
    /// Panics: `row` is not below [`Column::rows`], the caller's bug.
    pub fn is_missing(&self, row: usize) -> bool {
        match &self.values {
            Values::Numbers(numbers) => numbers.get(row).is_nan(),
            Values::Codes(codes) => codes[row] == MISSING,
        }
    }

    /// The exact values as bytes, in pieces of at most [`CHUNK_ROWS`] rows: a tag, then little-endian values as narrow as they can be.
    pub fn encode(&self) -> Vec<Vec<u8>> {
        match &self.values {
            Values::Numbers(numbers) => numbers.chunks().iter().map(Chunk::to_bytes).collect(),
            Values::Codes(codes) => codes
                .chunks(CHUNK_ROWS)
                .map(|codes| codes_to_bytes(codes, self.categories().len()))
                .collect(),
        }
    }

    /// Reads what [`Column::encode`] wrote. The description's statistics are taken as they are; all else is checked.
    ///
    /// Errors: chunks of a wrong length, number or tag; codes without a category; infinite numbers; truth values other than 0 and 1; categories that are
    /// not sorted; rows or missing values that are not as many as described.
    pub fn decode(
        description: ColumnDescription,
        chunks: impl Iterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, Error> {
        match Values::read(&description, chunks) {
            Ok(values) => Ok(Self {
                description,
                values,
            }),
            Err(detail) => Err(Error::Damaged {
                name: description.name,
                detail,
            }),
        }
    }
}

impl Values {
    fn read(
        description: &ColumnDescription,
        chunks: impl Iterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, String> {
        let categories = &description.categories;
        if !categories.is_sorted_by(|a, b| a < b) {
            return Err("the categories must be sorted and differ".to_owned());
        }
        let mut left = description.rows;
        let mut count = |rows: usize| {
            if rows != left.min(CHUNK_ROWS) || rows == 0 {
                return Err(format!(
                    "a chunk must hold {} rows, got {rows}",
                    left.min(CHUNK_ROWS)
                ));
            }
            left -= rows;
            Ok(())
        };
        let (values, missing) = match description.kind {
            Kind::Numeric | Kind::Boolean | Kind::Timestamp => {
                if !categories.is_empty() {
                    return Err("only a categorical column may have categories".to_owned());
                }
                let mut read = Vec::new();
                for bytes in chunks {
                    let chunk = Chunk::from_bytes(bytes.as_ref())?;
                    count(chunk.rows())?;
                    read.push(chunk);
                }
                let numbers = Numbers::from_chunks(read);
                let missing = numbers.missing();
                let truth = |value: f64| value.is_nan() || value == 0.0 || value == 1.0;
                if description.kind == Kind::Boolean && !numbers.iter().all(truth) {
                    return Err("a truth value must be 0 or 1".to_owned());
                }
                (Self::Numbers(numbers), missing)
            }
            Kind::Categorical => {
                let mut read = Vec::new();
                for bytes in chunks {
                    let codes = codes_from_bytes(bytes.as_ref(), categories.len())?;
                    count(codes.len())?;
                    read.extend(codes);
                }
                let missing = read.iter().filter(|&&code| code == MISSING).count();
                (Self::Codes(read), missing)
            }
        };
        if left > 0 {
            return Err(format!(
                "{} rows are expected, and {left} of them are absent",
                description.rows
            ));
        }
        if missing != description.missing {
            return Err(format!(
                "{} missing values are expected, got {missing}",
                description.missing
            ));
        }
        Ok(values)
    }
}

struct Moments {
    min: f64,
    max: f64,
    mean: f64,
    std: f64,
}

impl Moments {
    /// The moments of the `count` present numbers; `None` if there are none.
    fn of(numbers: &Numbers, count: usize) -> Option<Self> {
        if count == 0 {
            return None;
        }
        let present = || numbers.iter().filter(|value| !value.is_nan());
        let min = present().fold(f64::INFINITY, f64::min);
        let max = present().fold(f64::NEG_INFINITY, f64::max);
        let largest = min.abs().max(max.abs());
        // Squares and sums of such numbers would leave float64's range, although mean and std do not.
        let scale = if largest == 0.0 || (1e-120..1e120).contains(&largest) {
            1.0
        } else {
            largest
        };
        let mean = (present().map(|value| value / scale).sum::<f64>() / count as f64)
            .clamp(min / scale, max / scale);
        let variance = present()
            .map(|value| (value / scale - mean).powi(2))
            .sum::<f64>()
            / count as f64;
        Some(Self {
            min,
            max,
            mean: mean * scale,
            std: variance.sqrt() * scale,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::data::{Column, Kind, Table};

    #[test]
    fn truth_values_and_moments_are_numbers_of_another_kind() {
        let truth = Column::boolean("x", [Some(true), None, Some(false)]);
        let moments = Column::timestamp("x", [1.8e9, f64::NAN]).expect("finite");
        assert_eq!(
            (truth.kind(), moments.kind()),
            (Kind::Boolean, Kind::Timestamp)
        );
        for (column, expected) in [
            (&truth, &[1.0, f64::NAN, 0.0][..]),
            (&moments, &[1.8e9, f64::NAN]),
        ] {
            let numbers = Column::numeric("x", expected.iter().copied()).expect("finite");
            let bits = |column: &Column| column.numbers().map(|numbers| format!("{numbers:?}"));
            assert_eq!(bits(column), bits(&numbers));
            let description = serde_json::to_string(column.description()).expect("JSON");
            let description = serde_json::from_str(&description).expect("a description");
            let read = Column::decode(description, column.encode().iter()).expect("sound bytes");
            assert_eq!(&read, column);
            let digest =
                |column: &Column| Table::new(vec![column.clone()]).expect("a table").digest();
            assert_ne!(digest(column), digest(&numbers));
        }
        let two = Column::numeric("x", [2.0]).expect("finite").encode();
        let description = Column::boolean("x", [Some(true)]).description().clone();
        let error = Column::decode(description, two.iter()).expect_err("2 is no truth value");
        assert_eq!(
            error.to_string(),
            "the stored values of column \"x\" are damaged: a truth value must be 0 or 1"
        );
    }
}
