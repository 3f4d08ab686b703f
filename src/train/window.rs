//! Windows: how many rows of a table that is too large to be held are in memory at a time.

use crate::model::{Header, Violations};
use crate::train::check::Data;
use crate::train::full_report::MOST_WINDOWED_ANSWERS;
use crate::train::{CheckedData, CheckedSpec, JobLimits};

/// Bytes of a row in memory beside its numbers: its place in the order, and in the table.
const BESIDE: u64 = 8;

impl CheckedSpec {
    /// Rows trained on that are in memory at a time, where they are not all.
    pub(super) fn window(&self) -> Option<usize> {
        self.window_rows.filter(|&window| window < self.train_rows)
    }

    /// Of so many rows validated on those that are in memory at a time, where they are not all: a third of the window.
    pub(super) fn validation_window(&self, rows: usize) -> Option<usize> {
        let window = self.window_rows.map(|window| (window / 3).max(1));
        window.filter(|&window| window < rows)
    }
}

/// The rows that a job has in memory at a time, as given, or as its memory allows; none of one that holds all. `others` are rows
/// of another dataset that it validates on.
pub(super) fn window_rows(
    given: Option<u64>,
    base: &Header,
    data: &Data,
    others: usize,
    limits: &JobLimits,
) -> Option<usize> {
    if !matches!(data.checked, CheckedData::Dataset { .. }) {
        return None;
    }
    if let Some(given) = given {
        return Some(usize::try_from(given).unwrap_or(usize::MAX));
    }
    let rows = (data.rows + others) as u64;
    (rows > held_rows(base, limits)).then(|| most_rows(base, limits) as usize)
}

/// Notes a window that the server does not hold, and what asks for all rows at once of a job that has not all in memory.
pub(super) fn check_window(
    given: Option<u64>,
    checked: &CheckedSpec,
    (base, validation_rows, limits): (&Header, usize, &JobLimits),
    violations: &mut Violations,
) {
    if let Some(given) = given {
        check_given(given, checked, (base, limits), violations);
    }
    // Of a window of 0 that is said already.
    let in_parts = checked.window().filter(|&window| window > 0);
    let batch = checked.batch_rows();
    if let Some(window) = in_parts.filter(|&window| batch > window) {
        let all = checked.train_rows;
        let (why, more) = match given {
            Some(_) => ("its window_rows", "give more window_rows"),
            None => (
                "as many as the server's training_data_mib holds",
                "let the server hold more (--training-data-mib)",
            ),
        };
        let detail = format!(
            "must be at most {window} rows, {why}, of {all} that are read in parts, got {batch}: choose a smaller batch, or another optimizer than lbfgs, or {more}"
        );
        violations.add("/batch_size", detail);
    }
    let validation = checked.validation_window(validation_rows);
    let rows = in_parts.map_or(0, |_| checked.train_rows);
    let rows = rows.max(validation.map_or(0, |_| validation_rows));
    let answers = rows.saturating_mul(base.outputs());
    for (place, metric) in checked.metrics.iter().enumerate() {
        if answers <= MOST_WINDOWED_ANSWERS || metric.is_sum() {
            continue;
        }
        let (name, most) = (metric.name(), MOST_WINDOWED_ANSWERS);
        let detail = format!(
            "must be loss or accuracy where rows are read in parts and have more than {most} outputs in all, here {answers}, got {name}, which is computed of all of them at once"
        );
        violations.add(format!("/metrics/{place}"), detail);
    }
}

fn check_given(
    given: u64,
    checked: &CheckedSpec,
    (base, limits): (&Header, &JobLimits),
    violations: &mut Violations,
) {
    violations.range("/window_rows", given, 1, u64::from(u32::MAX));
    if matches!(checked.data, CheckedData::Inline { .. }) {
        let detail = format!("must be left out where data is inline, got {given}");
        violations.add("/window_rows", detail);
        return;
    }
    let most = most_rows(base, limits);
    if given.min(checked.train_rows as u64) > most {
        let detail = format!(
            "must be at most {most}, three quarters of the rows that the server's training_data_mib holds, got {given}: give fewer, or let the server hold more (--training-data-mib)"
        );
        violations.add("/window_rows", detail);
    }
}

/// Rows trained on that may be in memory beside those validated on, which have a quarter.
fn most_rows(base: &Header, limits: &JobLimits) -> u64 {
    let held = held_rows(base, limits);
    (held - held / 4).max(1)
}

/// Rows that may be in memory in all.
fn held_rows(base: &Header, limits: &JobLimits) -> u64 {
    let numbers = (base.inputs + base.outputs()) as u64;
    limits.data_bytes / (numbers * base.dtype.bytes() as u64 + BESIDE)
}
