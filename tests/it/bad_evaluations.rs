//! Evaluations, and checkpoints to predict with or to publish, that must be refused.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, bare, post, rule, shape};

/// Every refused request of either.
pub(crate) fn all() -> Vec<Bad> {
    [rows(), datasets(), states(), checkpoints()]
        .into_iter()
        .flatten()
        .collect()
}

fn rows() -> Vec<Bad> {
    let path = "/v1/models/xor/versions/1/evaluate";
    let broken = |body: Value, pointers, detail| rule(path, &body, pointers, detail);
    let either = "either inputs with targets or a dataset";
    let alone = "must be left out where there is no dataset";
    vec![
        broken(json!({}), &[""], either),
        broken(json!({"targets": [[1]]}), &[""], either),
        broken(
            json!({"inputs": [[0, 1]], "dataset": "iris"}),
            &[""],
            either,
        ),
        broken(
            json!({"inputs": [[0, 1]]}),
            &["/targets"],
            "must be given beside inputs",
        ),
        broken(
            json!({"inputs": [[0, 1]], "targets": [[1]], "target": "y", "missing": "error"}),
            &["/target", "/missing"],
            alone,
        ),
        broken(
            json!({"inputs": [[0]], "targets": [[1]]}),
            &["/inputs/0"],
            "must have 2 numbers (inputs), got 1",
        ),
        broken(
            json!({"inputs": [[0, 1]], "targets": [[1], [0]]}),
            &["/targets"],
            "must have a row for each of the 1 inputs, got 2",
        ),
        broken(
            json!({"inputs": [[0, 1]], "targets": ["up"]}),
            &["/targets"],
            "this model has no classes yet",
        ),
        broken(
            json!({"dataset": "held"}),
            &["/dataset"],
            "this version was not trained on a dataset with named columns",
        ),
        shape(
            path,
            r#"{"dataset":"held","missing":null}"#,
            &["/missing"],
            "null",
        ),
        shape(
            path,
            r#"{"missing":"bogus"}"#,
            &["/missing"],
            "unknown missing `bogus`: known: error, drop_rows",
        ),
        shape(
            path,
            r#"{"features":["a"]}"#,
            &["/features"],
            "unknown field `features`",
        ),
    ]
}

fn datasets() -> Vec<Bad> {
    let path = "/v1/models/iris/versions/latest/evaluate";
    let broken = |body: Value, pointers, detail| rule(path, &body, pointers, detail);
    vec![
        broken(
            json!({"dataset": "none"}),
            &["/dataset"],
            "must name a dataset, got \"none\", and there is none of that name",
        ),
        broken(
            json!({"dataset": "gaps"}),
            &["/dataset"; 5],
            "must have column \"sepal_length\"",
        ),
        broken(
            json!({"dataset": "iris", "target": "colour"}),
            &["/target"],
            "must have column \"colour\"",
        ),
        broken(
            json!({"dataset": "iris", "target": "species", "targets": ["species"]}),
            &["/targets"],
            "must be left out where target is given",
        ),
        broken(
            json!({"dataset": "iris", "targets": ["species", "sepal_width"]}),
            &["/targets"],
            "as many as the version has targets: 1, got 2",
        ),
        broken(
            json!({"dataset": "flowers"}),
            &["/dataset"],
            "must have the model's classes (setosa, versicolor, virginica), got rose",
        ),
        broken(
            json!({"dataset": "iris", "target": "sepal_width"}),
            &["/target"],
            "must have the model's classes (setosa, versicolor, virginica), got ",
        ),
    ]
}

fn states() -> Vec<Bad> {
    let of = |model: &str, body: Value, status, slug, detail| {
        let path = format!("/v1/models/{model}/evaluate");
        post(&path, body.to_string(), status, slug, (&[], detail))
    };
    let many = |rows: usize| json!({"inputs": vec![[0, 1]; rows], "targets": vec![[1]; rows]});
    vec![
        of(
            "none/versions/1",
            many(1),
            404,
            "not-found",
            "there is no model \"none\"",
        ),
        of(
            "xor/versions/99",
            many(1),
            404,
            "not-found",
            "there is no version \"xor/99\"",
        ),
        of(
            "scaled/versions/1",
            many(1),
            409,
            "not-fitted",
            "this version is not trained",
        ),
        of(
            "huge/versions/1",
            json!({"inputs": [[1e308]], "targets": [[0]]}),
            422,
            "not-finite",
            "version 1 of model \"huge\" answers these rows with NaN or infinity",
        ),
        of(
            "broad/versions/1",
            many(8),
            422,
            "too-large",
            "rows times parameters of one evaluation must be at most 3000, got 3208",
        ),
        of(
            "xor/versions/1",
            many(421),
            422,
            "too-large",
            "numbers that an evaluation holds must be at most 2100, got 2105",
        ),
    ]
}

fn checkpoints() -> Vec<Bad> {
    let none = "/v1/jobs/01900000-0000-7000-8000-000000000000/checkpoints/1";
    let of = |path: &str, detail| {
        let said = (&[][..], detail);
        let rows = r#"{"inputs":[[0,1]]}"#;
        [
            post(&format!("{path}/predict"), rows, 404, "not-found", said),
            bare("POST", &format!("{path}/publish"), 404, "not-found", said),
        ]
    };
    let kept = "; epochs it keeps: 10";
    let mut rows: Vec<_> = [
        of(none, "there is no job"),
        of("/v1/jobs/x/checkpoints/1", "ids are UUIDs"),
        of("/v1/jobs/{ended}/checkpoints/9", kept),
        of("/v1/jobs/{ended}/checkpoints/latest", kept),
    ]
    .into_iter()
    .flatten()
    .collect();
    let path = "/v1/jobs/{ended}/checkpoints/1/predict";
    rows.push(rule(path, &json!({}), &[""], "either inputs or instances"));
    rows
}
