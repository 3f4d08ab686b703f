//! The check of a job: every range and every rule between fields, all violations at once.

use crate::model::{Header, Targets, Violation, Violations, check_labels};
use crate::nn::{Hyperparameter, Range};
use crate::train::continued::{Continued, check_from};
use crate::train::figures::check_metrics;
use crate::train::folds::check_cross_validation;
use crate::train::inline::check_inline;
use crate::train::layers::{check_dropout, check_layers};
use crate::train::lbfgs::{batches, check_history, check_whole};
use crate::train::normalization::{check_fold_normalization, check_normalization};
use crate::train::selection::{Selection, select};
use crate::train::validation::{Against, Validation, check_validation};
use crate::train::warnings::{Warning, of_columns};
use crate::train::weights::check_classes;
use crate::train::window::{check_window, window_rows};
use crate::train::{BatchSize, CheckedData, CheckedSpec, DataSpec, JobLimits, JobSpec};

pub use crate::train::selection::DatasetView;

/// What a job's spec is checked against.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The version or checkpoint that the job starts from.
    pub base: &'a Header,
    /// Its number, or, where the job starts from a checkpoint, that of the version which the checkpoint's job started from.
    pub base_version: u64,
    /// The checkpoint that the job starts from, where it is one; `base` is then of it.
    pub continued: Option<Continued>,
    /// The dataset named in `data`, where there is one of that name.
    pub data: Option<DatasetView>,
    /// The dataset named in `validation`, where there is one of that name.
    pub validation: Option<DatasetView>,
    /// The largest jobs that are accepted.
    pub limits: JobLimits,
}

/// A job that has passed every check: its spec, and its inline rows as bytes for the store.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedJob {
    /// The spec with every default filled in.
    pub spec: CheckedSpec,
    /// Inline rows of `data`.
    pub inline: Option<Vec<u8>>,
    /// Inline rows of `validation`.
    pub inline_validation: Option<Vec<u8>>,
    /// The checkpoint that it starts from, where it is one: not the check's to fill in.
    pub base: Option<Vec<u8>>,
    /// What its user should know, though it trains.
    pub warnings: Vec<Warning>,
}

/// What `data` came to.
pub(crate) struct Data {
    pub(crate) checked: CheckedData,
    pub(crate) inline: Option<Vec<u8>>,
    pub(crate) rows: usize,
    pub(crate) targets: Targets,
    pub(crate) warnings: Vec<Warning>,
}

/// What a job's priority may be.
const PRIORITIES: std::ops::RangeInclusive<i64> = -100..=100;

/// Checks a job's spec.
///
/// Errors: all violations, each with its pointer.
pub fn check(spec: JobSpec, context: &Context) -> Result<CheckedJob, Vec<Violation>> {
    let mut violations = Violations::default();
    check_alone(&spec, &context.limits, &mut violations);
    let base = &effective_base(&spec, context.base);
    let data = check_data(&spec.data, base, context, &mut violations);
    let targets = data.as_ref().map_or(&base.targets, |data| &data.targets);
    let header = Header {
        targets: targets.clone(),
        ..base.clone()
    };
    let against = Against {
        header: &header,
        given: &spec.data,
        data: data.as_ref(),
        table: context.data.as_ref(),
        view: context.validation.as_ref(),
        seed: spec.seed,
        limits: &context.limits,
    };
    let validation = check_validation(spec.validation.as_ref(), &against, &mut violations);
    let cross_validation =
        check_cross_validation(&spec, &against, context.base_version, &mut violations);
    let metrics = check_metrics(&spec, &header, &mut violations);
    let known = data.as_ref().map(|_| &header);
    check_classes(spec.class_weight.as_ref(), known, &mut violations);
    check_layers(&spec.layers, base, &mut violations);
    check_dropout(&spec.regularization.dropout, base, &mut violations);
    check_history(&spec, base, &mut violations);
    let Some(data) = data else {
        return Err(violations.into_vec());
    };
    let Validation {
        checked: validation,
        inline: inline_validation,
        kept,
    } = validation;
    let train_rows = data.rows.saturating_sub(kept);
    let continued = (context.base_version, context.continued.as_ref());
    let from = check_from(&spec, continued, &mut violations);
    let (batch_size, shuffle) = batches(&spec, train_rows, &mut violations);
    let others = context.validation.as_ref().map_or(0, DatasetView::rows);
    let window = window_rows(spec.window_rows, base, &data, others, &context.limits);
    let checked = CheckedSpec {
        model: spec.model,
        from,
        data: data.checked,
        validation,
        cross_validation,
        optimizer: spec.optimizer,
        regularization: spec.regularization,
        schedule: spec.schedule,
        warmup_epochs: spec.warmup_epochs,
        class_weight: spec.class_weight,
        layers: spec.layers,
        early_stopping: spec.early_stopping,
        target_metric: spec.target_metric,
        max_seconds: spec.max_seconds,
        epochs: spec.epochs,
        batch_size,
        shuffle,
        window_rows: window,
        seed: spec.seed,
        metrics,
        refit: spec.refit,
        train_rows,
        targets: data.targets,
    };
    check_steps(&checked, &context.limits, &mut violations);
    let of_table = (base, kept.max(others), &context.limits);
    check_window(spec.window_rows, &checked, of_table, &mut violations);
    check_normalization(&checked, base, &context.limits, &mut violations);
    check_fold_normalization(&checked, base, &mut violations);
    violations.finish()?;
    Ok(CheckedJob {
        spec: checked,
        inline: data.inline,
        inline_validation,
        base: None,
        warnings: data.warnings,
    })
}

/// Checks what needs neither a model nor data.
pub fn check_alone(spec: &JobSpec, limits: &JobLimits, violations: &mut Violations) {
    check_ranges(spec, limits, violations);
    if !PRIORITIES.contains(&spec.priority) {
        let (low, high, got) = (PRIORITIES.start(), PRIORITIES.end(), spec.priority);
        violations.add(
            "/priority",
            format!("must be in [{low}, {high}], got {got}"),
        );
    }
    check_labels(violations, "", &spec.metadata);
}

/// The base's header; where the job refits, without the features and classes it was fitted with, unless they were declared.
fn effective_base(spec: &JobSpec, base: &Header) -> Header {
    if spec.refit && base.columns.is_none() {
        return Header {
            features: None,
            targets: Targets::Values { names: None },
            ..base.clone()
        };
    }
    base.clone()
}

fn check_ranges(spec: &JobSpec, limits: &JobLimits, violations: &mut Violations) {
    violations.range("/epochs", spec.epochs, 1, limits.epochs);
    if let Some(BatchSize::Samples(samples)) = spec.batch_size
        && !(1..=limits.batch_size).contains(&samples)
    {
        let most = limits.batch_size;
        violations.add(
            "/batch_size",
            format!("must be in [1, {most}] or \"full\", got {samples}"),
        );
    }
    for (name, detail) in spec.optimizer.violations() {
        violations.add(format!("/optimizer/{name}"), detail);
    }
    for (name, detail) in spec.schedule.violations() {
        violations.add(format!("/schedule/{name}"), detail);
    }
    let (warmup, epochs) = (spec.warmup_epochs, spec.epochs);
    if !(0.0..=epochs as f64).contains(&warmup) {
        violations.add(
            "/warmup_epochs",
            format!("must be in [0, {epochs}], the epochs of the job, got {warmup}"),
        );
    }
    if let Some(early) = &spec.early_stopping {
        early.check(violations);
    }
    let range = Range::above(0.0, limits.seconds as f64);
    let seconds = Hyperparameter::optional("max_seconds", spec.max_seconds, range, "");
    if let Some(detail) = seconds.violation() {
        violations.add("/max_seconds", detail);
    }
    for (name, detail) in spec.regularization.violations() {
        violations.add(format!("/regularization/{name}"), detail);
    }
    check_whole(spec, violations);
}

/// Steps of a job whose epochs and batches are within their own ranges.
fn check_steps(spec: &CheckedSpec, limits: &JobLimits, violations: &mut Violations) {
    if spec.epochs > limits.epochs || spec.batch_rows() == 0 {
        return;
    }
    let steps = spec.steps_of_all_runs();
    if steps.is_none_or(|steps| steps > limits.steps) {
        let (epochs, per_epoch, most) = (spec.epochs, spec.steps_per_epoch(), limits.steps);
        let runs = match spec.fold_rows().len() {
            0 => String::new(),
            folds => format!(" in each of {} runs", folds + 1),
        };
        violations.add(
            "/epochs",
            format!(
                "must take at most {most} steps, got {epochs} epochs of {per_epoch} steps{runs}"
            ),
        );
    }
}

fn check_data(
    data: &DataSpec,
    base: &Header,
    context: &Context,
    violations: &mut Violations,
) -> Option<Data> {
    match (&data.dataset, &data.inputs) {
        (Some(_), Some(_)) => {
            violations.add("/data/inputs", "must be left out where dataset is given");
        }
        (None, None) => violations.add(
            "/data",
            "must have inputs and targets, or a dataset and its target",
        ),
        (Some(name), None) => return check_dataset(data, name, base, context, violations),
        (None, Some(inputs)) => return check_inline(data, inputs, base, violations),
    }
    None
}

fn check_dataset(
    data: &DataSpec,
    name: &str,
    base: &Header,
    context: &Context,
    violations: &mut Violations,
) -> Option<Data> {
    let Some(view) = &context.data else {
        violations.add(
            "/data/dataset",
            format!("must name a dataset, got {name:?}, and there is none of that name"),
        );
        return None;
    };
    let Selection {
        features,
        names,
        kind,
        missing,
        targets,
        sample_weight,
        rows,
    } = select(data, base, view, &context.limits, violations)?;
    let warnings = of_columns(&names, view);
    let checked = CheckedData::Dataset {
        dataset: view.name.clone(),
        digest: view.digest.clone(),
        features,
        targets: names,
        target_kind: kind,
        missing,
        sample_weight,
    };
    Some(Data {
        checked,
        inline: None,
        rows,
        targets,
        warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Column;
    use crate::model::{ModelLimits, ModelSpec};

    const LIMITS: JobLimits = JobLimits {
        epochs: 100,
        batch_size: 100,
        steps: 100_000,
        batch_activations: 1000,
        classes: 3,
        seconds: 60,
        data_bytes: 1 << 20,
    };

    fn view(
        columns: Vec<Column>,
        base: &Header,
        (data, split_by): (&DataSpec, Option<&str>),
    ) -> DatasetView {
        let descriptions: Vec<_> = columns
            .iter()
            .map(|column| column.description().clone())
            .collect();
        let wanted = DatasetView::to_load(data, split_by, base, &descriptions);
        let loaded = columns
            .into_iter()
            .map(|column| (column.name().to_owned(), column))
            .filter(|(name, _)| wanted.contains(name))
            .collect();
        DatasetView {
            name: "d".to_owned(),
            digest: String::new(),
            columns: descriptions,
            loaded,
            split_by: split_by.map(str::to_owned),
        }
    }

    fn numbers(name: &str, values: &[f64]) -> Column {
        Column::numeric(name, values.iter().copied()).expect("finite numbers")
    }

    fn words(name: &str, words: &[&str]) -> Column {
        let words: Vec<_> = words.iter().map(|word| Some(*word)).collect();
        Column::categorical(name, &words)
    }

    /// What the check says of a job for a model of `inputs` inputs whose last layer is `last`.
    fn checked(
        (inputs, last): (u64, &str),
        job: &str,
        data: Vec<Column>,
        validation: Vec<Column>,
    ) -> Result<CheckedJob, Vec<(String, String)>> {
        let model = format!(r#"{{"name":"m","inputs":{inputs},"layers":[{last}]}}"#);
        let model: ModelSpec = serde_json::from_str(&model).expect("a model");
        let limits = ModelLimits {
            layers: 9,
            units: 9,
            inputs: 9,
            parameters: 999,
        };
        let base = model.check(&limits).expect("a good model").build().header();
        let job: JobSpec = serde_json::from_str(job).expect("a job");
        let context = Context {
            base: &base,
            base_version: 1,
            continued: None,
            data: Some(view(data, &base, (&job.data, job.split_column()))),
            validation: Some(view(validation, &base, (&job.data, None))),
            limits: LIMITS,
        };
        check(job, &context).map_err(|violations| {
            let pair = |violation: Violation| (violation.pointer, violation.detail);
            violations.into_iter().map(pair).collect()
        })
    }

    fn pointers(violations: Result<CheckedJob, Vec<(String, String)>>) -> Vec<String> {
        let violations = violations.expect_err("violations");
        violations.into_iter().map(|(pointer, _)| pointer).collect()
    }

    const ONE: &str = r#"{"units":1,"activation":"identity"}"#;
    const TWO: &str = r#"{"units":2,"activation":"identity"}"#;

    fn table() -> Vec<Column> {
        vec![
            numbers("x", &[1.0, 2.0, 3.0]),
            numbers("y", &[0.0, 1.0, 2.0]),
            words("w", &["a", "b", "a"]),
        ]
    }

    #[test]
    fn faults_of_different_parts_are_reported_together() {
        let job = r#"{"model":"m","epochs":0,"data":{"dataset":"d","features":["z"],"target":"y"},
                      "validation":{"fraction":2}}"#;
        let found = pointers(checked((1, ONE), job, table(), table()));
        let expected = ["/epochs", "/data/features/0", "/validation/fraction"];
        assert_eq!(found, expected);
        let job = r#"{"model":"m","epochs":0,"data":{"inputs":[[1,2]],"targets":[[1]]},
                      "validation":{"inputs":[[1]],"targets":[[1,2]]}}"#;
        let found = pointers(checked((1, ONE), job, table(), table()));
        let expected = ["/epochs", "/data/inputs/0", "/validation/targets/0"];
        assert_eq!(found, expected);
    }

    #[test]
    fn targets_are_named_at_least_once_and_at_most_once() {
        let job = |targets: &str| {
            let data = format!(r#"{{"dataset":"d","features":["x"],"targets":{targets}}}"#);
            format!(r#"{{"model":"m","data":{data}}}"#)
        };
        let twice = checked((1, TWO), &job(r#"["y","y"]"#), table(), table());
        let twice = twice.expect_err("named twice");
        assert_eq!(twice[0].0, "/data/targets/1");
        assert_eq!(twice[0].1, "must be named once, got \"y\" again");
        let none = checked((1, TWO), &job("[]"), table(), table());
        assert_eq!(
            none.expect_err("no target")[0].1,
            "must name at least one column, got none"
        );
    }

    #[test]
    fn features_of_a_wrong_count_are_one_violation_however_many() {
        let features: Vec<String> = (0..50_000).map(|name| format!("\"{name}\"")).collect();
        let features = features.join(",");
        let job = format!(
            r#"{{"model":"m","data":{{"dataset":"d","features":[{features}],"target":"y"}}}}"#
        );
        let found = checked((1, ONE), &job, table(), table()).expect_err("too many");
        assert_eq!(found.len(), 1);
        assert!(found[0].1.len() < 500, "{}", found[0].1);
    }

    #[test]
    fn faults_point_to_what_was_given() {
        let job = r#"{"model":"m","data":{"dataset":"d","features":["x"],"target":"y",
                      "target_kind":"numeric"}}"#;
        let found = pointers(checked((1, TWO), job, table(), table()));
        assert_eq!(found, ["/data/target"]);
        let job = r#"{"model":"m","data":{"dataset":"d","features":["x"],"targets":["y","w"]}}"#;
        let found = pointers(checked((1, TWO), job, table(), table()));
        assert_eq!(found, ["/data/targets"]);
    }

    #[test]
    fn more_classes_than_the_limit_are_counted_and_not_listed() {
        let mut data = table();
        data.push(words("c", &["p", "q", "r"]));
        data.push(numbers("n", &[1.0, 2.0, 3.0]));
        let four = vec![numbers("x", &[0.0; 4]), words("c", &["p", "q", "r", "s"])];
        let job = r#"{"model":"m","data":{"dataset":"d","features":["x"],"target":"c"}}"#;
        let found = checked((1, TWO), job, four, table()).expect_err("four classes");
        assert_eq!(found[0].1, "must have at most 3 classes, got 4");
        let found = checked((1, TWO), job, data, table()).expect_err("three classes");
        assert!(found[0].1.starts_with("has 3 classes (p, q, r), so"));
    }

    #[test]
    fn a_validation_dataset_whose_every_row_misses_a_value_is_refused() {
        let job = r#"{"model":"m","data":{"dataset":"d","features":["x"],"target":"y","missing":"drop_rows"},
                      "validation":{"dataset":"d"}}"#;
        let (x, nan) = (numbers("x", &[1.0, f64::NAN]), f64::NAN);
        let gaps = vec![x.clone(), numbers("y", &[nan, 1.0])];
        let found = checked((1, ONE), job, table(), gaps).expect_err("no row left");
        assert_eq!(found[0].0, "/validation/dataset");
        assert!(found[0].1.starts_with("drop_rows leaves no row"));
        let one = vec![x, numbers("y", &[0.0, 1.0])];
        assert!(checked((1, ONE), job, table(), one).is_ok());
    }

    #[test]
    fn every_target_of_a_validation_dataset_is_checked() {
        let mut data = table();
        data.push(numbers("v", &[0.0, 1.0, 1.0]));
        let job = r#"{"model":"m","data":{"dataset":"d","features":["x"],"targets":["y","v"]},
                      "validation":{"dataset":"d"}}"#;
        let other = |second| vec![numbers("x", &[1.0]), numbers("y", &[1.0]), second];
        let run = |second| checked((1, TWO), job, data.clone(), other(second));
        let found = run(words("v", &["a"])).expect_err("words");
        assert_eq!(found[0].1, "column \"v\" must be numeric, as in data");
        let found = run(numbers("v", &[1e39])).expect_err("beyond float32");
        assert_eq!(found[0].0, "/validation/dataset");
        assert!(found[0].1.contains("got column \"v\""), "{}", found[0].1);
        assert!(run(numbers("v", &[1.0])).is_ok());
    }
}
