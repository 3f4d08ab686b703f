//! A column: its values, what is known of them without reading them, and their bytes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::data::Error;
use crate::data::moments::Moments;
use crate::data::numbers::{CHUNK_ROWS, Chunk, Numbers, check_codes, codes_from_bytes};

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
    /// The different words; empty for numbers. Sorted bytewise, but for a description in the store, where a code stands
    /// for a place among them: [`ColumnDescription::sort`].
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

impl ColumnDescription {
    /// Describes a column without rows.
    pub(super) fn new(name: String, kind: Kind) -> Self {
        Self {
            name,
            kind,
            rows: 0,
            missing: 0,
            categories: Vec::new(),
            first_word: None,
            min: None,
            max: None,
            mean: None,
            std: None,
        }
    }

    /// Puts the categories, which are in the order of their codes, into their own. The place that each code gets, where it
    /// is another than the code.
    pub fn sort(&mut self) -> Option<Vec<u32>> {
        if self.categories.is_sorted() {
            return None;
        }
        let mut sorted: Vec<(String, u32)> = std::mem::take(&mut self.categories)
            .into_iter()
            .zip(0..)
            .collect();
        sorted.sort_unstable();
        let mut places = vec![0; sorted.len()];
        for ((_, code), place) in sorted.iter().zip(0..) {
            places[*code as usize] = place;
        }
        self.categories = sorted.into_iter().map(|(word, _)| word).collect();
        Some(places)
    }

    /// The moments of the present numbers, where there are any.
    pub(super) fn moments(&self) -> Option<Moments> {
        Some(Moments {
            count: self.rows - self.missing,
            min: self.min?,
            max: self.max?,
            mean: self.mean?,
            std: self.std?,
        })
    }

    /// Describes by the moments of the present numbers.
    pub(super) fn set_moments(&mut self, moments: Option<Moments>) {
        self.min = moments.map(|moments| moments.min);
        self.max = moments.map(|moments| moments.max);
        self.mean = moments.map(|moments| moments.mean);
        self.std = moments.map(|moments| moments.std);
    }
}

/// The first cell of a column that is not a number.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct FirstWord {
    /// The cell's line in the text; the header of CSV is line 1.
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

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// None.
    Missing,
    /// A number.
    Number(f64),
    /// A word.
    Word(&'a str),
    /// A truth value.
    Boolean(bool),
    /// A moment in seconds since 1970-01-01T00:00:00Z.
    Timestamp(f64),
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
        Self::from_codes(name.into(), categories, codes)
    }

    /// Takes collected numbers, which mean what `kind` says, and describes them.
    pub(super) fn from_numbers(name: String, kind: Kind, mut numbers: Numbers) -> Self {
        numbers.seal();
        let mut description = ColumnDescription::new(name, kind);
        description.rows = numbers.rows();
        description.missing = numbers.missing();
        description.set_moments(Moments::of(&numbers.iter()));
        Self {
            description,
            values: Values::Numbers(numbers),
        }
    }

    /// Takes codes into sorted categories.
    fn from_codes(name: String, categories: Vec<String>, codes: Vec<u32>) -> Self {
        let mut description = ColumnDescription::new(name, Kind::Categorical);
        description.rows = codes.len();
        description.missing = missing(&codes);
        description.categories = categories;
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

    /// The value at `row`.
    ///
    /// Panics: `row` is not below [`Column::rows`], the caller's bug.
    pub fn value(&self, row: usize) -> Value<'_> {
        match &self.values {
            Values::Codes(codes) => match codes[row] {
                MISSING => Value::Missing,
                code => Value::Word(&self.description.categories[code as usize]),
            },
            Values::Numbers(numbers) => match (numbers.get(row), self.kind()) {
                (number, _) if number.is_nan() => Value::Missing,
                (number, Kind::Boolean) => Value::Boolean(number == 1.0),
                (number, Kind::Timestamp) => Value::Timestamp(number),
                (number, Kind::Numeric | Kind::Categorical) => Value::Number(number),
            },
        }
    }

    /// Reads what was handed out while a table was read: the first `description.rows` of the rows in the chunks. The
    /// description's categories are in the order of their codes, those of the column in their own; its statistics are
    /// taken as they are, and all else is checked.
    ///
    /// Errors: chunks of a wrong length, number or tag; codes without a category; infinite numbers; truth values other
    /// than 0 and 1; categories of numbers, or two that are the same; rows or missing values that are not as many as
    /// described.
    pub fn decode(
        mut description: ColumnDescription,
        chunks: impl Iterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, Error> {
        let places = description.sort();
        let values = Values::read(&description, places.as_deref(), chunks);
        let values = values.and_then(|(values, missing)| {
            if missing == description.missing {
                return Ok(values);
            }
            let expected = description.missing;
            Err(format!(
                "{expected} missing values are expected, got {missing}"
            ))
        });
        match values {
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

    /// Reads the first `rows` of some chunks of a column, which are described by themselves, without statistics. The description
    /// is one that was sorted, with the places that this gave.
    ///
    /// Errors: as of [`Column::decode`].
    pub fn decode_part(
        (mut description, places): (ColumnDescription, Option<&[u32]>),
        rows: usize,
        chunks: impl Iterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, Error> {
        description.rows = rows;
        description.set_moments(None);
        match Values::read(&description, places, chunks) {
            Ok((values, missing)) => {
                description.missing = missing;
                Ok(Self {
                    description,
                    values,
                })
            }
            Err(detail) => Err(Error::Damaged {
                name: description.name,
                detail,
            }),
        }
    }
}

impl Values {
    /// The values of a description with sorted categories, and how many of them are missing. `places` are those among the
    /// categories of each code, where they are other than the codes.
    fn read(
        description: &ColumnDescription,
        places: Option<&[u32]>,
        chunks: impl Iterator<Item = impl AsRef<[u8]>>,
    ) -> Result<(Self, usize), String> {
        let categories = &description.categories;
        if !categories.is_sorted_by(|a, b| a < b) {
            return Err("the categories must differ".to_owned());
        }
        let mut left = description.rows;
        // How many of a chunk's rows are wanted: all, unless there are later ones than those described.
        let mut wanted = |rows: usize| {
            let wanted = left.min(CHUNK_ROWS);
            if rows < wanted || rows > CHUNK_ROWS || wanted == 0 {
                return Err(format!("a chunk must hold {wanted} rows, got {rows}"));
            }
            left -= wanted;
            Ok(wanted)
        };
        let (values, missing) = match description.kind {
            Kind::Numeric | Kind::Boolean | Kind::Timestamp => {
                if !categories.is_empty() {
                    return Err("only a categorical column may have categories".to_owned());
                }
                let mut read = Vec::new();
                for bytes in chunks {
                    let mut chunk = Chunk::from_bytes(bytes.as_ref())?;
                    chunk.truncate(wanted(chunk.rows())?);
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
                    // Codes beyond the categories may stand in the rows that are not wanted.
                    let mut codes = codes_from_bytes(bytes.as_ref())?;
                    codes.truncate(wanted(codes.len())?);
                    check_codes(&codes, categories.len())?;
                    read.extend(codes);
                }
                if let Some(places) = places {
                    for code in read.iter_mut().filter(|code| **code != MISSING) {
                        *code = places[*code as usize];
                    }
                }
                let missing = missing(&read);
                (Self::Codes(read), missing)
            }
        };
        if left > 0 {
            return Err(format!(
                "{} rows are expected, and {left} of them are absent",
                description.rows
            ));
        }
        Ok((values, missing))
    }
}

fn missing(codes: &[u32]) -> usize {
    codes.iter().filter(|&&code| code == MISSING).count()
}
