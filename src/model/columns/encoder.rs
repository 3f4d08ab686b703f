//! Encoder: one feature column, from the raw value of a row to the numbers that the network reads.
//!
//! Every value is a number on the way: itself, seconds since 1970, 0 or 1, the place of its category, or its bucket; NaN where
//! it is missing and −1 where the category is unknown. Whoever has such numbers, from a table or from a request, comes to the
//! same inputs by the same code.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::data::{Kind, parse_boolean, parse_timestamp};
use crate::model::columns::cell::Cell;
use crate::model::columns::fit::{
    Affine, logarithm, mean, median, most_frequent, normalized, quantiles,
};
use crate::model::columns::spec::{ColumnSpec, Constant, Encode, Impute, Part, Scale, Unknown};
use crate::model::known;

/// The value of a category that is not known.
const UNKNOWN: f64 = -1.0;
/// Seconds since 1970 that have a date of four digits.
pub(super) const SECONDS: std::ops::RangeInclusive<f64> = -62_167_219_200.0..=253_402_300_799.0;

/// A feature column and, once fitted, its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    spec: ColumnSpec,
    places: HashMap<String, u32>,
    fitted: Option<Fitted>,
}

/// What was learned of a column in the rows that were trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The value that stands for a missing one; NaN where none does.
    pub impute: f64,
    /// The scaling of each number that is scaled: one, or one for each part of a time.
    pub scaling: Vec<Affine>,
    /// Of `quantile_normal`, the quantiles.
    pub quantiles: Vec<f64>,
}

impl Encoder {
    /// The encoder of a feature column that is filled in, with what was fitted, where that is known.
    pub fn new(spec: ColumnSpec, fitted: Option<Fitted>) -> Self {
        let places = spec.categories().iter().cloned().zip(0..).collect();
        Self {
            spec,
            places,
            fitted,
        }
    }

    /// The column as declared.
    pub fn spec(&self) -> &ColumnSpec {
        &self.spec
    }

    /// Numbers that the network reads of the column.
    pub fn width(&self) -> usize {
        self.spec.width()
    }

    /// What was fitted; none before the first job.
    pub fn fitted(&self) -> Option<&Fitted> {
        self.fitted.as_ref()
    }

    /// The same column fitted to its values in the training rows, in their order.
    ///
    /// Missing values are replaced first, and what replaces them counts in the scaling, as in a pipeline of scikit-learn's
    /// `SimpleImputer` and scaler. Of a column that misses every value, 0 stands for them, or the first category.
    #[must_use]
    pub fn fit(&self, values: &[f64]) -> Self {
        let present = values.iter().copied().filter(|value| !value.is_nan());
        let present: Vec<f64> = present.collect();
        let impute = match &self.spec.impute {
            None | Some(Impute::None) => f64::NAN,
            Some(Impute::Mean) => mean(&present),
            Some(Impute::Median) => median(&present),
            Some(Impute::MostFrequent) => most_frequent(&present),
            Some(Impute::Constant { value }) => self.constant(value),
        };
        drop(present);
        let whole = |&value: &f64| if value.is_nan() { impute } else { value };
        let values: Vec<f64> = values.iter().map(whole).collect();
        let (mut scaling, mut learned) = (Vec::new(), Vec::new());
        let scale = self.spec.scale.unwrap_or(Scale::None);
        for part in self.numbers() {
            let numbers: Vec<f64> = values.iter().map(|&value| part.of(value)).collect();
            scaling.push(Affine::fitted(scale, &numbers));
        }
        if scale == Scale::QuantileNormal {
            learned = quantiles(&values);
        }
        let fitted = Fitted {
            impute,
            scaling,
            quantiles: learned,
        };
        Self {
            fitted: Some(fitted),
            ..self.clone()
        }
    }

    /// Writes the inputs that a value becomes; whether each fits the type.
    ///
    /// Shapes: `into` (width). Panics: the column is not fitted, or `into` is of another length, the caller's bug.
    pub fn write<T: crate::nn::Scalar>(&self, value: f64, into: &mut [T]) -> bool {
        let fitted = self
            .fitted
            .as_ref()
            .expect("a column is fitted before it is read");
        let is_missing = value.is_nan();
        let value = if is_missing { fitted.impute } else { value };
        let (made, indicator) = into.split_at_mut(self.width() - usize::from(self.spec.indicator));
        if let [place] = indicator {
            *place = if is_missing { T::one() } else { T::zero() };
        }
        if let Some(Encode::Embedding { .. }) = self.spec.encode {
            made[0] = T::from_f64(value);
            return true;
        }
        if self.is_choice() {
            made.fill(T::zero());
            if value >= 0.0 {
                made[value as usize] = T::one();
            }
            return true;
        }
        let mut fits = true;
        for ((place, number), scaling) in made.iter_mut().zip(self.numbers()).zip(&fitted.scaling) {
            let number = number.of(value);
            let scaled = match self.spec.scale {
                Some(Scale::QuantileNormal) => normalized(number, &fitted.quantiles),
                _ => scaling.apply(number),
            };
            *place = T::from_f64(scaled);
            fits &= place.is_finite();
        }
        fits
    }

    /// The slopes of what layer 1 reads by the raw value, where they are what it is divided by; 1 of every other number.
    pub fn slopes(&self) -> Vec<f64> {
        let mut slopes = vec![1.0; self.spec.reads()];
        let affine = self.spec.scale.is_some_and(Scale::is_affine);
        if let (Some(fitted), true) = (&self.fitted, affine) {
            for (slope, scaling) in slopes.iter_mut().zip(&fitted.scaling) {
                *slope = scaling.scale;
            }
        }
        slopes
    }

    /// The value of a cell as its sender wrote it.
    ///
    /// Errors: what it must be, in words.
    pub fn value(&self, cell: &Cell) -> Result<f64, String> {
        match (self.spec.kind(), cell) {
            (_, Cell::Missing) if self.spec.imputes() => Ok(f64::NAN),
            (_, Cell::Missing) => Err(
                "must be given: this model has no value to take in its place (impute is \"none\")"
                    .to_owned(),
            ),
            (Kind::Numeric, Cell::Number(number)) => Ok(*number),
            (Kind::Boolean, Cell::Boolean(flag)) => Ok(f64::from(u8::from(*flag))),
            (Kind::Boolean, Cell::Number(number)) if [0.0, 1.0].contains(number) => Ok(*number),
            (Kind::Boolean, Cell::Word(word)) if parse_boolean(word).is_some() => {
                Ok(f64::from(u8::from(parse_boolean(word) == Some(true))))
            }
            (Kind::Timestamp, Cell::Number(number)) if SECONDS.contains(number) => Ok(*number),
            (Kind::Timestamp, Cell::Word(word)) if parse_timestamp(word).is_some() => {
                Ok(parse_timestamp(word).unwrap_or(f64::NAN))
            }
            (Kind::Categorical, Cell::Word(word)) => self.place(word),
            (Kind::Categorical, Cell::Number(_) | Cell::Boolean(_)) => {
                self.place(&cell.to_string())
            }
            (Kind::Numeric, _) => Err(format!("must be a number, got {cell}")),
            (Kind::Boolean, _) => Err(format!("must be true or false, got {cell}")),
            (Kind::Timestamp, _) => Err(format!(
                "must be a time such as \"2026-01-31T12:00:00Z\", or seconds since 1970, got {cell}"
            )),
        }
    }

    /// The place of a category, or its bucket.
    pub(super) fn place(&self, word: &str) -> Result<f64, String> {
        if let Some(Encode::Hashed { buckets }) = self.spec.encode {
            return Ok(bucket(word, buckets) as f64);
        }
        match (self.places.get(word), self.spec.unknown) {
            (Some(&place), _) => Ok(f64::from(place)),
            (None, Some(Unknown::Zeros)) => Ok(UNKNOWN),
            (None, _) => Err(format!(
                "must be a category that the model knows, or \"unknown\":\"zeros\" must be declared, got {word:?}: {}",
                known(word, self.spec.categories())
            )),
        }
    }

    /// Numbers that are scaled: those that have an offset and a scale.
    pub(crate) fn scaled(&self) -> usize {
        self.numbers().count()
    }

    /// Itself, where what was fitted can have been.
    pub(crate) fn sound(self) -> Option<Self> {
        let fitted = self.fitted.as_ref()?;
        let imputes = fitted.impute.is_finite() || (fitted.impute.is_nan() && !self.spec.imputes());
        let choices = match self.spec.encode {
            Some(Encode::Hashed { buckets }) => buckets as f64,
            _ => self.spec.categories().len() as f64,
        };
        let is_place = !self.is_choice()
            || fitted.impute.is_nan()
            || (UNKNOWN..choices).contains(&fitted.impute);
        let wanted = self.spec.scale == Some(Scale::QuantileNormal);
        let sorted =
            fitted.quantiles.is_sorted() && fitted.quantiles.iter().all(|value| value.is_finite());
        let sound = imputes && is_place && wanted != fitted.quantiles.is_empty() && sorted;
        (sound && fitted.scaling.len() == self.scaled()).then_some(self)
    }

    fn constant(&self, value: &Constant) -> f64 {
        let cell = match value {
            Constant::Number(number) => Cell::Number(*number),
            Constant::Boolean(flag) => Cell::Boolean(*flag),
            Constant::Word(word) => Cell::Word(word.clone()),
        };
        self.value(&cell)
            .expect("a checked spec has a constant of its kind")
    }

    /// Whether a value is the place of one of many, and no number: one of its inputs is 1 and the others 0, or it is embedded.
    fn is_choice(&self) -> bool {
        self.spec.kind() == Kind::Categorical && self.spec.encode != Some(Encode::Ordinal)
    }

    /// The numbers that a value becomes before they are scaled; none where it is a choice.
    fn numbers(&self) -> impl Iterator<Item = Number> {
        let whole = match (self.spec.kind(), self.spec.scale) {
            (Kind::Timestamp, _) => None,
            (Kind::Categorical, _) if self.is_choice() => None,
            (_, Some(Scale::Log)) => Some(Number::Logarithm),
            _ => Some(Number::Itself),
        };
        let parts = self.spec.parts.iter().flatten();
        whole
            .into_iter()
            .chain(parts.map(|&part| Number::Part(part)))
    }
}

/// A number that is made of a value.
#[derive(Clone, Copy)]
enum Number {
    Itself,
    Logarithm,
    Part(Part),
}

impl Number {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Itself => value,
            Self::Logarithm => logarithm(value),
            Self::Part(part) => part_of(part, value),
        }
    }
}

/// A part of seconds since 1970, in UTC.
fn part_of(part: Part, seconds: f64) -> f64 {
    let whole = OffsetDateTime::from_unix_timestamp(seconds.floor() as i64);
    let Ok(time) = whole else {
        return f64::NAN;
    };
    match part {
        Part::Seconds => seconds,
        Part::Year => f64::from(time.year()),
        Part::Month => f64::from(u8::from(time.month())),
        Part::Day => f64::from(time.day()),
        Part::Weekday => f64::from(time.weekday().number_days_from_monday()),
        Part::Hour => f64::from(time.hour()),
        Part::Minute => f64::from(time.minute()),
    }
}

/// The bucket of a category.
fn bucket(word: &str, buckets: u64) -> u64 {
    let digest = Sha256::digest(word);
    let first = digest.first_chunk().expect("SHA-256 has 32 bytes");
    u64::from_le_bytes(*first) % buckets
}
