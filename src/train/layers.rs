//! What is said of single layers: a rule for each, dropout of each hidden one.

use crate::model::{Header, Violations};
use crate::nn::{Dropout, LayerRule};

/// The rules of single layers: one for each, or none.
pub(super) fn check_layers(rules: &[LayerRule], base: &Header, violations: &mut Violations) {
    let (layers, got) = (base.layers.len(), rules.len());
    if got != 0 && got != layers {
        violations.add(
            "/layers",
            format!("must have one entry for each of the {layers} layers, got {got}"),
        );
        return;
    }
    for (index, rule) in rules.iter().enumerate() {
        for (name, detail) in rule.violations() {
            violations.add(format!("/layers/{index}/{name}"), detail);
        }
    }
    if got > 0 && rules.iter().all(|rule| rule.frozen) {
        violations.add("/layers", "must leave a layer to train: all are frozen");
    }
}

/// Dropout of single layers: one for each hidden layer, or one for all.
pub(super) fn check_dropout(dropout: &Dropout, base: &Header, violations: &mut Violations) {
    let Dropout::Each(list) = dropout else {
        return;
    };
    let (hidden, got) = (base.layers.len().saturating_sub(1), list.len());
    if got != hidden {
        violations.add(
            "/regularization/dropout",
            format!(
                "must be a number, or have one entry for each hidden layer, {hidden} in all, got {got}"
            ),
        );
    }
}
