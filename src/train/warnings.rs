//! Warnings: what a job's user should know of data that can be trained on all the same.

use ndarray::Array2;
use serde::Serialize;

use crate::data::Kind;
use crate::train::DatasetView;

/// Something that a job's user should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// A stable word.
    pub code: &'static str,
    /// A sentence.
    pub detail: String,
}

/// Of the target columns of a dataset: those that have one value or one class.
pub(super) fn of_columns(targets: &[String], table: &DatasetView) -> Vec<Warning> {
    let columns = table.columns.iter();
    let targets = columns.filter(|column| column.rows > 1 && targets.contains(&column.name));
    let warning = |(code, what, column)| Warning {
        code,
        detail: format!("target {column:?} {what}: there is nothing to tell rows apart by"),
    };
    let constant = targets.filter_map(|column| {
        let name = column.name.as_str();
        if let (Kind::Categorical, [class]) = (column.kind, column.categories.as_slice()) {
            return Some((
                "single_class",
                format!("has one class only, {class:?}"),
                name,
            ));
        }
        let value = column.min.filter(|_| column.min == column.max)?;
        let value = match column.kind {
            Kind::Boolean => (value != 0.0).to_string(),
            Kind::Numeric | Kind::Timestamp | Kind::Categorical => value.to_string(),
        };
        let where_ = if column.missing > 0 {
            "wherever it has a value"
        } else {
            "in every row"
        };
        Some(("constant_target", format!("is {value} {where_}"), name))
    });
    constant.map(warning).collect()
}

/// Of target rows: that they are all alike.
pub(super) fn of_rows(targets: &Array2<f64>) -> Vec<Warning> {
    let mut rows = targets.rows().into_iter();
    let first = rows.next();
    if rows.len() == 0 || rows.any(|row| Some(row) != first) {
        return Vec::new();
    }
    let detail = "every row has the same target: there is nothing to tell rows apart by".to_owned();
    let code = "constant_target";
    vec![Warning { code, detail }]
}
