//! What jobs train and validate on that must be refused: rows, columns and their meaning.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, rule, shape, with};
use crate::server::xor_job;

const PATH: &str = "/v1/jobs";

/// Every refused choice of rows and columns.
pub(crate) fn all() -> Vec<Bad> {
    [
        rows(),
        validations(),
        columns(),
        targets(),
        validation_tables(),
        nulls(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A good job of `xor` with fields laid over it breaks rules.
fn of(more: Value, pointers: &'static [&'static str], detail: &'static str) -> Bad {
    rule(PATH, &xor_job("xor", more), pointers, detail)
}

/// A job of a model on data breaks rules.
fn on(model: &str, data: &Value, pointers: &'static [&'static str], detail: &'static str) -> Bad {
    rule(
        PATH,
        &json!({"model": model, "data": data}),
        pointers,
        detail,
    )
}

fn rows() -> Vec<Bad> {
    let data = |data: Value, pointers, detail| of(json!({"data": data}), pointers, detail);
    let beside = |field: &str, value: Value, pointers| {
        data(
            json!({"inputs": [[0, 1]], "targets": [[1]], field: value}),
            pointers,
            "must be left out where inputs are given: it belongs to a dataset",
        )
    };
    let narrow = json!({"inputs": [[0, 1e39]], "targets": [[-1e39]]});
    vec![
        data(
            json!({}),
            &["/data"],
            "must have inputs and targets, or a dataset and its target",
        ),
        data(
            json!({"targets": [[1]]}),
            &["/data"],
            "must have inputs and targets",
        ),
        data(
            json!({"inputs": [[0, 1]]}),
            &["/data/targets"],
            "must be given beside inputs",
        ),
        data(
            json!({"inputs": [], "targets": [[1]]}),
            &["/data/inputs", "/data/targets"],
            "must have at least one row, got 0",
        ),
        data(
            json!({"inputs": [[0, 1]], "targets": []}),
            &["/data/targets", "/data/targets"],
            "must have a row for each of the 1 inputs, got 0",
        ),
        data(
            json!({"inputs": [[0, 1], [1, 1]], "targets": [[1]]}),
            &["/data/targets"],
            "must have a row for each of the 2 inputs, got 1",
        ),
        data(
            json!({"inputs": [[0, 1, 2]], "targets": [[1]]}),
            &["/data/inputs/0"],
            "must have 2 numbers (inputs), got 3",
        ),
        data(
            json!({"inputs": [[0, 1]], "targets": [[1, 0]]}),
            &["/data/targets/0"],
            "must have 1 numbers (units of the last layer), got 2",
        ),
        data(
            json!({"inputs": [[0]], "targets": [[1, 0]]}),
            &["/data/inputs/0", "/data/targets/0"],
            "2 violations",
        ),
        data(
            json!({"inputs": [[0, 1]], "targets": ["yes"]}),
            &["/data/targets"],
            "this model has no classes yet",
        ),
        data(
            json!({"inputs": [[0, 1]], "targets": [[1]], "dataset": "iris"}),
            &["/data/inputs"],
            "must be left out where dataset is given",
        ),
        beside("features", json!(["a"]), &["/data/features"]),
        beside("target", json!("a"), &["/data/target"]),
        beside("missing", json!("error"), &["/data/missing"]),
        on(
            "narrow",
            &narrow,
            &["/data/inputs/0/1", "/data/targets/0/0"],
            "must fit float32",
        ),
        on(
            "iris",
            &json!({"inputs": [[1, 2, 3, 4]], "targets": ["rose"]}),
            &["/data/targets/0"],
            "must be a class of the model",
        ),
        on(
            "iris",
            &json!({"inputs": [[1, 2, 3, 4]], "targets": [[0, 1.5, -1]]}),
            &["/data/targets/0/1", "/data/targets/0/2"],
            "must be in [0, 1] for loss cross_entropy",
        ),
    ]
}

fn validations() -> Vec<Bad> {
    let of = |validation: Value, pointers, detail| {
        of(json!({"validation": validation}), pointers, detail)
    };
    vec![
        of(
            json!({}),
            &["/validation"],
            "must have exactly one of fraction, dataset, or inputs with targets",
        ),
        of(
            json!({"fraction": 0.5, "dataset": "iris"}),
            &["/validation"],
            "must have exactly one of",
        ),
        of(
            json!({"targets": [[1]]}),
            &["/validation"],
            "must have exactly one of",
        ),
        of(
            json!({"fraction": 0}),
            &["/validation/fraction"],
            "must be in (0, 1), got 0",
        ),
        of(
            json!({"fraction": 1}),
            &["/validation/fraction"],
            "must be in (0, 1), got 1",
        ),
        of(
            json!({"fraction": -0.5}),
            &["/validation/fraction"],
            "must be in (0, 1), got -0.5",
        ),
        of(
            json!({"fraction": 1e300}),
            &["/validation/fraction"],
            "must be in (0, 1)",
        ),
        of(
            json!({"fraction": 0.9}),
            &["/validation/fraction"],
            "must leave a row to train on, got 4 of 4 rows kept",
        ),
        of(
            json!({"fraction": 0.5, "stratified": true}),
            &["/validation/stratified"],
            "must be false where the target is not categorical",
        ),
        of(
            json!({"fraction": 2, "stratified": true}),
            &["/validation/fraction", "/validation/stratified"],
            "2 violations",
        ),
        of(
            json!({"fraction": 0.5, "targets": [[1]]}),
            &["/validation/targets"],
            "must be left out where there are no inputs",
        ),
        of(
            json!({"dataset": "iris"}),
            &["/validation/dataset"],
            "must be inputs with targets, or a fraction, where data is inline",
        ),
        of(
            json!({"inputs": [[0, 1]]}),
            &["/validation/targets"],
            "must be given beside inputs",
        ),
        of(
            json!({"inputs": [[0, 1]], "targets": [[1]], "stratified": false}),
            &["/validation/stratified"],
            "must be left out where there is no fraction",
        ),
        of(
            json!({"inputs": [[0]], "targets": [[1]]}),
            &["/validation/inputs/0"],
            "must have 2 numbers (inputs), got 1",
        ),
        of(
            json!({"inputs": [[0, 1]], "targets": [[1, 1]]}),
            &["/validation/targets/0"],
            "must have 1 numbers",
        ),
        of(
            json!({"inputs": [[0, 1]], "targets": [[1], [0]]}),
            &["/validation/targets"],
            "must have a row for each of the 1 inputs, got 2",
        ),
    ]
}

/// Columns of `gaps`: numeric `a` `b` `y` (with a missing value in `b`) and a categorical `word`.
fn columns() -> Vec<Bad> {
    let gaps = |more: Value, pointers, detail| {
        on(
            "xor",
            &with(
                json!({"dataset": "gaps", "features": ["a", "y"], "target": "a"}),
                more,
            ),
            pointers,
            detail,
        )
    };
    let features = |features: Value, pointers, detail| {
        gaps(
            json!({"features": features, "target": "y"}),
            pointers,
            detail,
        )
    };
    vec![
        on(
            "xor",
            &json!({"dataset": "none", "target": "y"}),
            &["/data/dataset"],
            "must name a dataset, got \"none\", and there is none of that name",
        ),
        on(
            "xor",
            &json!({"dataset": "gaps"}),
            &["/data/target"],
            "must name the column to predict; the dataset has: a, b, y, word",
        ),
        on(
            "xor",
            &json!({"dataset": "gaps", "target": "y"}),
            &["/data/features"],
            "must be 2 columns, as the model has inputs, got 3: a, b, word",
        ),
        gaps(
            json!({"target": "z"}),
            &["/data/target"],
            "must name a column of the dataset, got \"z\": known: a, b, y, word",
        ),
        gaps(
            json!({"targets": ["y"]}),
            &["/data/targets"],
            "must be left out where target is given",
        ),
        gaps(
            json!({}),
            &["/data/features/0"],
            "must not be a target as well, got \"a\"",
        ),
        features(
            json!([]),
            &["/data/features"],
            "must be 2 columns, as the model has inputs, got 0",
        ),
        features(
            json!(["a"]),
            &["/data/features"],
            "must be 2 columns, as the model has inputs, got 1: a",
        ),
        features(
            json!(["a", "a"]),
            &["/data/features/1"],
            "must be named once, got \"a\" again",
        ),
        features(
            json!(["a", "z"]),
            &["/data/features/1"],
            "must name a column of the dataset, got \"z\"",
        ),
        features(
            json!(["a", "word"]),
            &["/data/features/1"],
            "must be numeric columns, got \"word\", which is categorical (its first word is \"up\" on line 2)",
        ),
        features(
            json!(["a", "b"]),
            &["/data/missing"],
            "column \"b\" has 1 missing value: give \"missing\":\"drop_rows\" or leave it out",
        ),
        features(
            json!(["A", "z"]),
            &["/data/features/0", "/data/features/1"],
            "2 violations",
        ),
    ]
}

fn targets() -> Vec<Bad> {
    let gaps = |more: Value, pointers, detail| {
        on(
            "xor",
            &with(json!({"dataset": "gaps", "features": ["a", "y"]}), more),
            pointers,
            detail,
        )
    };
    let iris = |model: &str, more: Value, pointers, detail| {
        on(
            model,
            &with(json!({"dataset": "iris"}), more),
            pointers,
            detail,
        )
    };
    vec![
        gaps(
            json!({"targets": []}),
            &["/data/targets"],
            "must name at least one column, got none",
        ),
        gaps(
            json!({"targets": [[1]]}),
            &["/data/targets"],
            "must be names of columns where a dataset is given",
        ),
        gaps(
            json!({"targets": ["b", "word"]}),
            &["/data/targets"],
            "must be 1 columns, as the last layer has units, got 2",
        ),
        gaps(
            json!({"target": "word"}),
            &["/data/target"],
            "has 2 classes (down, up), so the last layer must have 2 units, got 1",
        ),
        gaps(
            json!({"target": "word", "target_kind": "numeric"}),
            &["/data/target"],
            "must be numeric columns, got \"word\", which holds words",
        ),
        iris(
            "iris",
            json!({"target": "petal_width"}),
            &["/data/features", "/data/target"],
            "2 violations",
        ),
        iris(
            "iris",
            json!({"target": "species", "features": ["petal_width", "sepal_length", "sepal_width", "petal_length"]}),
            &["/data/features"],
            "must be those the model was fitted with (sepal_length, sepal_width, petal_length, petal_width), or give \"refit\":true",
        ),
        iris(
            "fresh",
            json!({"target": "petal_width", "features": ["sepal_length", "petal_length", "sepal_width", "species"]}),
            &["/data/features/3", "/data/target"],
            "2 violations",
        ),
        on(
            "fresh",
            &json!({"dataset": "iris", "features": ["sepal_length", "sepal_width", "petal_length", "petal_width"], "target": "species", "target_kind": "numeric"}),
            &["/data/target"],
            "must be numeric columns, got \"species\", which holds words",
        ),
        on(
            "pair",
            &json!({"dataset": "gaps", "features": ["a"], "targets": ["y", "y"]}),
            &["/data/targets/1"],
            "must be named once, got \"y\" again",
        ),
        on(
            "pair",
            &json!({"dataset": "gaps", "features": ["a"], "targets": ["y", "z"]}),
            &["/data/targets/1"],
            "must name a column of the dataset",
        ),
        on(
            "pair",
            &json!({"dataset": "gaps", "features": ["a"], "targets": ["y", "b"], "target_kind": "categorical"}),
            &["/data/target_kind"],
            "must be numeric or labels where there are several targets",
        ),
        on(
            "pair",
            &json!({"dataset": "many", "features": ["a"], "target": "class"}),
            &["/data/target"],
            "must have at most 10 classes, got 12",
        ),
    ]
}

fn validation_tables() -> Vec<Bad> {
    let of = |name: &str, detail| {
        let job = json!({"model": "iris", "data": {"dataset": "iris", "target": "species"}, "validation": {"dataset": name}});
        rule(PATH, &job, &["/validation/dataset"], detail)
    };
    let gaps = json!({"model": "iris", "data": {"dataset": "iris", "target": "species"}, "validation": {"dataset": "gaps"}});
    vec![
        of(
            "none",
            "must name a dataset, got \"none\", and there is none of that name",
        ),
        of(
            "flowers",
            "must have the classes of data (setosa, versicolor, virginica), got rose",
        ),
        rule(
            PATH,
            &gaps,
            &["/validation/dataset"; 5],
            "must have column \"sepal_length\", as data has",
        ),
    ]
}

/// What may be left out is not null where it stands.
fn nulls() -> Vec<Bad> {
    let places: [(&[&str], Value); 5] = [
        (&["/data/inputs"], json!({"data": {"inputs": null}})),
        (
            &["/data/missing"],
            json!({"data": {"dataset": "iris", "target": "y", "missing": null}}),
        ),
        (
            &["/validation/fraction"],
            json!({"validation": {"fraction": null}}),
        ),
        (
            &["/validation/stratified"],
            json!({"validation": {"fraction": 0.5, "stratified": null}}),
        ),
        (&["/from/version"], json!({"from": {"version": null}})),
    ];
    let refused = places.into_iter().map(|(pointers, more)| {
        let body = xor_job("xor", more).to_string();
        shape(PATH, body, pointers, "null")
    });
    refused.collect()
}
