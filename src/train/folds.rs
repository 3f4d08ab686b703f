//! Cross-validation, as its user declares it, checked, and what its folds come to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::data::{Column, folds_grouped, group_sizes};
use crate::model::{Violations, given};
use crate::train::split::SplitBy;
use crate::train::validation::Against;
use crate::train::{CheckedSpec, From, JobSpec, Metric, Metrics};

/// `cross_validation` of a job: how many folds, and how the rows are dealt to them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossValidationSpec {
    /// How many, in [2, 20].
    pub folds: u64,
    /// Whether each class is dealt to the folds evenly; left out, where there are classes and no groups.
    #[serde(default, deserialize_with = "given")]
    pub stratified: Option<bool>,
    /// The column whose equal values are all in one fold.
    #[serde(default, deserialize_with = "given")]
    pub group: Option<String>,
}

/// `cross_validation`, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedCrossValidation {
    /// How many folds.
    pub folds: u64,
    /// Whether each class is dealt to them evenly.
    pub stratified: bool,
    /// The column whose equal values are all in one fold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The rows of each fold.
    pub rows: Vec<usize>,
}

/// What the run that leaves a fold out came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoldReport {
    /// The fold, from 1.
    pub fold: u64,
    /// Its rows.
    pub rows: usize,
    /// Every figure on them of the parameters that the run ended with.
    pub metrics: Metrics,
}

/// What cross-validation came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrossValidation {
    /// Each fold.
    pub folds: Vec<FoldReport>,
    /// x̄ = (1/K) Σ x over the K folds, of each figure that all of them have.
    pub mean: BTreeMap<String, f64>,
    /// √(Σ (x − x̄)² / (K − 1)): the standard deviation of a sample.
    pub std: BTreeMap<String, f64>,
}

/// Which run of a cross-validation a checkpoint is of, and what those before it came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Folds {
    /// The fold that the run leaves out, from 1; none of the run on all rows.
    pub left_out: Option<u64>,
    /// The folds whose runs are done.
    pub done: Vec<FoldReport>,
    /// Steps of those runs.
    pub steps: u64,
    /// Steps of an epoch of the run.
    pub steps_per_epoch: u64,
}

/// Folds, at least and at most.
const FOLDS: std::ops::RangeInclusive<u64> = 2..=20;

impl CrossValidation {
    /// That of at least two folds.
    pub(super) fn of(folds: Vec<FoldReport>) -> Self {
        let count = folds.len() as f64;
        let (mut means, mut stds) = (BTreeMap::new(), BTreeMap::new());
        for metric in Metric::ALL {
            let figures = folds.iter().map(|fold| metric.of(&fold.metrics));
            let Some(figures) = figures.collect::<Option<Vec<f64>>>() else {
                continue;
            };
            let mean = figures.iter().sum::<f64>() / count;
            let squares: f64 = figures.iter().map(|figure| (figure - mean).powi(2)).sum();
            let std = (squares / (count - 1.0)).sqrt();
            // Squares of figures beyond 1e154 leave float64.
            if mean.is_finite() && std.is_finite() {
                means.insert(metric.name().to_owned(), mean);
                stds.insert(metric.name().to_owned(), std);
            }
        }
        Self {
            folds,
            mean: means,
            std: stds,
        }
    }
}

impl CheckedSpec {
    /// The run that leaves the fold out, counted from 0.
    pub(super) fn without(&self, fold: usize) -> Self {
        let cross_validation = self.cross_validation.as_ref();
        let rows = cross_validation.map_or(0, |cross_validation| cross_validation.rows[fold]);
        Self {
            train_rows: self.train_rows - rows,
            ..self.clone()
        }
    }

    /// The rows of each fold of a cross-validation; none of another job.
    pub fn fold_rows(&self) -> &[usize] {
        let cross_validation = self.cross_validation.as_ref();
        cross_validation.map_or(&[], |cross_validation| &cross_validation.rows)
    }

    /// Epochs of all runs: of a cross-validation one for each fold, and that on all rows.
    pub fn epochs_of_all_runs(&self) -> u64 {
        self.epochs * (1 + self.fold_rows().len() as u64)
    }

    /// Steps of all runs, where there are not too many to be counted.
    pub(super) fn steps_of_all_runs(&self) -> Option<u64> {
        let folds = 0..self.fold_rows().len();
        let of_folds = folds.map(|fold| self.without(fold).steps_per_epoch());
        let steps = of_folds.sum::<u64>() + self.steps_per_epoch();
        steps.checked_mul(self.epochs)
    }
}

/// Checks `cross_validation`, as far as it can be where `data` is wrong.
pub(super) fn check_cross_validation(
    spec: &JobSpec,
    against: &Against,
    base_version: u64,
    violations: &mut Violations,
) -> Option<CheckedCrossValidation> {
    let given = spec.cross_validation.as_ref()?;
    violations.range(
        "/cross_validation/folds",
        given.folds,
        *FOLDS.start(),
        *FOLDS.end(),
    );
    check_others(spec, base_version, violations);
    if let Some(group) = &given.group
        && given.stratified == Some(true)
    {
        let detail = format!(
            "must be false where group is given, whose rows stay together, got stratified true and group {group:?}"
        );
        violations.add("/cross_validation/stratified", detail);
    }
    // Of rows that a validation has taken its share of there is no cross-validation.
    let data = against.data.filter(|_| spec.validation.is_none())?;
    let has_classes = data.targets.classes().is_some();
    if given.stratified == Some(true) && !has_classes {
        let detail = "must be false where the target is not categorical";
        violations.add("/cross_validation/stratified", detail);
    }
    let before = violations.len();
    let group =
        SplitBy::of_folds(given).map(|by| by.check(&data.checked, against.table, violations));
    if violations.len() > before || !FOLDS.contains(&given.folds) {
        return None;
    }
    let rows = match group.flatten() {
        Some(column) => rows_by_group(given.folds, column, against, violations)?,
        None => rows_evenly(given.folds, data.rows, violations)?,
    };
    let by_class = has_classes && given.group.is_none();
    Some(CheckedCrossValidation {
        folds: given.folds,
        stratified: given.stratified.unwrap_or(by_class),
        group: given.group.clone(),
        rows,
    })
}

/// Notes what does not go with cross-validation.
fn check_others(spec: &JobSpec, base_version: u64, violations: &mut Violations) {
    if spec.validation.is_some() {
        let detail =
            "must be left out where validation is given: each fold is validated on in its turn";
        violations.add("/cross_validation", detail);
    }
    let endings = [
        ("/early_stopping", spec.early_stopping.is_some()),
        ("/target_metric", spec.target_metric.is_some()),
        ("/max_seconds", spec.max_seconds.is_some()),
    ];
    for (pointer, given) in endings {
        if given {
            let detail = "must be left out with cross_validation: a fold is validated on at the end of its run alone, and every run makes the same epochs";
            violations.add(pointer, detail);
        }
    }
    if base_version > 1 && spec.from == From::default() {
        let detail = format!(
            "must be given with cross_validation where the model was trained before: version {base_version} may know the rows of every fold; give {{\"initial\":true}}, or {{\"version\":{base_version}}} where it does not"
        );
        violations.add("/from", detail);
    }
}

/// The rows of each fold, which differ by at most one.
fn rows_evenly(folds: u64, rows: usize, violations: &mut Violations) -> Option<Vec<usize>> {
    let folds = folds as usize;
    if rows < folds {
        let detail = format!("must be at most the rows there are, {rows}, got {folds}");
        violations.add("/cross_validation/folds", detail);
        return None;
    }
    let of_fold = |fold| rows / folds + usize::from(fold < rows % folds);
    Some((0..folds).map(of_fold).collect())
}

/// The rows of each fold, which has whole groups.
fn rows_by_group(
    folds: u64,
    column: &Column,
    against: &Against,
    violations: &mut Violations,
) -> Option<Vec<usize>> {
    let groups = against.groups(column);
    let dealt = folds_grouped(&groups, folds as usize, against.seed);
    if dealt.is_err() {
        let (name, got) = (column.name(), group_sizes(&groups).len());
        let detail = format!(
            "must have at least {folds} groups, one for each fold, got {got} in column {name:?}"
        );
        violations.add("/cross_validation/group", detail);
    }
    dealt.ok().map(|folds| group_sizes(&folds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_of_the_figures_that_every_fold_has() {
        let fold = |fold, loss, accuracy, r2| FoldReport {
            fold,
            rows: 9,
            metrics: Metrics {
                loss,
                accuracy,
                r2,
                ..Metrics::default()
            },
        };
        let folds = vec![
            fold(1, 1.0, Some(0.5), Some(0.5)),
            fold(2, 2.0, Some(0.5), None),
            fold(3, 6.0, Some(0.5), Some(0.5)),
        ];
        let whole = CrossValidation::of(folds);
        let pairs = |map: &BTreeMap<String, f64>| {
            let pairs = map.iter();
            pairs
                .map(|(name, value)| (name.clone(), *value))
                .collect::<Vec<_>>()
        };
        // x̄ = 9/3; (4 + 1 + 9) / 2 = 7.
        let named =
            |accuracy, loss| vec![("accuracy".to_owned(), accuracy), ("loss".to_owned(), loss)];
        assert_eq!(pairs(&whole.mean), named(0.5, 3.0));
        assert_eq!(pairs(&whole.std), named(0.0, 7.0_f64.sqrt()));
    }
}
