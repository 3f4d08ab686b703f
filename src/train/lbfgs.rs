//! What L-BFGS asks of the rest of a job: a loss that is smooth and the same at every evaluation, and all rows at once.

use crate::model::{Header, Violations};
use crate::nn::{Hyperparameter, OptimizerSpec, Schedule, Setting};
use crate::train::cost::parameter_count;
use crate::train::spec::{DEFAULT_BATCH_SIZE, Full};
use crate::train::{BatchSize, JobSpec};

/// The part of regularization that leaves the loss smooth.
const SMOOTH: &str = "l2";

fn is_whole(spec: &JobSpec) -> bool {
    matches!(spec.optimizer, OptimizerSpec::Lbfgs(_))
}

/// Notes what does not go with L-BFGS, where the job has it.
pub(super) fn check_whole(spec: &JobSpec, violations: &mut Violations) {
    if !is_whole(spec) {
        return;
    }
    for part in spec.regularization.hyperparameters() {
        if part.name == SMOOTH {
            continue;
        }
        for (name, detail) in given(&part) {
            violations.add(format!("/regularization/{name}"), detail);
        }
    }
    if spec.schedule != Schedule::Constant {
        let name = spec.schedule.name();
        violations.add(
            "/schedule",
            format!("must be \"constant\" with lbfgs, which finds how far to go, got \"{name}\""),
        );
    }
    if spec.warmup_epochs != 0.0 {
        let got = spec.warmup_epochs;
        violations.add(
            "/warmup_epochs",
            format!("must be 0 with lbfgs, which finds how far to go, got {got}"),
        );
    }
    for (layer, rule) in spec.layers.iter().enumerate() {
        let got = rule.learning_rate_multiplier;
        if got != 1.0 {
            violations.add(
                format!("/layers/{layer}/learning_rate_multiplier"),
                format!("must be 1 with lbfgs, which moves all layers together, got {got}"),
            );
        }
    }
}

/// The most bytes of a checkpoint: what SQLite takes as one value, less a share for names and shapes.
const MOST_BYTES: u64 = 999_000_000;

/// Notes a history that is too long to be kept for a model of this size.
pub(super) fn check_history(spec: &JobSpec, base: &Header, violations: &mut Violations) {
    let OptimizerSpec::Lbfgs(lbfgs) = spec.optimizer else {
        return;
    };
    let parameters = parameter_count(base);
    // Beside the pairs the parameters, and those of the best epoch.
    let networks = MOST_BYTES / (parameters * base.dtype.bytes() as u64);
    let (most, got) = (networks.saturating_sub(2) / 2, lbfgs.history_size);
    if got > most {
        violations.add(
            "/optimizer/history_size",
            format!(
                "must be at most {most} for {parameters} parameters, of each of which a checkpoint has 2 numbers for each step that is remembered, got {got}"
            ),
        );
    }
}

/// What is given of a part, by its name, or in a list by its name and place.
fn given(part: &Hyperparameter) -> Vec<(String, String)> {
    let name = part.name;
    let said = |got: &f64| format!("must be 0 with lbfgs, got {got}");
    match &part.setting {
        Setting::Number(got) if *got != 0.0 => vec![(name.to_owned(), said(got))],
        Setting::Optional(Some(got)) => {
            vec![(
                name.to_owned(),
                format!("must be null with lbfgs, got {got}"),
            )]
        }
        Setting::Numbers(list) => {
            let given = list.iter().enumerate().filter(|(_, got)| **got != 0.0);
            given
                .map(|(place, got)| (format!("{name}/{place}"), said(got)))
                .collect()
        }
        Setting::Number(_)
        | Setting::Optional(None)
        | Setting::Whole(_)
        | Setting::Flag(_)
        | Setting::Word(_)
        | Setting::List(_) => Vec::new(),
    }
}

/// The samples of a batch, filled in; whether they are shuffled, which in a batch of all would be for nothing.
pub(super) fn batches(
    spec: &JobSpec,
    train_rows: usize,
    violations: &mut Violations,
) -> (BatchSize, bool) {
    let rows = train_rows as u64;
    if !is_whole(spec) {
        let few = DEFAULT_BATCH_SIZE.min(rows).max(1);
        let size = spec.batch_size.unwrap_or(BatchSize::Samples(few));
        return (size, spec.shuffle);
    }
    let size = spec.batch_size.unwrap_or(BatchSize::Full(Full::Full));
    if let BatchSize::Samples(got) = size
        && got < rows
    {
        violations.add(
            "/batch_size",
            format!("must be \"full\" with lbfgs, or at least the {rows} rows, got {got}"),
        );
    }
    (size, false)
}
