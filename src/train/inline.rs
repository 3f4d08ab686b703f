//! The check of rows given in a job's body.

use ndarray::Array2;

use crate::model::{Error, Header, Rows, TargetRows, Targets, Violation, Violations, digest};
use crate::train::check::Data;
use crate::train::source::encode_inline;
use crate::train::targets::{check_kept, check_last_of_labels};
use crate::train::warnings::of_rows;
use crate::train::weights::check_rows;
use crate::train::{CheckedData, DataSpec, TargetKind};

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
        ("/data/missing", data.missing.is_some()),
    ];
    for (pointer, _) in only_dataset.into_iter().filter(|(_, given)| *given) {
        violations.add(
            pointer,
            "must be left out where inputs are given: it belongs to a dataset",
        );
    }
    if base.columns.is_some() {
        let detail = "must be left out: this model was declared from a table; upload the rows as a dataset and name it";
        violations.add("/data/inputs", detail);
        return None;
    }
    let Some(targets) = &data.targets else {
        violations.add(
            "/data/targets",
            "must be given beside inputs: one target row for each input row",
        );
        return None;
    };
    let header = Header {
        targets: meaning(data, base, violations),
        ..base.clone()
    };
    let given = data.sample_weight.as_ref();
    let weights = check_rows(given, inputs.len(), "/data/sample_weight", violations);
    let (inputs, targets) = checked_rows(inputs, targets, &header, "/data", violations)?;
    let bytes = encode_inline(&inputs, &targets, weights.as_deref());
    let checked = CheckedData::Inline {
        rows: inputs.nrows(),
        inputs: inputs.ncols(),
        targets: targets.ncols(),
        weighted: weights.is_some(),
        digest: digest(&bytes),
    };
    Some(Data {
        checked,
        rows: inputs.nrows(),
        warnings: of_rows(&targets),
        inline: Some(bytes),
        targets: header.targets,
    })
}

/// What the targets mean: what they meant before, or labels.
fn meaning(data: &DataSpec, base: &Header, violations: &mut Violations) -> Targets {
    let kept = &base.targets;
    let meaning = match (data.target_kind, kept) {
        (None, kept) => kept.clone(),
        (Some(TargetKind::Labels), Targets::Values { names } | Targets::Labels { names }) => {
            let names = names.clone();
            Targets::Labels { names }
        }
        (Some(TargetKind::Labels), Targets::Classes { .. }) => {
            check_kept(base, TargetKind::Labels, violations);
            kept.clone()
        }
        (Some(kind @ (TargetKind::Categorical | TargetKind::Numeric)), kept) => {
            let kind = kind.name();
            let detail = format!("must be labels, or left out, where inputs are given, got {kind}");
            violations.add("/data/target_kind", detail);
            kept.clone()
        }
    };
    if matches!(meaning, Targets::Labels { .. }) {
        check_last_of_labels(base, "/data/target_kind", violations);
    }
    meaning
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
    if header.columns.is_some() {
        let detail = "must be left out: this model was declared from a table; name a dataset";
        violations.add(format!("{under}/inputs"), detail);
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
        Ok(targets) => {
            if matches!(header.targets, Targets::Labels { .. }) {
                check_labels(&targets, under, violations);
            }
            (violations.len() == before).then(|| (inputs.view().to_owned(), targets))
        }
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

/// Notes the targets that are no labels.
fn check_labels(targets: &Array2<f64>, under: &str, violations: &mut Violations) {
    for ((row, column), value) in targets.indexed_iter() {
        if violations.is_full() {
            return;
        }
        if *value != 0.0 && *value != 1.0 {
            let detail = format!("must be 0 or 1, as labels are, got {value}");
            violations.add(format!("{under}/targets/{row}/{column}"), detail);
        }
    }
}

/// Notes the inputs that do not fit the model's dtype.
fn check_magnitude(inputs: &Rows, header: &Header, under: &str, violations: &mut Violations) {
    let (dtype, most) = (header.dtype.name(), header.dtype.max());
    for ((row, column), value) in inputs
        .view()
        .indexed_iter()
        .filter(|(_, value)| !header.dtype.holds(**value))
    {
        if violations.is_full() {
            return;
        }
        let detail = format!("must fit {dtype}, within ±{most:e}, got {value:e}");
        violations.add(format!("{under}/inputs/{row}/{column}"), detail);
    }
}
