//! What samples and classes weigh, as a user declares it, and its check.
//!
//! A sample weighs its own weight times that of its class in the training loss and its gradient; in figures, and in the loss
//! of what is validated on, its own alone.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

use crate::data::{ColumnDescription, Kind};
use crate::model::{Header, Violations, escaped, known};
use crate::train::figures::Answering;
use crate::train::selection::Choice;
use crate::train::{DataSpec, Needs};

/// `sample_weight`: the weights of rows in a body, or the column of a dataset that holds them.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleWeight {
    /// One for each input row.
    Rows(Vec<f64>),
    /// A numeric column.
    Column(String),
}

/// `class_weight`: what a sample's weight is multiplied by in training.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ClassWeight {
    /// w_c = Σ v / (k Σ v over the rows of class c), with v the sample weights of the rows trained on and k the classes among
    /// them: all classes weigh the same together.
    ///
    /// Source: King and Zeng (2001), "Logistic regression in rare events data"; scikit-learn's `compute_class_weight`.
    Balanced(Balanced),
    /// By class; one that is left out weighs 1.
    Of(BTreeMap<String, f64>),
}

/// The word `balanced`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Balanced {
    /// By how rare a class is.
    Balanced,
}

impl<'de> Deserialize<'de> for SampleWeight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SampleWeightVisitor)
    }
}

struct SampleWeightVisitor;

impl<'de> Visitor<'de> for SampleWeightVisitor {
    type Value = SampleWeight;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of numbers, one for each row, or the name of a column")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<SampleWeight, E> {
        Ok(SampleWeight::Column(name.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<SampleWeight, A::Error> {
        let mut weights = Vec::new();
        while let Some(weight) = sequence.next_element::<f64>()? {
            weights.push(weight);
        }
        Ok(SampleWeight::Rows(weights))
    }
}

impl<'de> Deserialize<'de> for ClassWeight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ClassWeightVisitor)
    }
}

struct ClassWeightVisitor;

impl<'de> Visitor<'de> for ClassWeightVisitor {
    type Value = ClassWeight;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"balanced\" or a map from classes to numbers")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<ClassWeight, E> {
        match word {
            "balanced" => Ok(ClassWeight::Balanced(Balanced::Balanced)),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<ClassWeight, A::Error> {
        let mut weights = BTreeMap::new();
        while let Some((class, weight)) = entries.next_entry::<String, f64>()? {
            weights.insert(class, weight);
        }
        Ok(ClassWeight::Of(weights))
    }
}

/// The weights of `rows` rows in a body, where each can be one.
pub(crate) fn check_rows(
    given: Option<&SampleWeight>,
    rows: usize,
    pointer: &str,
    violations: &mut Violations,
) -> Option<Vec<f64>> {
    let weights = match given? {
        SampleWeight::Rows(weights) => weights,
        SampleWeight::Column(name) => {
            let detail =
                format!("must be an array of numbers where inputs are given, got {name:?}");
            violations.add(pointer, detail);
            return None;
        }
    };
    if weights.len() != rows {
        let got = weights.len();
        let detail = format!("must have a number for each of the {rows} inputs, got {got}");
        violations.add(pointer, detail);
    }
    let negative = weights.iter().enumerate();
    for (row, weight) in negative.filter(|(_, weight)| **weight < 0.0) {
        if violations.is_full() {
            return None;
        }
        let detail = format!("must be at least 0, got {weight}");
        violations.add(format!("{pointer}/{row}"), detail);
    }
    if weights.len() == rows && weights.iter().all(|weight| *weight == 0.0) {
        violations.add(pointer, "must have a number above 0, got 0 for every row");
    }
    Some(weights.clone())
}

/// Notes a column whose values can be no weights.
pub(crate) fn check_range(column: &ColumnDescription, pointer: &str, violations: &mut Violations) {
    let name = &column.name;
    if column.kind == Kind::Categorical {
        let detail = format!("must be a numeric column, got {name:?}, which holds words");
        violations.add(pointer, detail);
        return;
    }
    let (Some(least), Some(most)) = (column.min, column.max) else {
        return;
    };
    if least < 0.0 {
        let detail = format!("must be at least 0, got column {name:?} in [{least}, {most}]");
        violations.add(pointer, detail);
    } else if most == 0.0 {
        let detail = format!("must have a number above 0, got 0 in every row of column {name:?}");
        violations.add(pointer, detail);
    }
}

/// The column of weights that `data` names beside a dataset.
pub(crate) fn column_name(data: &DataSpec) -> Option<&String> {
    match &data.sample_weight {
        Some(SampleWeight::Column(name)) => Some(name),
        Some(SampleWeight::Rows(_)) | None => None,
    }
}

/// The column of weights, once it is one and nothing else.
pub(crate) fn check_column(
    choice: &Choice,
    features: &[String],
    targets: &[String],
    violations: &mut Violations,
) -> Option<String> {
    const POINTER: &str = "/data/sample_weight";
    let name = match choice.data.sample_weight.as_ref()? {
        SampleWeight::Column(name) => name,
        SampleWeight::Rows(_) => {
            violations.add(
                POINTER,
                "must be the name of a column where a dataset is given",
            );
            return None;
        }
    };
    let Some(column) = choice.columns.get(name.as_str()) else {
        let known = known(name, &choice.column_names());
        let detail = format!("must name a column of the dataset, got {name:?}: {known}");
        violations.add(POINTER, detail);
        return None;
    };
    for (others, what) in [(targets, "target"), (features, "feature")] {
        if others.contains(name) {
            let detail = format!("must not be a {what} as well, got {name:?}");
            violations.add(POINTER, detail);
        }
    }
    check_range(column, POINTER, violations);
    Some(name.clone())
}

/// The classes that `class_weight` names: the model's words, or the places of its outputs; of one output, below ½ and not.
pub(crate) fn class_names(header: &Header) -> Vec<String> {
    match header.targets.classes() {
        Some(classes) => classes.to_vec(),
        None => (0..header.outputs().max(2))
            .map(|place| place.to_string())
            .collect(),
    }
}

/// Checks `class_weight` against the model as the job's data makes it, where that is known.
pub(super) fn check_classes(
    given: Option<&ClassWeight>,
    header: Option<&Header>,
    violations: &mut Violations,
) {
    const POINTER: &str = "/class_weight";
    let Some(given) = given else { return };
    let needed = header.and_then(|header| Answering::of(header).misses(Needs::Classes));
    if let Some(needed) = needed {
        violations.add(POINTER, format!("class_weight needs {needed}"));
    }
    let ClassWeight::Of(weights) = given else {
        return;
    };
    let classes = header.filter(|_| needed.is_none()).map(class_names);
    for (class, weight) in weights {
        if violations.is_full() {
            return;
        }
        let pointer = format!("{POINTER}/{}", escaped(class));
        if *weight < 0.0 {
            violations.add(&pointer, format!("must be at least 0, got {weight}"));
        }
        if let Some(classes) = &classes
            && !classes.contains(class)
        {
            let known = known(class, classes);
            violations.add(pointer, format!("must be a class, got {class:?}: {known}"));
        }
    }
    let weightless = |class: &String| weights.get(class).is_some_and(|weight| *weight == 0.0);
    if classes.is_some_and(|classes| classes.iter().all(weightless)) {
        violations.add(
            POINTER,
            "must leave a class a number above 0, got 0 for all",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::CheckedData;

    #[test]
    fn weights_read_back_as_they_were_written() {
        for text in ["\"balanced\"", "{}", r#"{"a":0.1,"b":2.0}"#] {
            let read: ClassWeight = serde_json::from_str(text).expect("class weights");
            assert_eq!(serde_json::to_string(&read).expect("plain data"), text);
        }
        for text in ["\"even\"", "1", "[1]", r#"{"a":"b"}"#] {
            assert!(serde_json::from_str::<ClassWeight>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn data_stored_before_there_were_weights_is_still_read() {
        let read = |text: &str| serde_json::from_str::<CheckedData>(text).expect("all its fields");
        let table = r#"{"dataset":"d","digest":"","features":["x"],"targets":["y"],"target_kind":"numeric","missing":"error"}"#;
        let inline = r#"{"rows":4,"inputs":2,"targets":1,"digest":""}"#;
        for text in [table, inline] {
            assert!(!read(text).is_weighted());
            assert_eq!(read(text).weight_column(), None);
        }
    }
}
