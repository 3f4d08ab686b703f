//! Columns filled in: what was declared of each, what the table says of it, and what goes by its kind.

use std::collections::{BTreeMap, HashSet};

use crate::data::{ColumnDescription, Kind, parse_timestamp};
use crate::model::Violations;
use crate::model::columns::encoder::SECONDS;
use crate::model::columns::spec::{
    ColumnSpec, Constant, Encode, Impute, Part, Role, Scale, Unknown,
};

/// A dataset as a declaration sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableView {
    /// Its columns.
    pub columns: Vec<ColumnDescription>,
    /// The words of columns that are declared categorical and hold numbers or truth values.
    pub words: BTreeMap<String, Vec<String>>,
}

/// Categories up to which a column becomes one input for each of them, where nothing is declared.
const MOST_ONE_HOT: usize = 50;
/// The buckets of a column with more, where nothing is declared.
const BUCKETS: u64 = 64;
/// Rows from which a column of words that all differ is taken for a name of the row.
const LEAST_ROWS: usize = 20;
/// What the number of buckets may be.
const BUCKET_RANGE: std::ops::RangeInclusive<u64> = 2..=65_536;

/// What the dimensions of an embedding may be.
const DIMENSION_RANGE: std::ops::RangeInclusive<u64> = 1..=1024;
/// Those of a column with many categories, where nothing is declared.
const USUAL_DIMENSIONS: u64 = 50;

/// A column on its way to being filled in.
pub(super) struct Filling<'a> {
    /// What was declared of it.
    pub(super) declared: ColumnSpec,
    /// Where that stands; none where nothing was declared.
    pub(super) pointer: Option<String>,
    /// What the table says of it.
    pub(super) description: Option<&'a ColumnDescription>,
    /// The largest number of the model's dtype.
    pub(super) most: f64,
    /// Its words, where it is categorical in the model and not in the table.
    pub(super) words: Option<&'a Vec<String>>,
}

impl Filling<'_> {
    /// The column with everything filled in that applies to it; `scales` says whether numeric targets are scaled.
    pub(super) fn fill(self, scales: bool, violations: &mut Violations) -> ColumnSpec {
        let before = violations.len();
        let Some(kind) = self.kind(violations) else {
            return self.declared;
        };
        let held = self.description.map_or(self.declared.held, |description| {
            Some(description.kind).filter(|&held| held != kind)
        });
        let mut column = ColumnSpec {
            kind: Some(kind),
            held,
            ..self.declared.clone()
        };
        self.check_what_applies(kind, violations);
        if violations.len() > before {
            return column;
        }
        match column.role {
            Role::Feature => self.fill_feature(&mut column, kind, violations),
            Role::Target => self.fill_target(&mut column, kind, scales, violations),
            Role::Ignore => {}
        }
        column
    }

    fn note(&self, field: &str, detail: impl Into<String>, violations: &mut Violations) {
        let pointer = self.pointer.as_deref().unwrap_or("/dataset");
        let pointer = match field {
            "" => pointer.to_owned(),
            field => format!("{pointer}/{field}"),
        };
        violations.add(pointer, detail);
    }

    /// What it holds: as declared, where the table can be read so.
    fn kind(&self, violations: &mut Violations) -> Option<Kind> {
        let held = self.description.map(|description| description.kind);
        match (self.declared.kind, held) {
            (None, None) => {
                let detail = "must be given where there is no dataset: numeric, categorical, boolean or timestamp";
                self.note("kind", detail, violations);
                None
            }
            (Some(declared), Some(held)) if !goes_with(declared, held) => {
                let (declared, held) = (name_of(declared), name_of(held));
                let detail = format!("must be {held}, as the dataset has it, got {declared}");
                self.note("kind", detail, violations);
                None
            }
            (declared, held) => declared.or(held),
        }
    }

    /// Notes what was declared and is not for such a column.
    fn check_what_applies(&self, kind: Kind, violations: &mut Violations) {
        let column = &self.declared;
        let is_feature = column.role == Role::Feature;
        let is_categorical = kind == Kind::Categorical;
        let is_listed = is_categorical && !matches!(column.encode, Some(Encode::Hashed { .. }));
        let is_number = !is_categorical || column.encode == Some(Encode::Ordinal);
        let is_scaled =
            (is_feature && is_number) || (column.role == Role::Target && kind == Kind::Numeric);
        let applies = [
            ("scale", column.scale.is_some(), is_scaled, "numbers"),
            ("impute", column.impute.is_some(), is_feature, "a feature"),
            ("indicator", column.indicator, is_feature, "a feature"),
            (
                "encode",
                column.encode.is_some(),
                is_feature && is_categorical,
                "a categorical feature",
            ),
            (
                "unknown",
                column.unknown.is_some(),
                is_feature && is_listed,
                "a categorical feature that is not hashed",
            ),
            (
                "categories",
                column.categories.is_some(),
                is_listed && column.role != Role::Ignore,
                "a categorical column that is not hashed",
            ),
            (
                "parts",
                column.parts.is_some(),
                is_feature && kind == Kind::Timestamp,
                "a timestamp feature",
            ),
        ];
        for (field, given, fits, whose) in applies {
            if given && !fits {
                let detail = format!(
                    "must be left out: it is for {whose}, and column {:?} is none",
                    column.name
                );
                self.note(field, detail, violations);
            }
        }
        let must_be_affine = column.role == Role::Target || kind == Kind::Timestamp;
        if let Some(scale) = column
            .scale
            .filter(|scale| is_scaled && must_be_affine && !scale.is_affine())
        {
            let whose = if column.role == Role::Target {
                "a target"
            } else {
                "parts of a time"
            };
            let detail = format!(
                "must be none, standard, minmax or robust for {whose}, got {}",
                scale.name()
            );
            self.note("scale", detail, violations);
        }
        if let (Some(impute), true) = (&column.impute, is_feature) {
            self.check_impute(impute, kind, violations);
        }
        let sized = match column.encode {
            Some(Encode::Hashed { buckets }) => Some(("encode/buckets", buckets, BUCKET_RANGE)),
            Some(Encode::Embedding { dimensions }) => {
                dimensions.map(|got| ("encode/dimensions", got, DIMENSION_RANGE))
            }
            Some(Encode::OneHot | Encode::Ordinal) | None => None,
        };
        if let Some((field, got, range)) = sized.filter(|(_, got, range)| !range.contains(got)) {
            let (least, most) = range.into_inner();
            let detail = format!("must be in [{least}, {most}], got {got}");
            self.note(field, detail, violations);
        }
        if let Some(parts) = &column.parts {
            let repeated = parts
                .iter()
                .enumerate()
                .any(|(place, part)| parts[..place].contains(part));
            if parts.is_empty() || repeated {
                self.note(
                    "parts",
                    "must name at least one part, and each once",
                    violations,
                );
            }
        }
    }

    fn check_impute(&self, impute: &Impute, kind: Kind, violations: &mut Violations) {
        let has_order = matches!(kind, Kind::Numeric | Kind::Timestamp);
        let fits = match impute {
            Impute::None | Impute::MostFrequent => true,
            Impute::Mean | Impute::Median => has_order,
            Impute::Constant { value } => match (kind, value) {
                (Kind::Numeric, Constant::Number(number)) => number.abs() <= self.most,
                (Kind::Timestamp, Constant::Number(seconds)) => SECONDS.contains(seconds),
                (Kind::Boolean, Constant::Boolean(_)) | (Kind::Categorical, Constant::Word(_)) => {
                    true
                }
                (Kind::Timestamp, Constant::Word(word)) => parse_timestamp(word).is_some(),
                _ => false,
            },
        };
        if !fits {
            let accepted = match kind {
                Kind::Numeric => {
                    "none, mean, median, most_frequent or a constant number that fits the dtype"
                }
                Kind::Timestamp => {
                    "none, mean, median, most_frequent or a constant time of the years 0 to 9999"
                }
                Kind::Boolean => "none, most_frequent or a constant true or false",
                Kind::Categorical => "none, most_frequent or a constant category",
            };
            let detail = format!("must be {accepted} for a {} column", name_of(kind));
            self.note("impute", detail, violations);
        }
    }

    fn fill_feature(&self, column: &mut ColumnSpec, kind: Kind, violations: &mut Violations) {
        let misses = self
            .description
            .is_some_and(|description| description.missing > 0);
        let usual = match kind {
            _ if !misses => Impute::None,
            Kind::Numeric | Kind::Timestamp => Impute::Median,
            Kind::Boolean | Kind::Categorical => Impute::MostFrequent,
        };
        column.impute.get_or_insert(usual);
        match kind {
            Kind::Numeric => {
                column.scale.get_or_insert(Scale::Standard);
            }
            Kind::Boolean => {
                column.scale.get_or_insert(Scale::None);
            }
            Kind::Timestamp => {
                column.scale.get_or_insert(Scale::Standard);
                column.parts.get_or_insert_with(|| Part::DEFAULT.to_vec());
            }
            Kind::Categorical => self.fill_categories(column, violations),
        }
        if column.indicator && !column.imputes() {
            let detail = "must be false where impute is none: no row that misses the value is read";
            self.note("indicator", detail, violations);
        }
    }

    fn fill_categories(&self, column: &mut ColumnSpec, violations: &mut Violations) {
        let found = self.found();
        let count = column
            .categories
            .as_ref()
            .or(found.as_ref())
            .map_or(0, Vec::len);
        let is_listed = column.categories.is_some() || column.unknown.is_some();
        let usual = if count > MOST_ONE_HOT && !is_listed {
            Encode::Hashed { buckets: BUCKETS }
        } else {
            Encode::OneHot
        };
        let encode = *column.encode.get_or_insert(usual);
        if let Encode::Hashed { .. } = encode {
            column.categories = None;
            return;
        }
        if encode == Encode::Ordinal {
            column.scale.get_or_insert(Scale::None);
        }
        if let Some(Encode::Embedding { dimensions }) = &mut column.encode {
            let usual = (count as u64).div_ceil(2).clamp(1, USUAL_DIMENSIONS);
            dimensions.get_or_insert(usual);
        }
        column.unknown.get_or_insert(Unknown::Error);
        if encode == Encode::Ordinal && column.unknown == Some(Unknown::Zeros) {
            let detail = "must be error where encode is ordinal: 0 is the first category";
            self.note("unknown", detail, violations);
        }
        self.fill_list(column, found, violations);
        if let Some(Impute::Constant {
            value: Constant::Word(word),
        }) = &column.impute
            && !column.categories().contains(word)
        {
            let detail = format!("must be one of the categories, got {word:?}");
            self.note("impute/value", detail, violations);
        }
    }

    fn fill_target(
        &self,
        column: &mut ColumnSpec,
        kind: Kind,
        scales: bool,
        violations: &mut Violations,
    ) {
        match kind {
            Kind::Numeric => {
                let usual = if scales { Scale::Standard } else { Scale::None };
                column.scale.get_or_insert(usual);
            }
            Kind::Categorical => self.fill_list(column, self.found(), violations),
            Kind::Boolean => {}
            Kind::Timestamp => {
                let detail = format!("must not be a target: column {:?} holds times", column.name);
                self.note("", detail, violations);
            }
        }
    }

    /// Lists the categories: those declared, or those found.
    fn fill_list(
        &self,
        column: &mut ColumnSpec,
        found: Option<Vec<String>>,
        violations: &mut Violations,
    ) {
        let name = &column.name;
        match column.categories.as_ref().or(found.as_ref()) {
            None => {
                let detail = "must be given where there is no dataset, unless encode is hashed";
                self.note("categories", detail, violations);
            }
            Some(categories) if categories.is_empty() => {
                let detail =
                    format!("must have at least one category, and column {name:?} has none");
                self.note("categories", detail, violations);
            }
            Some(categories) => {
                let mut seen = HashSet::new();
                let twice = categories.iter().find(|category| !seen.insert(*category));
                if let Some(twice) = twice {
                    let detail = format!("must differ, got {twice:?} twice");
                    self.note("categories", detail, violations);
                }
            }
        }
        column.categories = column.categories.take().or(found);
    }

    /// The categories that the table has, where there is a table.
    fn found(&self) -> Option<Vec<String>> {
        let description = self.description?;
        Some(match description.kind {
            Kind::Categorical => description.categories.clone(),
            Kind::Numeric | Kind::Boolean | Kind::Timestamp => {
                self.words.cloned().unwrap_or_default()
            }
        })
    }
}

/// What a column of the table is for where nothing is declared: a feature, or nothing where it says nothing.
pub(super) fn usual_role(description: &ColumnDescription) -> Role {
    let present = description.rows - description.missing;
    let is_constant = match description.kind {
        Kind::Categorical => description.categories.len() <= 1,
        Kind::Numeric | Kind::Boolean | Kind::Timestamp => description.min == description.max,
    };
    let names_the_row = description.kind == Kind::Categorical
        && present >= LEAST_ROWS
        && description.categories.len() == present;
    if present == 0 || is_constant || names_the_row {
        Role::Ignore
    } else {
        Role::Feature
    }
}

/// Whether a column that holds one kind can be read as another.
pub(crate) fn goes_with(wanted: Kind, held: Kind) -> bool {
    wanted == held || (wanted == Kind::Categorical && held != Kind::Timestamp)
}

/// The word for a kind in the API.
pub(crate) fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Numeric => "numeric",
        Kind::Categorical => "categorical",
        Kind::Boolean => "boolean",
        Kind::Timestamp => "timestamp",
    }
}
