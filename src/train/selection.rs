//! Which columns of a dataset a job trains on, and what its targets mean.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::data::{Column, ColumnDescription};
use crate::model::columns::Role;
use crate::model::{Header, TargetRows, Targets, Violations, known, shortened};
use crate::train::columns::{Declared, check_feature};
use crate::train::weights::{check_column, column_name};
use crate::train::{DataSpec, JobLimits, Missing, TargetKind};

/// A dataset as the check sees it: what is known of its columns, and the values of those it must look into.
#[derive(Clone, Debug)]
pub struct DatasetView {
    /// The dataset's name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// Its columns, in the table's order.
    pub columns: Vec<ColumnDescription>,
    /// The values of the columns that [`DatasetView::to_load`] names.
    pub loaded: BTreeMap<String, Column>,
    /// The column that its rows are split by, where one is named.
    pub split_by: Option<String>,
}

/// Columns chosen from a dataset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selection {
    pub(crate) features: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) kind: TargetKind,
    pub(crate) missing: Missing,
    pub(crate) targets: Targets,
    pub(crate) sample_weight: Option<String>,
    pub(crate) rows: usize,
}

/// What a choice goes by.
pub(crate) struct Choice<'a> {
    pub(crate) data: &'a DataSpec,
    pub(crate) base: &'a Header,
    pub(crate) declared: Declared<'a>,
    pub(crate) view: &'a DatasetView,
    pub(crate) columns: HashMap<&'a str, &'a ColumnDescription>,
    pub(crate) limits: &'a JobLimits,
}

impl DatasetView {
    /// Names of the columns whose values the check needs: a single target, whose classes are looked for, labels, the one that
    /// rows are split by, those with missing values where rows are to be dropped, and those whose numbers are categories of the
    /// model. `base` is the model before the job.
    pub fn to_load(
        data: &DataSpec,
        split_by: Option<&str>,
        base: &Header,
        columns: &[ColumnDescription],
    ) -> Vec<String> {
        let labels = data.target_kind == Some(TargetKind::Labels)
            || (data.target_kind.is_none() && matches!(base.targets, Targets::Labels { .. }));
        let drop = data.missing == Some(Missing::DropRows);
        let targets: HashSet<&String> = target_names(data).iter().collect();
        let features: Option<HashSet<&String>> =
            data.features.as_ref().map(|names| names.iter().collect());
        let declared = Declared::of(base);
        let wanted = |column: &&ColumnDescription| {
            let target = targets.contains(&column.name);
            let read = target
                || column_name(data) == Some(&column.name)
                || features
                    .as_ref()
                    .is_none_or(|features| features.contains(&column.name));
            (target && (labels || targets.len() == 1))
                || (drop && read && column.missing > 0)
                || split_by == Some(&column.name)
                || declared.is_held_otherwise(column)
        };
        columns
            .iter()
            .filter(wanted)
            .map(|column| column.name.clone())
            .collect()
    }

    /// Its columns by their names.
    pub(crate) fn by_name(&self) -> HashMap<&str, &ColumnDescription> {
        self.columns
            .iter()
            .map(|column| (column.name.as_str(), column))
            .collect()
    }

    pub(crate) fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.rows)
    }
}

fn target_names(data: &DataSpec) -> &[String] {
    match (&data.target, &data.targets) {
        (Some(target), _) => std::slice::from_ref(target),
        (None, Some(TargetRows::Words(names))) => names,
        _ => &[],
    }
}

/// Chooses the columns of `view` for `data`. Notes what is wrong; `None` where no choice can be made.
pub(crate) fn select(
    data: &DataSpec,
    base: &Header,
    view: &DatasetView,
    limits: &JobLimits,
    violations: &mut Violations,
) -> Option<Selection> {
    if violations.is_full() {
        return None;
    }
    let before = violations.len();
    let choice = Choice {
        data,
        base,
        declared: Declared::of(base),
        view,
        columns: view.by_name(),
        limits,
    };
    let names = choice.target_names(violations);
    let features = choice.features(names, violations);
    let (x, y) = (features.as_deref(), names);
    let (x, y) = (x.unwrap_or_default(), y.unwrap_or_default());
    let weight = check_column(&choice, x, y, violations);
    let names = names?;
    let (kind, targets) = choice.targets(names, violations)?;
    let features = features?;
    let missing = data.missing.unwrap_or_default();
    let read = || features.iter().chain(names).chain(&weight);
    choice.check_missing(read(), missing, violations);
    if violations.len() > before {
        return None;
    }
    let rows = rows_left(view, base, read()).count();
    if rows == 0 {
        violations.add(
            "/data/missing",
            "drop_rows leaves no row: every row misses a value",
        );
        return None;
    }
    Some(Selection {
        sample_weight: weight,
        features,
        names: names.to_vec(),
        kind,
        missing,
        targets,
        rows,
    })
}

impl<'a> Choice<'a> {
    /// Where the targets stand in the body.
    pub(crate) fn target_pointer(&self) -> &'static str {
        if self.data.target.is_some() {
            "/data/target"
        } else {
            "/data/targets"
        }
    }

    pub(crate) fn column_names(&self) -> Vec<&'a String> {
        let columns = self.view.columns.iter();
        columns.map(|column| &column.name).collect()
    }

    /// The names of the targets, once each is a column of its own.
    fn target_names(&self, violations: &mut Violations) -> Option<&'a [String]> {
        match (&self.data.target, &self.data.targets) {
            (None, None) => {
                let detail = format!(
                    "must name the column to predict; the dataset has: {}",
                    shortened(&self.column_names())
                );
                violations.add("/data/target", detail);
                return None;
            }
            (Some(_), Some(_)) => {
                violations.add("/data/targets", "must be left out where target is given");
                return None;
            }
            (None, Some(targets)) if targets.is_empty() => {
                violations.add("/data/targets", "must name at least one column, got none");
                return None;
            }
            (None, Some(TargetRows::Numbers(_))) => {
                violations.add(
                    "/data/targets",
                    "must be names of columns where a dataset is given",
                );
                return None;
            }
            _ => {}
        }
        let names = target_names(self.data);
        if let Some(columns) = &self.base.columns {
            let declared = columns.iter().filter(|column| column.role == Role::Target);
            let declared: Vec<&String> = declared.map(|column| &column.name).collect();
            if !names.iter().eq(declared.iter().copied()) {
                let (declared, got) = (shortened(&declared), shortened(names));
                let detail = format!(
                    "must be what the model was declared to predict ({declared}), or left out, got {got}"
                );
                violations.add(self.target_pointer(), detail);
                return None;
            }
        }
        let outputs = self.base.outputs();
        if names.len() > 1 && names.len() != outputs {
            let got = names.len();
            let detail =
                format!("must be {outputs} columns, as the last layer has units, got {got}");
            violations.add("/data/targets", detail);
            return None;
        }
        let before = violations.len();
        let mut seen = HashSet::new();
        for (index, name) in names.iter().enumerate() {
            if violations.is_full() {
                return None;
            }
            let pointer = match self.data.target {
                Some(_) => "/data/target".to_owned(),
                None => format!("/data/targets/{index}"),
            };
            if !seen.insert(name) {
                violations.add(pointer, format!("must be named once, got {name:?} again"));
            } else if !self.columns.contains_key(name.as_str()) {
                let known = known(name, &self.column_names());
                let detail = format!("must name a column of the dataset, got {name:?}: {known}");
                violations.add(pointer, detail);
            }
        }
        (violations.len() == before).then_some(names)
    }

    /// The features: those given, those the model was fitted with, or every column but the targets and the weights.
    ///
    /// `None` where they are not as many as the model has inputs, or where they hang on targets that are not known.
    fn features(
        &self,
        targets: Option<&[String]>,
        violations: &mut Violations,
    ) -> Option<Vec<String>> {
        let names: HashSet<&String> = targets.unwrap_or_default().iter().collect();
        let features: Vec<&String> = match (&self.data.features, &self.base.features) {
            (Some(features), _) | (None, Some(features)) => features.iter().collect(),
            (None, None) => {
                targets?;
                let columns = self.view.columns.iter().map(|column| &column.name);
                let weight = column_name(self.data);
                let split_by = self.view.split_by.as_ref();
                let other = |name: &&String| {
                    !names.contains(*name) && weight != Some(*name) && split_by != Some(*name)
                };
                columns.filter(other).collect()
            }
        };
        if features.len() != self.base.feature_count() {
            let (inputs, got) = (self.base.feature_count(), shortened(&features));
            let count = features.len();
            let detail =
                format!("must be {inputs} columns, as the model has inputs, got {count}: {got}");
            violations.add("/data/features", detail);
            return None;
        }
        let mut seen = HashSet::new();
        for (index, &name) in features.iter().enumerate() {
            if violations.is_full() {
                return None;
            }
            let pointer = || match self.data.features {
                Some(_) => format!("/data/features/{index}"),
                None => "/data/features".to_owned(),
            };
            if names.contains(name) {
                let detail = format!("must not be a target as well, got {name:?}");
                violations.add(pointer(), detail);
            } else if !seen.insert(name) {
                violations.add(pointer(), format!("must be named once, got {name:?} again"));
            }
            match self.columns.get(name.as_str()) {
                None => {
                    let known = known(name, &self.column_names());
                    let detail =
                        format!("must name a column of the dataset, got {name:?}: {known}");
                    violations.add(pointer(), detail);
                }
                Some(column) => {
                    let values = self.view.loaded.get(name);
                    check_feature(&self.declared, (column, values), pointer, violations);
                }
            }
        }
        if let Some(kept) = &self.base.features
            && kept.iter().ne(features.iter().copied())
        {
            let kept = shortened(kept);
            let detail = if self.base.columns.is_some() {
                format!("must be those the model was declared with ({kept}), or left out")
            } else {
                format!("must be those the model was fitted with ({kept}), or give \"refit\":true")
            };
            violations.add("/data/features", detail);
        }
        Some(features.into_iter().cloned().collect())
    }

    fn check_missing<'b>(
        &self,
        names: impl Iterator<Item = &'b String>,
        missing: Missing,
        violations: &mut Violations,
    ) {
        if missing == Missing::DropRows {
            return;
        }
        for column in names
            .filter_map(|name| self.columns.get(name.as_str()))
            .filter(|column| column.missing > 0 && !self.declared.may_be_missing(&column.name))
        {
            if violations.is_full() {
                return;
            }
            let (name, count) = (&column.name, column.missing);
            let values = if count == 1 { "value" } else { "values" };
            let detail = format!(
                "column {name:?} has {count} missing {values}: give \"missing\":\"drop_rows\" or leave it out"
            );
            violations.add("/data/missing", detail);
        }
    }
}

/// Rows that miss no value that they must have in the named columns, nor in that which they are split by. Columns without missing
/// values need not be loaded.
pub(crate) fn rows_left<'a>(
    view: &'a DatasetView,
    base: &Header,
    names: impl Iterator<Item = &'a String>,
) -> impl Iterator<Item = u32> {
    let declared = Declared::of(base);
    let columns: Vec<&Column> = names
        .filter(|name| !declared.may_be_missing(name))
        .chain(&view.split_by)
        .filter_map(|name| view.loaded.get(name))
        .filter(|column| column.missing() > 0)
        .collect();
    let is_whole = move |row: &u32| {
        columns
            .iter()
            .all(|column| !column.is_missing(*row as usize))
    };
    (0..view.rows() as u32).filter(is_whole)
}
