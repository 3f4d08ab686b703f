//! Batch prediction as a user declares it, and its check against a version and a dataset.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};

use crate::data::{CHUNK_ROWS, ColumnDescription, Kind, TableFormat};
use crate::model::{Header, Violations, check_labels, given, known};
use crate::train::columns::{check_feature, may_be_missing};

/// Cells of the columns that are read at a time, about, but for the rows of one chunk.
const READ: usize = 1 << 20;
/// Chunks of rows that are read at a time, at most.
const MOST_CHUNKS: usize = 4;
/// Cells of the columns that are written at a time, about, but for those of one row.
const WRITTEN: usize = 1 << 20;
/// Columns times row groups of a Parquet file, at most: what a file says of each at its end is kept in memory till then.
const MOST_PIECES: usize = 200_000;

/// What is to be predicted: every row of a dataset.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictionSpec {
    /// The dataset.
    pub dataset: String,
    /// The version; left out, the latest.
    #[serde(default, deserialize_with = "given")]
    pub version: Option<VersionGiven>,
    /// The format of the result.
    #[serde(default)]
    pub format: TableFormat,
    /// How many of the most probable classes are told; left out, all.
    #[serde(default, deserialize_with = "given")]
    pub top_k: Option<u64>,
    /// Columns of the dataset that are written before the answers.
    #[serde(default)]
    pub keep: Vec<String>,
    /// The user's own labels.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// A version as a body names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionGiven {
    /// By its number.
    Number(u64),
    /// By an alias, or `latest`.
    Name(String),
}

/// A batch prediction that fits its version and its dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedPrediction {
    /// The format of the result.
    pub format: TableFormat,
    /// How many of the most probable classes are told; none, all.
    pub top_k: Option<u64>,
    /// The columns of the dataset that the version reads.
    pub features: Vec<String>,
    /// Columns of the dataset that are written before the answers.
    pub keep: Vec<Kept>,
}

/// A column that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
}

impl<'de> Deserialize<'de> for VersionGiven {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VersionVisitor)
    }
}

struct VersionVisitor;

impl Visitor<'_> for VersionVisitor {
    type Value = VersionGiven;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the number of a version, an alias or \"latest\"")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<VersionGiven, E> {
        Ok(VersionGiven::Number(number))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<VersionGiven, E> {
        Ok(VersionGiven::Name(name.to_owned()))
    }
}

impl PredictionSpec {
    /// Notes what is wrong with it, whatever the version and the dataset.
    pub fn check_alone(&self, violations: &mut Violations) {
        check_labels(violations, "", &self.metadata);
        let mut seen = HashSet::new();
        for (place, name) in self.keep.iter().enumerate() {
            if !seen.insert(name) {
                let detail = format!("must be given once, got {name:?} again");
                violations.add(format!("/keep/{place}"), detail);
            }
        }
    }

    /// Notes what is wrong with it for a version.
    pub fn check_version(&self, header: &Header, violations: &mut Violations) {
        if header.features.is_none() {
            let detail = "must be left out, and its rows be sent to /predict: this version was not trained on a dataset with named columns, by which its inputs could be found; train the model on one";
            violations.add("/dataset", detail);
        }
        if let Some(k) = self.top_k {
            header.check_top_k(k, violations);
        }
    }

    /// Notes what is wrong with it for a dataset of so many rows.
    pub fn check_dataset(
        &self,
        (rows, columns): (u64, &[ColumnDescription]),
        header: Option<&Header>,
        violations: &mut Violations,
    ) {
        let by_name: HashMap<&str, &ColumnDescription> = columns
            .iter()
            .map(|column| (column.name.as_str(), column))
            .collect();
        let names: Vec<_> = columns.iter().map(|column| &column.name).collect();
        for (place, name) in self.keep.iter().enumerate() {
            if !by_name.contains_key(name.as_str()) && !violations.is_full() {
                let known = known(name, &names);
                let detail = format!("must be a column of the dataset, got {name:?}: {known}");
                violations.add(format!("/keep/{place}"), detail);
            }
        }
        let Some(header) = header else { return };
        for name in header.features.iter().flatten() {
            if violations.is_full() {
                break;
            }
            let Some(column) = by_name.get(name.as_str()) else {
                violations.add("/dataset", format!("must have column {name:?}"));
                continue;
            };
            check_feature(header, (column, None), || "/dataset".to_owned(), violations);
            if column.missing > 0 && !may_be_missing(header, name) {
                let missing = column.missing;
                let detail = format!(
                    "must have a value in every row of column {name:?}, and {missing} are missing: fill them, or declare the model with an \"impute\" for it"
                );
                violations.add("/dataset", detail);
            }
        }
        let checked = self.checked(header, columns);
        self.check_names(&checked, header, violations);
        let written = checked.columns(header).len();
        let groups = (rows as usize).div_ceil(checked.rows_written(header));
        let pieces = groups.saturating_mul(written);
        if self.format == TableFormat::Parquet && pieces > MOST_PIECES {
            let detail = format!(
                "must be csv for so many columns and rows, or top_k be given: columns times row groups must be at most {MOST_PIECES}, got {pieces}"
            );
            violations.add("/format", detail);
        }
    }

    /// The same, once it was checked against the version and the dataset.
    pub fn checked(&self, header: &Header, columns: &[ColumnDescription]) -> CheckedPrediction {
        let kinds = columns.iter().map(|column| (&column.name, column.kind));
        let kinds: HashMap<_, _> = kinds.collect();
        let keep = self.keep.iter().filter_map(|name| {
            let (name, kind) = (name.clone(), *kinds.get(name)?);
            Some(Kept { name, kind })
        });
        CheckedPrediction {
            format: self.format,
            top_k: self.top_k,
            features: header.features.clone().unwrap_or_default(),
            keep: keep.collect(),
        }
    }

    /// Notes columns to keep that are named as an answer, though that is called `predicted_…`.
    fn check_names(
        &self,
        checked: &CheckedPrediction,
        header: &Header,
        violations: &mut Violations,
    ) {
        let columns = checked.columns(header);
        let answers = columns[checked.keep.len()..].iter();
        let answers: HashSet<&str> = answers.map(|(name, _)| name.as_str()).collect();
        for (place, name) in self.keep.iter().enumerate() {
            if answers.contains(name.as_str()) {
                let detail = format!("must not be named as an answer is, got {name:?}");
                violations.add(format!("/keep/{place}"), detail);
            }
        }
    }
}

impl CheckedPrediction {
    /// The columns of the result, by their names: those that are kept, then the answers. An answer that is named as a column
    /// that is kept is called `predicted_…`.
    pub fn columns(&self, header: &Header) -> Vec<(String, Kind)> {
        let kept = self.keep.iter();
        let kept: Vec<_> = kept.map(|kept| (kept.name.clone(), kept.kind)).collect();
        let names: HashSet<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
        let answers = header.answer_columns(self.top_k);
        let answers = answers.into_iter().map(|(name, kind)| {
            if names.contains(name.as_str()) {
                return (format!("predicted_{name}"), kind);
            }
            (name, kind)
        });
        let answers: Vec<_> = answers.collect();
        kept.into_iter().chain(answers).collect()
    }

    /// The columns of the dataset that are read: the features, then those that are kept.
    pub fn reads(&self) -> Vec<String> {
        let kept = self.keep.iter().map(|kept| &kept.name);
        self.features.iter().chain(kept).cloned().collect()
    }

    /// Rows that are read at a time, whole chunks of them.
    pub fn rows_read(&self) -> usize {
        let columns = self.features.len() + self.keep.len();
        let chunks = READ / (CHUNK_ROWS * columns.max(1));
        chunks.clamp(1, MOST_CHUNKS) * CHUNK_ROWS
    }

    /// Rows that are written at a time: of Parquet, a row group.
    pub fn rows_written(&self, header: &Header) -> usize {
        (WRITTEN / self.columns(header).len().max(1)).clamp(1, self.rows_read())
    }
}
