//! The check of rows given in a job's body.

use ndarray::Array2;

use crate::model::{Error, Header, Rows, TargetRows, Violation, Violations, digest};
use crate::train::check::Data;
use crate::train::source::encode_inline;
use crate::train::{CheckedData, DataSpec};

/// Checks `data` of rows.
pub(crate) fn check_inline(
    data: &DataSpec,
    inputs: &Rows,
    base: &Header,
    violations: &mut Violations,
) -> Option<Data> {
    let only_dataset = [
        ("/data/features", data.features.is_some()),
        ("/data/target", data.target.is_some()),
        ("/data/target_kind", data.target_kind.is_some()),
        ("/data/missing", data.missing.is_some()),
    ];
    for (pointer, _) in only_dataset.into_iter().filter(|(_, given)| *given) {
        violations.add(
            pointer,
            "must be left out where inputs are given: it belongs to a dataset",
        );
    }
    let Some(targets) = &data.targets else {
        violations.add(
            "/data/targets",
            "must be given beside inputs: one target row for each input row",
        );
        return None;
    };
    let (inputs, targets) = checked_rows(inputs, targets, base, "/data", violations)?;
    let bytes = encode_inline(&inputs, &targets);
    let checked = CheckedData::Inline {
        rows: inputs.nrows(),
        inputs: inputs.ncols(),
        targets: targets.ncols(),
        digest: digest(&bytes),
    };
    Some(Data {
        checked,
        rows: inputs.nrows(),
        inline: Some(bytes),
        targets: base.targets.clone(),
    })
}

/// Inline rows as matrices (N × K) and (N × J), once their shapes and numbers are right.
pub(crate) fn checked_rows(
    inputs: &Rows,
    targets: &TargetRows,
    header: &Header,
    under: &str,
    violations: &mut Violations,
) -> Option<(Array2<f64>, Array2<f64>)> {
    if violations.is_full() {
        return None;
    }
    let before = violations.len();
    let expected = header.inputs;
    if inputs.is_empty() {
        violations.add(
            format!("{under}/inputs"),
            "must have at least one row, got 0",
        );
    } else if inputs.width() != expected {
        let got = inputs.width();
        violations.add(
            format!("{under}/inputs/0"),
            format!("must have {expected} numbers (inputs), got {got}"),
        );
    }
    if targets.len() != inputs.len() {
        let (rows, got) = (inputs.len(), targets.len());
        violations.add(
            format!("{under}/targets"),
            format!("must have a row for each of the {rows} inputs, got {got}"),
        );
    }
    check_magnitude(inputs, header, under, violations);
    match header.target_matrix(targets, &format!("{under}/targets")) {
        Ok(targets) if violations.len() == before => Some((inputs.view().to_owned(), targets)),
        Ok(_) => None,
        Err(Error::Invalid { violations: found }) => {
            for Violation { pointer, detail } in found {
                violations.add(pointer, detail);
            }
            None
        }
        Err(error) => {
            violations.add(under, error.to_string());
            None
        }
    }
}

/// Notes the inputs that do not fit the model's dtype.
fn check_magnitude(inputs: &Rows, header: &Header, under: &str, violations: &mut Violations) {
    let (dtype, most) = (header.dtype.name(), header.dtype.max());
    for ((row, column), value) in inputs
        .view()
        .indexed_iter()
        .filter(|(_, value)| value.abs() > most)
    {
        if violations.is_full() {
            return;
        }
        let detail = format!("must fit {dtype}, within ±{most:e}, got {value:e}");
        violations.add(format!("{under}/inputs/{row}/{column}"), detail);
    }
}
