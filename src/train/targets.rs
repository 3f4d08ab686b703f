//! What a job's targets mean, classes or numbers, and whether the model takes them.

use std::collections::HashSet;

use crate::data::{Column, ColumnDescription, Kind};
use crate::model::{Header, Targets, Violations, shortened};
use crate::nn::Activation;
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
        let kept = match &self.base.targets {
            Targets::Labels { .. } => Some(TargetKind::Labels),
            Targets::Values { .. } if self.base.columns.is_some() => Some(TargetKind::Numeric),
            Targets::Classes { .. } if self.base.columns.is_some() => Some(TargetKind::Categorical),
            Targets::Values { .. } | Targets::Classes { .. } => None,
        };
        let kind = match (self.data.target_kind.or(kept), single) {
            (Some(kind), _) => kind,
            (None, Some(column)) if column.kind == Kind::Categorical || self.base.outputs() > 1 => {
                TargetKind::Categorical
            }
            (None, _) => TargetKind::Numeric,
        };
        check_kept(self.base, kind, violations);
        if let (Some(declared), true) = (kept, kept.is_some_and(|kept| kept != kind))
            && self.base.columns.is_some()
        {
            let (declared, got) = (declared.name(), kind.name());
            let detail =
                format!("must be {declared} as the model was declared, or left out, got {got}");
            violations.add("/data/target_kind", detail);
        }
        match (kind, single, words) {
            (TargetKind::Categorical, None, _) => {
                violations.add(
                    "/data/target_kind",
                    "must be numeric or labels where there are several targets",
                );
                None
            }
            (TargetKind::Categorical, Some(column), _) => {
                let values = self.view.loaded.get(&column.name);
                let values = values.expect("the caller loads the columns that to_load names");
                Some((kind, self.classes(values, violations)?))
            }
            (TargetKind::Numeric | TargetKind::Labels, _, Some(column)) => {
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
            (TargetKind::Labels, _, None) => {
                self.check_numeric(names, violations);
                check_last_of_labels(self.base, "/data/target_kind", violations);
                self.check_labels(names, violations);
                let names = Some(names.to_vec());
                Some((kind, Targets::Labels { names }))
            }
        }
    }

    /// The classes of a target: those the model was fitted with, or those found.
    fn classes(&self, column: &Column, violations: &mut Violations) -> Option<Targets> {
        let (pointer, outputs) = (self.target_pointer(), self.base.outputs());
        let most = self.limits.classes;
        let found = match column.classes(most) {
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
        if count != outputs && !self.base.is_binary() {
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
        for column in names
            .iter()
            .filter_map(|name| self.columns.get(name.as_str()))
        {
            check_target_range(self.base, column, self.target_pointer(), violations);
        }
    }

    fn check_labels(&self, names: &[String], violations: &mut Violations) {
        let columns = names.iter().filter_map(|name| self.view.loaded.get(name));
        for detail in columns.filter_map(no_label) {
            violations.add(self.target_pointer(), detail);
        }
    }
}

/// Notes targets of another kind than those that the model was fitted with.
pub(crate) fn check_kept(base: &Header, kind: TargetKind, violations: &mut Violations) {
    let kept = match (&base.targets, kind) {
        (Targets::Values { .. }, _)
        | (Targets::Classes { .. }, TargetKind::Categorical)
        | (Targets::Labels { .. }, TargetKind::Labels) => return,
        (Targets::Classes { .. }, TargetKind::Numeric | TargetKind::Labels) => "classes",
        (Targets::Labels { .. }, TargetKind::Numeric | TargetKind::Categorical) => "labels",
    };
    let detail =
        format!("must be the {kept} that the model was fitted with, or give \"refit\":true");
    violations.add("/data/target_kind", detail);
}

/// Notes a last layer whose outputs are not each a probability of its own.
pub(crate) fn check_last_of_labels(base: &Header, pointer: &str, violations: &mut Violations) {
    let last = base.last_activation();
    if last != Activation::Sigmoid {
        let last = last.name();
        let detail =
            format!("must not be labels where the last layer is not of sigmoid units, got {last}");
        violations.add(pointer, detail);
    }
}

/// What is wrong with a column of labels: its first value that is neither 0 nor 1.
pub(crate) fn no_label(column: &Column) -> Option<String> {
    let numbers = column.numbers()?;
    let is_none = |number: &f64| !(number.is_nan() || *number == 0.0 || *number == 1.0);
    let mut numbers = numbers.iter().enumerate();
    let (row, number) = numbers.find(|(_, number)| is_none(number))?;
    let (name, row) = (column.name(), row + 1);
    Some(format!(
        "column {name:?} must be 0 or 1 in every row, as labels are, got {number} in row {row}"
    ))
}

/// The first few classes of a column that are not among `known`, for a message.
pub(crate) fn unknown_classes(column: &Column, known: &[String], most: usize) -> Option<String> {
    match column.classes(most) {
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
