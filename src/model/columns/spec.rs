//! What is done to the columns of a table, as it is declared and as it is shown once everything is filled in.

use serde::{Deserialize, Serialize};

use crate::data::Kind;
use crate::model::{choice, given};

/// What a column is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The network reads it.
    #[default]
    Feature,
    /// The network is to predict it.
    Target,
    /// Neither.
    Ignore,
}

/// How the numbers of a column are scaled, by the rows that are trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// They stay as they are.
    None,
    /// x′ = (x − mean) / std, with the standard deviation of a population: scikit-learn's `StandardScaler`.
    Standard,
    /// x′ = (x − min) / (max − min): scikit-learn's `MinMaxScaler`.
    Minmax,
    /// x′ = (x − median) / (third quartile − first quartile): scikit-learn's `RobustScaler`.
    Robust,
    /// x′ = Φ⁻¹(the share of the rows below x): scikit-learn's `QuantileTransformer` with `output_distribution="normal"` and all
    /// rows.
    QuantileNormal,
    /// x′ = (s − mean of s) / std of s of s = sign(x) ln(1 + |x|), which numbers of either sign have.
    Log,
}

/// What stands in the place of a missing value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Impute {
    /// Nothing: a row that misses the value is refused.
    None,
    /// The mean of the rows that are trained on.
    Mean,
    /// Their median.
    Median,
    /// The value that most of them have; of several, the first in order.
    MostFrequent,
    /// This value.
    Constant {
        /// A number, or a category.
        value: Constant,
    },
}

/// A value that stands in the place of missing ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Constant {
    /// Of a column of numbers.
    Number(f64),
    /// Of a boolean column.
    Boolean(bool),
    /// Of a column of categories.
    Word(String),
}

/// What the network reads of a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Encode {
    /// One input for each category, 1 of the one that a row has and 0 of the others: scikit-learn's `OneHotEncoder`.
    OneHot,
    /// The place of the category among all, from 0: scikit-learn's `OrdinalEncoder`.
    Ordinal,
    /// One input for each bucket, 1 of the one into which the category falls: the first eight bytes of SHA-256 of its UTF-8, as
    /// a little-endian number, modulo the buckets. It needs no list of categories.
    Hashed {
        /// How many buckets, in [2, 65536].
        buckets: u64,
    },
    /// A vector that the network learns, one for each category: PyTorch's `nn.Embedding`. The network's input is the place of
    /// the category among all, from 0, or −1 for an unknown one, whose vector is 0.
    Embedding {
        /// Numbers of a vector, in [1, 1024]; left out, min(50, ⌈categories / 2⌉), the rule of fast.ai's course (Howard, 2018).
        #[serde(
            default,
            deserialize_with = "given",
            skip_serializing_if = "Option::is_none"
        )]
        dimensions: Option<u64>,
    },
}

/// What becomes of a category that was not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// The row is refused.
    Error,
    /// Its inputs are all 0.
    Zeros,
}

/// A number that is made of a point in time, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Seconds since 1970.
    Seconds,
    /// The year.
    Year,
    /// 1 to 12.
    Month,
    /// Of the month, 1 to 31.
    Day,
    /// Of the week, 0 (Monday) to 6.
    Weekday,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
}

impl Part {
    /// The parts that a column of times becomes where none are named.
    pub const DEFAULT: [Self; 5] = [
        Self::Year,
        Self::Month,
        Self::Day,
        Self::Weekday,
        Self::Hour,
    ];
}

/// A column: what it holds, what it is for, and what is done to it.
///
/// As declared, what is left out goes by the table or by the kind; as shown, everything that applies stands there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSpec {
    /// Its name in the table.
    pub name: String,
    /// What it holds; left out, what it holds in the model's dataset.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub kind: Option<Kind>,
    /// What the dataset holds in its place, where that is something else: numbers or truth values that are categories.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub held: Option<Kind>,
    /// What it is for.
    #[serde(default)]
    pub role: Role,
    /// How its numbers are scaled.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub scale: Option<Scale>,
    /// What stands in the place of missing values.
    #[serde(
        default,
        deserialize_with = "choice::given",
        serialize_with = "choice::optional::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub impute: Option<Impute>,
    /// Whether another input says, by 1, that the value is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub indicator: bool,
    /// What the network reads of its categories.
    #[serde(
        default,
        deserialize_with = "choice::given",
        serialize_with = "choice::optional::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub encode: Option<Encode>,
    /// What becomes of a category that is not among them.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub unknown: Option<Unknown>,
    /// Its categories, in order; left out, those of the model's dataset.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub categories: Option<Vec<String>>,
    /// What a point in time becomes.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub parts: Option<Vec<Part>>,
}

impl Scale {
    /// The word for it in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Standard => "standard",
            Self::Minmax => "minmax",
            Self::Robust => "robust",
            Self::QuantileNormal => "quantile_normal",
            Self::Log => "log",
        }
    }

    /// Whether it is x′ = (x − offset) / scale, which can be undone and has one slope.
    pub fn is_affine(self) -> bool {
        match self {
            Self::None | Self::Standard | Self::Minmax | Self::Robust => true,
            Self::QuantileNormal | Self::Log => false,
        }
    }
}

impl ColumnSpec {
    /// A column of which only the name and what it is for are said.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self {
            name: name.into(),
            kind: None,
            held: None,
            role,
            scale: None,
            impute: None,
            indicator: false,
            encode: None,
            unknown: None,
            categories: None,
            parts: None,
        }
    }

    /// Whether it was filled in, as far as its readers rely on it: bytes from outside may say anything.
    pub(crate) fn is_filled_in(&self) -> bool {
        let has_buckets = self.encode != Some(Encode::Hashed { buckets: 0 });
        let is_affine = self.scale.is_none_or(Scale::is_affine);
        has_buckets
            && self
                .kind
                .is_some_and(|kind| is_affine || kind != Kind::Timestamp)
    }

    /// What it holds.
    ///
    /// Panics: it has not been filled in, the caller's bug.
    pub fn kind(&self) -> Kind {
        self.kind.expect("a column that is filled in has a kind")
    }

    /// Its categories; none of a column that has no list of them.
    pub fn categories(&self) -> &[String] {
        self.categories.as_deref().unwrap_or_default()
    }

    /// Whether rows may miss its value.
    pub fn imputes(&self) -> bool {
        !matches!(self.impute, None | Some(Impute::None))
    }

    /// Numbers of the vector that layer 1 reads of it, where its categories are embedded.
    pub fn dimensions(&self) -> Option<usize> {
        match self.encode {
            Some(Encode::Embedding { dimensions }) if self.role == Role::Feature => {
                // Bytes from outside may say none, or 0: their tensors do not fit then.
                Some(dimensions.unwrap_or_default().max(1) as usize)
            }
            _ => None,
        }
    }

    /// Numbers that layer 1 reads of it: its width, with a vector in the place of a category that is embedded.
    pub fn reads(&self) -> usize {
        let more = self.dimensions().map_or(0, |dimensions| dimensions - 1);
        self.width().saturating_add(more)
    }

    /// Inputs of the network that are made of it: 0 where it is no feature.
    pub fn width(&self) -> usize {
        if self.role != Role::Feature {
            return 0;
        }
        let made = match (self.kind(), self.encode) {
            (Kind::Numeric | Kind::Boolean, _)
            | (Kind::Categorical, Some(Encode::Ordinal | Encode::Embedding { .. })) => 1,
            (Kind::Timestamp, _) => self.parts.as_ref().map_or(0, Vec::len),
            (Kind::Categorical, Some(Encode::Hashed { buckets })) => buckets as usize,
            (Kind::Categorical, Some(Encode::OneHot) | None) => self.categories().len(),
        };
        // Bytes from outside may say any number of buckets.
        made.saturating_add(usize::from(self.indicator))
    }
}
