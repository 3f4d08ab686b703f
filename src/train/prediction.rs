//! Batch prediction as a user declares it, and its check against a version and a dataset.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};

use crate::data::{CHUNK_ROWS, ColumnDescription, Kind, TableFormat};
use crate::model::{Header, Violations, check_labels, given, known};
use crate::nn::BLOCK;
use crate::train::columns::{Declared, check_feature};

/// Cells of the columns that are read at a time, about, but for the rows of one chunk.
const READ: usize = 1 << 20;
/// Chunks of rows that are read at a time, at most.
const MOST_CHUNKS: usize = 4;
/// Cells of the columns that are written at a time, about, but for those of one row.
const WRITTEN: usize = 1 << 20;
/// Bytes of the values that are written at a time, at most, but for those of one row: words may be long.
const WRITTEN_BYTES: usize = 32 << 20;
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
    /// Bytes of its longest word.
    pub longest: usize,
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
        let declared = &Declared::of(header);
        for name in header.features.iter().flatten() {
            if violations.is_full() {
                break;
            }
            let Some(column) = by_name.get(name.as_str()) else {
                violations.add("/dataset", format!("must have column {name:?}"));
                continue;
            };
            check_feature(
                declared,
                (column, None),
                || "/dataset".to_owned(),
                violations,
            );
            if column.missing > 0 && !declared.may_be_missing(name) {
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
        let groups = checked.row_groups(rows as usize, header);
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
        let by_name = columns.iter().map(|column| (&column.name, column));
        let by_name: HashMap<_, _> = by_name.collect();
        let keep = self.keep.iter().filter_map(|name| {
            let column = by_name.get(name)?;
            let words = column.categories.iter().map(String::len);
            Some(Kept {
                name: name.clone(),
                kind: column.kind,
                longest: words.max().unwrap_or_default(),
            })
        });
        CheckedPrediction {
            format: self.format,
            top_k: self.top_k,
            features: header.features.clone().unwrap_or_default(),
            keep: keep.collect(),
        }
    }

    /// Notes columns to keep that are named as an answer, though that is called `predicted_…`, or whose answer is then named as
    /// another.
    fn check_names(
        &self,
        checked: &CheckedPrediction,
        header: &Header,
        violations: &mut Violations,
    ) {
        let columns = checked.columns(header);
        let answers = columns[checked.keep.len()..].iter();
        let mut times: HashMap<&str, usize> = HashMap::new();
        for (name, _) in answers {
            *times.entry(name).or_default() += 1;
        }
        for (place, name) in self.keep.iter().enumerate() {
            let renamed = renamed(name);
            let detail = if times.contains_key(name.as_str()) {
                format!("must not be named as an answer is, got {name:?}")
            } else if times.get(renamed.as_str()).is_some_and(|&times| times > 1) {
                format!(
                    "must not be {name:?}: beside it the answer of that name is called {renamed:?}, as another answer is"
                )
            } else {
                continue;
            };
            violations.add(format!("/keep/{place}"), detail);
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
                return (renamed(&name), kind);
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

    /// Bytes of the rows that are in memory at a time, roughly: those that are read, that wait and that are predicted, and a block of
    /// them as the network reads it; the answers that are written at once.
    pub fn rows_bytes(&self, header: &Header) -> u64 {
        let read = self.rows_read() * 3 * (self.features.len() + self.keep.len());
        let block = BLOCK * (header.inputs + header.outputs());
        let written = self.rows_written(header) * header.answered_bytes(self.top_k);
        ((read + block) * size_of::<f64>() + written) as u64
    }

    /// Rows that are written at a time: of Parquet, a row group.
    pub fn rows_written(&self, header: &Header) -> usize {
        let cells = self.columns(header).len().max(1);
        let kept: usize = self.keep.iter().map(|kept| kept.longest).sum();
        let bytes = cells * size_of::<f64>() + kept + header.answered_bytes(self.top_k);
        let rows = usize::min(WRITTEN / cells, WRITTEN_BYTES / bytes);
        rows.clamp(1, self.rows_read())
    }

    /// Groups in which so many rows are written: none has rows of two reads.
    fn row_groups(&self, rows: usize, header: &Header) -> usize {
        let (read, written) = (self.rows_read(), self.rows_written(header));
        rows / read * read.div_ceil(written) + (rows % read).div_ceil(written)
    }
}

/// What an answer is called beside a kept column of its name.
fn renamed(name: &str) -> String {
    format!("predicted_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Column;
    use crate::model::{Model, ModelLimits, ModelSpec, Targets};

    /// A version that reads `x` and answers with these targets, of which it has so many.
    fn header(outputs: usize, last: &str, targets: Targets) -> Header {
        let spec = format!(
            r#"{{"name":"m","inputs":1,"layers":[{{"units":{outputs},"activation":"{last}"}}]}}"#
        );
        let spec: ModelSpec = serde_json::from_str(&spec).expect("a spec");
        let limits = ModelLimits {
            layers: 9,
            units: 9,
            inputs: 9,
            parameters: 99,
        };
        let model = spec.check(&limits).expect("a good spec").build();
        Header {
            features: Some(vec!["x".to_owned()]),
            ..Model { targets, ..model }.header()
        }
    }

    fn words(name: &str, words: &[&str]) -> ColumnDescription {
        let words: Vec<_> = words.iter().map(Some).collect();
        Column::categorical(name, &words).description().clone()
    }

    fn numbers(name: &str) -> ColumnDescription {
        let column = Column::numeric(name, [1.0]).expect("finite numbers");
        column.description().clone()
    }

    fn spec(body: &str) -> PredictionSpec {
        serde_json::from_str(body).expect("a spec")
    }

    fn classes(longest: usize) -> Header {
        let classes = vec!["a".to_owned(), "b".repeat(longest), "c".to_owned()];
        let name = "species".to_owned();
        header(3, "softmax", Targets::Classes { name, classes })
    }

    #[test]
    fn rows_are_written_in_groups_whose_words_fit_the_memory_however_long_they_are() {
        let columns = [numbers("x"), words("note", &["", &"n".repeat(60_000)])];
        let written = |body: &str, header: &Header| {
            let checked = spec(body).checked(header, &columns);
            checked.rows_written(header)
        };
        let plain = r#"{"dataset":"d"}"#;
        // Short words: what is read at a time is written at once.
        assert_eq!(written(plain, &classes(1)), MOST_CHUNKS * CHUNK_ROWS);
        // The class, its probability, and those of three classes.
        let long = classes(65_536);
        assert_eq!(written(plain, &long), (32 << 20) / (5 * 8 + 65_536));
        // Two more words and numbers.
        let top = r#"{"dataset":"d","top_k":2}"#;
        assert_eq!(written(top, &long), (32 << 20) / (6 * 8 + 3 * 65_536));
        let kept = r#"{"dataset":"d","keep":["note","x"]}"#;
        assert_eq!(written(kept, &long), (32 << 20) / (7 * 8 + 60_000 + 65_536));
        let names = Some(vec!["l".repeat(20_000), "k".repeat(30_000)]);
        let labels = header(2, "sigmoid", Targets::Labels { names });
        assert_eq!(written(plain, &labels), (32 << 20) / (3 * 8 + 50_002));
    }

    #[test]
    fn row_groups_are_counted_read_by_read() {
        let header = classes(65_536);
        let checked = spec(r#"{"dataset":"d"}"#).checked(&header, &[numbers("x")]);
        let (read, written) = (checked.rows_read(), checked.rows_written(&header));
        assert_eq!((read, written), (65_536, 511));
        // 128 · 511 = 65,408, and 128 rows more.
        assert_eq!(checked.row_groups(read, &header), 129);
        assert_eq!(checked.row_groups(2 * read, &header), 258);
        assert_eq!(checked.row_groups(2 * read + 512, &header), 260);
    }

    #[test]
    fn a_column_is_not_kept_whose_answer_would_be_named_as_another() {
        let names = ["y", "predicted_y", "z"].map(str::to_owned).to_vec();
        let targets = Targets::Values { names: Some(names) };
        let header = header(3, "identity", targets);
        let columns = [numbers("x"), numbers("y"), numbers("z")];
        let refused = |body: &str| {
            let mut violations = Violations::default();
            let table = (1, columns.as_slice());
            spec(body).check_dataset(table, Some(&header), &mut violations);
            violations.finish().err().unwrap_or_default()
        };
        assert_eq!(refused(r#"{"dataset":"d","keep":["z","x"]}"#), []);
        let refused = refused(r#"{"dataset":"d","keep":["z","y"]}"#);
        let refused: Vec<_> = refused
            .iter()
            .map(|violation| (violation.pointer.as_str(), violation.detail.as_str()))
            .collect();
        let told = "must not be \"y\": beside it the answer of that name is called \"predicted_y\", as another answer is";
        assert_eq!(refused, [("/keep/1", told)]);
    }
}
