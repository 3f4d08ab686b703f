//! What a job's targets mean, classes or numbers, and whether the model takes them.

use std::collections::HashSet;

use crate::data::{Column, ColumnDescription, Kind};
use crate::model::{Header, Targets, Violations, shortened};
use crate::train::TargetKind;
use crate::train::selection::Choice;

impl Choice<'_> {
    /// What the targets mean.
    pub(crate) fn targets(
        &self,
        names: &[String],
        violations: &mut Violations,
    ) -> Option<(TargetKind, Targets)> {
        let column = |name: &String| self.columns.get(name.as_str()).copied();
        let single = match names {
            [name] => column(name),
            _ => None,
        };
        let words = names
            .iter()
            .filter_map(column)
            .find(|column| column.kind == Kind::Categorical);
        let kind = match (self.data.target_kind, single) {
            (Some(kind), _) => kind,
            (None, Some(column)) if column.kind == Kind::Categorical || self.base.outputs() > 1 => {
                TargetKind::Categorical
            }
            (None, _) => TargetKind::Numeric,
        };
        match (kind, single, words) {
            (TargetKind::Categorical, None, _) => {
                violations.add(
                    "/data/target_kind",
                    "must be numeric where there are several targets",
                );
                None
            }
            (TargetKind::Categorical, Some(column), _) => {
                let values = self.view.loaded.get(&column.name);
                let values = values.expect("the caller loads the columns that to_load names");
                Some((kind, self.classes(values, violations)?))
            }
            (TargetKind::Numeric, _, Some(column)) => {
                let name = &column.name;
                violations.add(
                    self.target_pointer(),
                    format!("must be numeric columns, got {name:?}, which holds words"),
                );
                None
            }
            (TargetKind::Numeric, _, None) => {
                self.check_numeric(names, violations);
                let names = Some(names.to_vec());
                Some((kind, Targets::Values { names }))
            }
        }
    }

    /// The classes of a target: those the model was fitted with, or those found.
    fn classes(&self, column: &Column, violations: &mut Violations) -> Option<Targets> {
        let (pointer, outputs) = (self.target_pointer(), self.base.outputs());
        let most = self.limits.classes;
        let found = match classes_of(column, most) {
            Ok(found) => found,
            Err(count) => {
                let detail = format!("must have at most {most} classes, got {count}");
                violations.add(pointer, detail);
                return None;
            }
        };
        let classes = match self.base.targets.classes() {
            Some(kept) => {
                if let Some(unknown) = unknown_among(&found, kept) {
                    let kept = shortened(kept);
                    let detail = format!(
                        "must have the model's classes ({kept}), or give \"refit\":true, got {unknown}"
                    );
                    violations.add(pointer, detail);
                    return None;
                }
                kept.to_vec()
            }
            None => found,
        };
        let count = classes.len();
        if count != outputs {
            let shown = shortened(&classes);
            let detail = format!(
                "has {count} classes ({shown}), so the last layer must have {count} units, got {outputs}"
            );
            violations.add(pointer, detail);
        }
        let name = column.name().to_owned();
        Some(Targets::Classes { name, classes })
    }

    fn check_numeric(&self, names: &[String], violations: &mut Violations) {
        let outputs = self.base.outputs();
        if names.len() != outputs {
            let got = names.len();
            violations.add(
                self.target_pointer(),
                format!("must be {outputs} columns, as the last layer has units, got {got}"),
            );
        }
        if self.base.targets.classes().is_some() {
            let detail =
                "must be the classes that the model was fitted with, or give \"refit\":true";
            violations.add("/data/target_kind", detail);
        }
        for column in names
            .iter()
            .filter_map(|name| self.columns.get(name.as_str()))
        {
            check_target_range(self.base, column, self.target_pointer(), violations);
        }
    }
}

/// The classes of a column's values: words in sorted order, numbers numerically.
///
/// Errors: how many there are, where they are more than `most`.
fn classes_of(column: &Column, most: usize) -> Result<Vec<String>, usize> {
    let Some(mut numbers) = column.numbers() else {
        let words = column.categories();
        return if words.len() > most {
            Err(words.len())
        } else {
            Ok(words.to_vec())
        };
    };
    numbers.retain(|number| !number.is_nan());
    for number in &mut numbers {
        *number += 0.0; // −0 is 0
    }
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.dedup();
    if numbers.len() > most {
        return Err(numbers.len());
    }
    Ok(numbers.iter().map(f64::to_string).collect())
}

/// The first few classes of a column that are not among `known`, for a message.
pub(crate) fn unknown_classes(column: &Column, known: &[String], most: usize) -> Option<String> {
    match classes_of(column, most) {
        Err(count) => Some(format!("{count} classes")),
        Ok(found) => unknown_among(&found, known),
    }
}

fn unknown_among(found: &[String], known: &[String]) -> Option<String> {
    let known: HashSet<&String> = known.iter().collect();
    let unknown: Vec<_> = found
        .iter()
        .filter(|class| !known.contains(class))
        .collect();
    (!unknown.is_empty()).then(|| shortened(&unknown))
}

/// Notes a numeric target whose values the model's loss or dtype does not accept.
pub(crate) fn check_target_range(
    header: &Header,
    column: &ColumnDescription,
    pointer: &str,
    violations: &mut Violations,
) {
    let (low, high) = header.loss.target_range();
    let (low, high) = (low.max(-header.dtype.max()), high.min(header.dtype.max()));
    let (Some(least), Some(most)) = (column.min, column.max) else {
        return;
    };
    if (least < low || most > high) && !violations.is_full() {
        let (name, loss) = (&column.name, header.loss.name());
        let shown = |bound: f64| {
            if bound.abs() < 1e6 {
                bound.to_string()
            } else {
                format!("{bound:e}")
            }
        };
        let (low, high) = (shown(low), shown(high));
        let detail = format!(
            "must be in [{low}, {high}] for loss {loss}, got column {name:?} in [{least}, {most}]"
        );
        violations.add(pointer, detail);
    }
}
