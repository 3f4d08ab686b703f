//! What a job validates on, as its user declares it, and checked.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::data::{Column, ColumnDescription, Kind, groups_of, split_grouped};
use crate::model::{Header, Rows, TargetRows, Targets, Violations, digest, given, shortened};
use crate::train::check::{Data, DatasetView};
use crate::train::columns::{Declared, check_feature};
use crate::train::inline::checked_rows;
use crate::train::selection::rows_left;
use crate::train::source::encode_inline;
use crate::train::split::SplitBy;
use crate::train::targets::{check_target_range, no_label, unknown_classes};
use crate::train::weights::{check_range, check_rows};
use crate::train::{CheckedData, DataSpec, JobLimits, Missing, SampleWeight};

/// `validation` of a job: a fraction of the data, another dataset, or inline rows.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationSpec {
    /// The share of rows kept for validation, in (0, 1).
    #[serde(default, deserialize_with = "given")]
    pub fraction: Option<f64>,
    /// Whether each class keeps the same share.
    #[serde(default, deserialize_with = "given")]
    pub stratified: Option<bool>,
    /// The column whose equal values are never on both sides.
    #[serde(default, deserialize_with = "given")]
    pub group: Option<String>,
    /// The column by which the latest rows are kept.
    #[serde(default, deserialize_with = "given")]
    pub time: Option<String>,
    /// Another dataset with the same columns.
    #[serde(default, deserialize_with = "given")]
    pub dataset: Option<String>,
    /// Input rows.
    #[serde(default, deserialize_with = "given")]
    pub inputs: Option<Rows>,
    /// Target rows.
    #[serde(default, deserialize_with = "given")]
    pub targets: Option<TargetRows>,
    /// What the input rows weigh.
    #[serde(default, deserialize_with = "given")]
    pub sample_weight: Option<SampleWeight>,
}

/// `validation`, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CheckedValidation {
    /// A share of the rows.
    Fraction {
        /// The share, in (0, 1).
        fraction: f64,
        /// Whether each class keeps the same share.
        stratified: bool,
        /// The column whose equal values are never on both sides.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// The column by which the latest rows are kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<String>,
    },
    /// Another dataset with the same columns.
    Dataset {
        /// Its name.
        dataset: String,
        /// Its digest.
        digest: String,
    },
    /// Rows given in the request.
    Inline {
        /// Number of rows.
        rows: usize,
        /// Whether each row has a weight of its own.
        #[serde(default)]
        weighted: bool,
        /// SHA-256 of the rows.
        digest: String,
    },
}

/// What `validation` is checked against.
pub(crate) struct Against<'a> {
    /// The model as the job's data makes it.
    pub(crate) header: &'a Header,
    /// `data` as given.
    pub(crate) given: &'a DataSpec,
    /// What it came to, where it can be used.
    pub(crate) data: Option<&'a Data>,
    /// The dataset named in `data`, where there is one of that name.
    pub(crate) table: Option<&'a DatasetView>,
    /// The dataset named in `validation`, where there is one of that name.
    pub(crate) view: Option<&'a DatasetView>,
    /// What the split is drawn by.
    pub(crate) seed: u64,
    /// The largest jobs that are accepted.
    pub(crate) limits: &'a JobLimits,
}

impl Against<'_> {
    /// The groups of the rows that are left of the data, by the values of a column of it.
    pub(crate) fn groups(&self, column: &Column) -> Vec<u32> {
        let columns = self.data.and_then(|data| {
            let (features, targets) = data.checked.columns()?;
            Some(
                features
                    .iter()
                    .chain(targets)
                    .chain(data.checked.weight_column()),
            )
        });
        let Some((table, read)) = self.table.zip(columns) else {
            return Vec::new();
        };
        let rows: Vec<u32> = rows_left(table, self.header, read).collect();
        groups_of(column, &rows)
    }
}

/// What `validation` came to.
#[derive(Default)]
pub(crate) struct Validation {
    pub(crate) checked: Option<CheckedValidation>,
    /// Its inline rows.
    pub(crate) inline: Option<Vec<u8>>,
    /// Rows of `data` that are not trained on.
    pub(crate) kept: usize,
}

/// Checks `validation`, as far as it can be where `data` is wrong.
pub(crate) fn check_validation(
    validation: Option<&ValidationSpec>,
    against: &Against,
    violations: &mut Violations,
) -> Validation {
    let Some(validation) = validation else {
        return Validation::default();
    };
    let given = [
        validation.fraction.is_some(),
        validation.dataset.is_some(),
        validation.inputs.is_some(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        violations.add(
            "/validation",
            "must have exactly one of fraction, dataset, or inputs with targets",
        );
        return Validation::default();
    }
    let only_fraction = [
        ("/validation/stratified", validation.stratified.is_some()),
        ("/validation/group", validation.group.is_some()),
        ("/validation/time", validation.time.is_some()),
    ];
    for (pointer, given) in only_fraction {
        if given && validation.fraction.is_none() {
            violations.add(pointer, "must be left out where there is no fraction");
        }
    }
    let only_inline = [
        ("/validation/targets", validation.targets.is_some()),
        (
            "/validation/sample_weight",
            validation.sample_weight.is_some(),
        ),
    ];
    for (pointer, given) in only_inline {
        if given && validation.inputs.is_none() {
            violations.add(pointer, "must be left out where there are no inputs");
        }
    }
    if let Some(fraction) = validation.fraction {
        return check_fraction(validation, fraction, against, violations);
    }
    if let Some(name) = &validation.dataset {
        return Validation {
            checked: check_dataset(name, against, violations),
            ..Validation::default()
        };
    }
    check_inline(validation, against, violations).unwrap_or_default()
}

fn check_inline(
    validation: &ValidationSpec,
    against: &Against,
    violations: &mut Violations,
) -> Option<Validation> {
    let inputs = validation.inputs.as_ref()?;
    let Some(targets) = &validation.targets else {
        violations.add("/validation/targets", "must be given beside inputs");
        return None;
    };
    if against.data.is_none() && against.given.dataset.is_some() {
        return None; // what the targets are to be comes from the dataset
    }
    let (given, pointer) = (&validation.sample_weight, "/validation/sample_weight");
    let weights = check_rows(given.as_ref(), inputs.len(), pointer, violations);
    let (inputs, targets) =
        checked_rows(inputs, targets, against.header, "/validation", violations)?;
    let bytes = encode_inline(&inputs, &targets, weights.as_deref());
    let checked = CheckedValidation::Inline {
        rows: inputs.nrows(),
        weighted: weights.is_some(),
        digest: digest(&bytes),
    };
    Some(Validation {
        checked: Some(checked),
        inline: Some(bytes),
        kept: 0,
    })
}

fn check_fraction(
    validation: &ValidationSpec,
    fraction: f64,
    against: &Against,
    violations: &mut Violations,
) -> Validation {
    let stratified = validation.stratified.unwrap_or(false);
    check_alternatives(validation, violations);
    let within = fraction > 0.0 && fraction < 1.0;
    if !within {
        violations.add(
            "/validation/fraction",
            format!("must be in (0, 1), got {fraction}"),
        );
    }
    let Some(data) = against.data else {
        return Validation::default();
    };
    if stratified && data.targets.classes().is_none() {
        violations.add(
            "/validation/stratified",
            "must be false where the target is not categorical",
        );
    }
    let rows = data.rows;
    let mut kept = (fraction * rows as f64).round().max(1.0) as usize;
    let split_by = SplitBy::of_validation(validation);
    let column = split_by.and_then(|by| by.check(&data.checked, against.table, violations));
    if within && validation.group.is_some() {
        if let Some(column) = column {
            kept = check_groups(column, fraction, against, violations);
        }
    } else if within && kept >= rows {
        violations.add(
            "/validation/fraction",
            format!("must leave a row to train on, got {kept} of {rows} rows kept"),
        );
    }
    Validation {
        checked: Some(CheckedValidation::Fraction {
            fraction,
            stratified,
            group: validation.group.clone(),
            time: validation.time.clone(),
        }),
        inline: None,
        kept,
    }
}

/// Notes ways to split that are given together and exclude each other.
fn check_alternatives(validation: &ValidationSpec, violations: &mut Violations) {
    let (group, time) = (&validation.group, &validation.time);
    if let (Some(group), Some(time)) = (group, time) {
        let detail =
            format!("must be left out where group is given, got time {time:?} and group {group:?}");
        violations.add("/validation/time", detail);
    }
    let other = match (group, time) {
        (Some(group), _) => ("group", group, "whose rows stay together"),
        (None, Some(time)) => ("time", time, "whose latest rows are kept"),
        (None, None) => return,
    };
    if validation.stratified == Some(true) {
        let (name, column, why) = other;
        let detail = format!(
            "must be false where {name} is given, {why}, got stratified true and {name} {column:?}"
        );
        violations.add("/validation/stratified", detail);
    }
}

/// How many rows are held out by groups.
fn check_groups(
    column: &Column,
    fraction: f64,
    against: &Against,
    violations: &mut Violations,
) -> usize {
    let split = split_grouped(&against.groups(column), fraction, against.seed);
    if split.is_err() {
        let name = column.name();
        let detail = format!(
            "must have at least 2 groups, one to train on and one to validate on, got 1 in column {name:?}"
        );
        violations.add("/validation/group", detail);
    }
    split.map_or(0, |split| split.validation.len())
}

fn check_dataset(
    name: &str,
    against: &Against,
    violations: &mut Violations,
) -> Option<CheckedValidation> {
    if against.given.dataset.is_none() {
        violations.add(
            "/validation/dataset",
            "must be inputs with targets, or a fraction, where data is inline",
        );
        return None;
    }
    let Some(view) = against.view else {
        let detail = format!("must name a dataset, got {name:?}, and there is none of that name");
        violations.add("/validation/dataset", detail);
        return None;
    };
    let CheckedData::Dataset {
        features,
        targets,
        missing,
        sample_weight,
        ..
    } = &against.data?.checked
    else {
        return None;
    };
    if violations.is_full() {
        return None;
    }
    let before = violations.len();
    let columns = view.by_name();
    let declared = &Declared::of(against.header);
    let names = || features.iter().chain(targets).chain(sample_weight);
    for name in names() {
        if violations.is_full() {
            return None;
        }
        let missing = if declared.may_be_missing(name) {
            Missing::DropRows
        } else {
            *missing
        };
        let column = columns.get(name.as_str()).copied();
        check_column(name, column, missing, violations);
    }
    let features = features
        .iter()
        .filter_map(|name| columns.get(name.as_str()));
    for column in features {
        let pointer = || "/validation/dataset".to_owned();
        let values = view.loaded.get(&column.name);
        check_feature(declared, (column, values), pointer, violations);
    }
    check_targets(view, &columns, targets, against, violations);
    let weights = sample_weight
        .as_ref()
        .and_then(|name| columns.get(name.as_str()));
    if let Some(column) = weights {
        check_range(column, "/validation/dataset", violations);
    }
    if violations.len() == before && rows_left(view, against.header, names()).next().is_none() {
        violations.add(
            "/validation/dataset",
            "drop_rows leaves no row: every row misses a value",
        );
    }
    Some(CheckedValidation::Dataset {
        dataset: view.name.clone(),
        digest: view.digest.clone(),
    })
}

fn check_column(
    name: &str,
    column: Option<&ColumnDescription>,
    missing: Missing,
    violations: &mut Violations,
) {
    match column {
        None => violations.add(
            "/validation/dataset",
            format!("must have column {name:?}, as data has"),
        ),
        Some(column) if column.missing > 0 && missing == Missing::Error => {
            let count = column.missing;
            violations.add(
                "/validation/dataset",
                format!("column {name:?} has {count} missing values"),
            );
        }
        Some(_) => {}
    }
}

fn check_targets(
    view: &DatasetView,
    columns: &HashMap<&str, &ColumnDescription>,
    targets: &[String],
    against: &Against,
    violations: &mut Violations,
) {
    let header = against.header;
    let classes = match &header.targets {
        Targets::Classes { classes, .. } => classes,
        Targets::Values { .. } | Targets::Labels { .. } => {
            for column in targets.iter().filter_map(|name| columns.get(name.as_str())) {
                if column.kind == Kind::Categorical {
                    let detail = format!("column {:?} must be numeric, as in data", column.name);
                    violations.add("/validation/dataset", detail);
                } else {
                    check_target_range(header, column, "/validation/dataset", violations);
                }
            }
            if matches!(header.targets, Targets::Labels { .. }) {
                let columns = targets.iter().filter_map(|name| view.loaded.get(name));
                for detail in columns.filter_map(no_label) {
                    violations.add("/validation/dataset", detail);
                }
            }
            return;
        }
    };
    let Some(column) = targets.first().and_then(|name| view.loaded.get(name)) else {
        return;
    };
    if let Some(unknown) = unknown_classes(column, classes, against.limits.classes) {
        let known = shortened(classes);
        violations.add(
            "/validation/dataset",
            format!("must have the classes of data ({known}), got {unknown}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_stored_before_there_were_groups_and_times_is_still_read() {
        let stored = r#"{"fraction":0.2,"stratified":true}"#;
        let read: CheckedValidation = serde_json::from_str(stored).expect("all its fields");
        let expected = CheckedValidation::Fraction {
            fraction: 0.2,
            stratified: true,
            group: None,
            time: None,
        };
        assert_eq!(read, expected);
        assert_eq!(serde_json::to_string(&read).expect("plain data"), stored);
    }
}
