//! Weights of rows and of classes that must be refused.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, rule, shape};
use crate::server::xor_job;

const JOBS: &str = "/v1/jobs";

/// Every refused weight.
pub(crate) fn all() -> Vec<Bad> {
    [rows(), columns(), validations(), classes(), evaluations()]
        .into_iter()
        .flatten()
        .collect()
}

/// A good job of `xor` with weights of its four rows.
fn weighted(weights: &Value) -> Value {
    let data = json!({"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]],
                      "sample_weight": weights});
    xor_job("xor", json!({"data": data}))
}

fn rows() -> Vec<Bad> {
    const AT: &str = "/data/sample_weight";
    let of = |weights: Value, pointers, detail| rule(JOBS, &weighted(&weights), pointers, detail);
    let odd = |weights: Value, pointers, detail| {
        shape(JOBS, weighted(&weights).to_string(), pointers, detail)
    };
    vec![
        of(
            json!([1, 2, 3]),
            &[AT],
            "must have a number for each of the 4 inputs, got 3",
        ),
        of(
            json!([]),
            &[AT],
            "must have a number for each of the 4 inputs, got 0",
        ),
        of(
            json!([1, -2, 3, -1e-300]),
            &["/data/sample_weight/1", "/data/sample_weight/3"],
            "must be at least 0, got -2",
        ),
        of(
            json!([0, 0.0, -0.0, 0]),
            &[AT],
            "must have a number above 0, got 0 for every row",
        ),
        of(
            json!("w"),
            &[AT],
            "must be an array of numbers where inputs are given, got \"w\"",
        ),
        odd(json!(null), &[AT], "null"),
        odd(json!(2), &[AT], "an array of numbers"),
        odd(json!([1, "2", 3, 4]), &["/data/sample_weight/1"], "\"2\""),
        odd(json!([1, null, 3, 4]), &["/data/sample_weight/1"], "null"),
    ]
}

fn columns() -> Vec<Bad> {
    const AT: &str = "/data/sample_weight";
    let of = |weights: Value, pointers, detail| {
        let data = json!({"dataset": "iris", "target": "species", "sample_weight": weights});
        rule(
            JOBS,
            &json!({"model": "iris", "data": data}),
            pointers,
            detail,
        )
    };
    vec![
        of(
            json!([1, 2]),
            &[AT],
            "must be the name of a column where a dataset is given",
        ),
        of(
            json!("sepal_lenght"),
            &[AT],
            "must name a column of the dataset, got \"sepal_lenght\": did you mean `sepal_length`?",
        ),
        of(
            json!("sepal_length"),
            &[AT],
            "must not be a feature as well, got \"sepal_length\"",
        ),
        of(
            json!("species"),
            &[AT, AT],
            "must not be a target as well, got \"species\"",
        ),
    ]
}

fn validations() -> Vec<Bad> {
    const AT: &str = "/validation/sample_weight";
    let of = |validation: Value, pointers, detail| {
        let job = xor_job("xor", json!({"validation": validation}));
        rule(JOBS, &job, pointers, detail)
    };
    let inline = |weights: Value| json!({"inputs": [[0, 1], [1, 1]], "targets": [[1], [0]], "sample_weight": weights});
    vec![
        of(
            json!({"fraction": 0.5, "sample_weight": [1, 2]}),
            &[AT],
            "must be left out where there are no inputs",
        ),
        of(
            inline(json!([1])),
            &[AT],
            "must have a number for each of the 2 inputs, got 1",
        ),
        of(
            inline(json!([-1, 1])),
            &["/validation/sample_weight/0"],
            "must be at least 0, got -1",
        ),
        of(
            inline(json!([0, 0])),
            &[AT],
            "must have a number above 0, got 0 for every row",
        ),
    ]
}

fn classes() -> Vec<Bad> {
    const AT: &str = "/class_weight";
    let of = |weights: Value, pointers, detail| {
        let job = xor_job("xor", json!({"class_weight": weights}));
        rule(JOBS, &job, pointers, detail)
    };
    let iris = |weights: Value, pointers, detail| {
        let data = json!({"dataset": "iris", "target": "species"});
        let job = json!({"model": "iris", "data": data, "class_weight": weights});
        rule(JOBS, &job, pointers, detail)
    };
    let odd = |weights: Value, pointers, detail| {
        let job = xor_job("xor", json!({"class_weight": weights}));
        shape(JOBS, job.to_string(), pointers, detail)
    };
    let line = json!({"model": "line", "data": {"inputs": [[1]], "targets": [[2]]}, "class_weight": "balanced"});
    vec![
        of(
            json!({"0": -1, "1": -0.5}),
            &["/class_weight/0", "/class_weight/1"],
            "must be at least 0, got -1",
        ),
        of(
            json!({"2": 1, "yes": -3}),
            &["/class_weight/2", "/class_weight/yes", "/class_weight/yes"],
            "must be a class, got \"2\": known: 0, 1",
        ),
        of(
            json!({"0": 0, "1": 0}),
            &[AT],
            "must leave a class a number above 0, got 0 for all",
        ),
        iris(
            json!({"setsa": 2, "x/y": 1}),
            &["/class_weight/setsa", "/class_weight/x~1y"],
            "must be a class, got \"setsa\": did you mean `setosa`? known: setosa, versicolor, virginica",
        ),
        rule(
            JOBS,
            &line,
            &[AT],
            "class_weight needs a target of classes, or a last layer of softmax or sigmoid",
        ),
        odd(
            json!("balance"),
            &[AT],
            "\"balanced\" or a map from classes to numbers",
        ),
        odd(
            json!([1, 2]),
            &[AT],
            "\"balanced\" or a map from classes to numbers",
        ),
        odd(json!({"0": "1"}), &["/class_weight/0"], "\"1\""),
        odd(json!({"0": null}), &["/class_weight/0"], "null"),
    ]
}

fn evaluations() -> Vec<Bad> {
    const AT: &str = "/sample_weight";
    let (xor, iris) = (
        "/v1/models/xor/versions/1/evaluate",
        "/v1/models/iris/versions/latest/evaluate",
    );
    let inline =
        |weights: Value| json!({"inputs": [[0, 1]], "targets": [[1]], "sample_weight": weights});
    let table = |weights: Value| json!({"dataset": "iris", "sample_weight": weights});
    vec![
        rule(
            xor,
            &inline(json!([1, 2])),
            &[AT],
            "must have a number for each of the 1 inputs, got 2",
        ),
        rule(
            xor,
            &inline(json!([-1])),
            &["/sample_weight/0"],
            "must be at least 0, got -1",
        ),
        rule(
            xor,
            &inline(json!("w")),
            &[AT],
            "must be an array of numbers where inputs are given",
        ),
        shape(xor, inline(json!(null)).to_string(), &[AT], "null"),
        rule(
            iris,
            &table(json!([1])),
            &[AT],
            "must be the name of a column where a dataset is given",
        ),
        rule(
            iris,
            &table(json!("colour")),
            &[AT],
            "must have column \"colour\"",
        ),
        rule(
            iris,
            &table(json!("species")),
            &[AT],
            "must be a numeric column, got \"species\", which holds words",
        ),
    ]
}
