//! The check of a table's columns against those of a model that was declared from a table.

use std::collections::HashMap;

use crate::data::{Column, ColumnDescription, Kind};
use crate::model::columns::{ColumnSpec, Encode, Role, Unknown, goes_with, name_of};
use crate::model::{Header, Violations, shortened};

/// Categories that a message is made of, at most.
const MOST_CLASSES: usize = 1_000_000;

/// The columns of a model that was declared from a table, by their names; none of another.
pub(crate) struct Declared<'a>(HashMap<&'a str, &'a ColumnSpec>);

impl<'a> Declared<'a> {
    /// Those of a model.
    pub(crate) fn of(header: &'a Header) -> Self {
        let columns = header.columns.iter().flatten();
        Self(columns.map(|spec| (spec.name.as_str(), spec)).collect())
    }

    /// One of them.
    fn get(&self, name: &str) -> Option<&'a ColumnSpec> {
        self.0.get(name).copied()
    }

    /// Whether a column holds numbers or truth values that are categories of the model: they are known by the values alone.
    pub(crate) fn is_held_otherwise(&self, column: &ColumnDescription) -> bool {
        let is_categorical = self.get(&column.name).is_some_and(|wanted| {
            wanted.role == Role::Feature && wanted.kind() == Kind::Categorical
        });
        is_categorical && column.kind != Kind::Categorical
    }

    /// Whether rows may miss a column's value: the model has another to take in its place.
    pub(crate) fn may_be_missing(&self, name: &str) -> bool {
        self.get(name).is_some_and(ColumnSpec::imputes)
    }
}

/// Notes a feature column that the model cannot read: of a model declared from a table, one of another kind or with unknown
/// categories; of another, one that holds words.
pub(crate) fn check_feature(
    declared: &Declared,
    (column, values): (&ColumnDescription, Option<&Column>),
    pointer: impl Fn() -> String,
    violations: &mut Violations,
) {
    let name = &column.name;
    let Some(wanted) = declared.get(name) else {
        if matches!(column.kind, Kind::Categorical | Kind::Timestamp) {
            violations.add(pointer(), words(column));
        }
        return;
    };
    if !goes_with(wanted.kind(), column.kind) {
        let (wanted, got) = (name_of(wanted.kind()), name_of(column.kind));
        let first = first_word(column);
        let detail =
            format!("must be {wanted} as in the model, got column {name:?}, which is {got}{first}");
        violations.add(pointer(), detail);
        return;
    }
    let is_listed = wanted.kind() == Kind::Categorical
        && !matches!(wanted.encode, Some(Encode::Hashed { .. }))
        && wanted.unknown == Some(Unknown::Error);
    if is_listed {
        let known = wanted.categories();
        let places: std::collections::HashSet<&String> = known.iter().collect();
        let found = values.and_then(|values| values.classes(MOST_CLASSES).ok());
        let held = found.as_ref().filter(|_| column.kind != Kind::Categorical);
        let unknown: Vec<&String> = held
            .unwrap_or(&column.categories)
            .iter()
            .filter(|word| !places.contains(word))
            .collect();
        if !unknown.is_empty() {
            let (unknown, known) = (shortened(&unknown), shortened(known));
            let detail = format!(
                "must have the model's categories in column {name:?} ({known}), or the model be declared with \"unknown\":\"zeros\" for it, got {unknown}"
            );
            violations.add(pointer(), detail);
        }
    }
}

fn words(column: &ColumnDescription) -> String {
    let (name, kind, found) = (&column.name, name_of(column.kind), first_word(column));
    format!(
        "must be numeric columns, got {name:?}, which is {kind}{found}: name the features to use, without it, or declare the model from the dataset, which encodes it"
    )
}

fn first_word(column: &ColumnDescription) -> String {
    column
        .first_word
        .as_ref()
        .map_or_else(String::new, |first| {
            format!(
                " (its first word is {:?} on line {})",
                first.word, first.line
            )
        })
}
