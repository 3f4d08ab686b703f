//! What batch normalization asks of a job: batches with a variance, that fit the memory, and an optimizer of batches.

use crate::model::{Header, Violations};
use crate::nn::OptimizerSpec;
use crate::train::cost::embedded;
use crate::train::{BatchSize, CheckedSpec, JobLimits};

/// Notes what does not go with batch normalization, where the network has it.
pub(super) fn check_normalization(
    spec: &CheckedSpec,
    base: &Header,
    limits: &JobLimits,
    violations: &mut Violations,
) {
    if !base.needs_whole_batch() {
        return;
    }
    if matches!(spec.optimizer, OptimizerSpec::Lbfgs(_)) {
        let detail = "must be another for batch normalization, whose running mean and variance follow steps of batches, got lbfgs";
        violations.add("/optimizer/type", detail);
    }
    if spec.batch_size == BatchSize::Samples(1) {
        let detail = "must be at least 2 for batch normalization: one row has no variance, got 1";
        violations.add("/batch_size", detail);
    } else if spec.train_rows == 1 {
        let detail = "must leave at least 2 rows to train on for batch normalization, got 1";
        violations.add("/data", detail);
    } else if spec.train_rows > 0 {
        check_memory(spec, base, limits, violations);
    }
}

/// Notes a fold whose run trains on one row, where the network has batch normalization.
pub(super) fn check_fold_normalization(
    spec: &CheckedSpec,
    base: &Header,
    violations: &mut Violations,
) {
    let mut rows = spec.fold_rows().iter();
    if base.needs_whole_batch() && rows.any(|rows| rows + 1 == spec.train_rows) {
        let detail =
            "must leave each run at least 2 rows to train on for batch normalization, got 1";
        violations.add("/cross_validation", detail);
    }
}

/// A whole batch is held at once, and not 64 rows after 64.
fn check_memory(
    spec: &CheckedSpec,
    base: &Header,
    limits: &JobLimits,
    violations: &mut Violations,
) {
    let units: u64 = base.layers.iter().map(|layer| layer.units as u64).sum();
    let (rows, most) = (spec.batch_rows() as u64, limits.batch_activations);
    let of_vectors = embedded(base);
    let of_row = units.saturating_add(of_vectors);
    if rows.saturating_mul(of_row) > most {
        let fitting = most / of_row.max(1);
        let beside = match of_vectors {
            0 => String::new(),
            numbers => format!(" and {numbers} numbers of vectors"),
        };
        let detail = format!(
            "must be at most {fitting} for batch normalization, which holds {units} units{beside} of each row at once, got {rows}"
        );
        violations.add("/batch_size", detail);
    }
}
