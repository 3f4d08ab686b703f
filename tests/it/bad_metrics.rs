//! Metrics, labels and reports that must be refused.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, bare, rule, shape};
use crate::server::xor_job;

const PATH: &str = "/v1/jobs";

/// Every refused request of them.
pub(crate) fn all() -> Vec<Bad> {
    [metrics(), shapes(), rows(), columns(), reports()]
        .into_iter()
        .flatten()
        .collect()
}

fn k(k: u64) -> Value {
    json!({"type": "top_k_accuracy", "k": k})
}

fn metrics() -> Vec<Bad> {
    let of = |more: Value, pointers, detail| rule(PATH, &xor_job("xor", more), pointers, detail);
    let numbers = |metrics: Value, pointers, detail| {
        let data = json!({"inputs": [[1]], "targets": [[1, 2]]});
        let job = json!({"model": "pair", "data": data, "metrics": metrics});
        rule(PATH, &job, pointers, detail)
    };
    let labels = |metrics: Value, pointers, detail| {
        let data = json!({"inputs": [[1]], "targets": [[1, 0]], "target_kind": "labels"});
        let job = json!({"model": "signs", "data": data, "metrics": metrics});
        rule(PATH, &job, pointers, detail)
    };
    let evaluated = |metrics: Value, pointers, detail| {
        let body = json!({"inputs": [[1]], "targets": [[1, 2]], "metrics": metrics});
        rule(
            "/v1/models/pair/versions/1/evaluate",
            &body,
            pointers,
            detail,
        )
    };
    vec![
        of(
            json!({"metrics": [k(0)]}),
            &["/metrics/0/k"],
            "must be in [1, 2], got 0",
        ),
        of(
            json!({"metrics": [k(3)]}),
            &["/metrics/0/k"],
            "must be in [1, 2], got 3",
        ),
        of(
            json!({"metrics": ["loss", "top_k_accuracy"]}),
            &["/metrics/1/k"],
            "must be in [1, 2], got 5",
        ),
        of(
            json!({"metrics": [k(2)], "early_stopping": {"metric": k(1)}, "target_metric": {"metric": k(2), "value": 1}}),
            &["/early_stopping/metric"],
            r#"must be {"type":"top_k_accuracy","k":2} as at /metrics/0, got {"type":"top_k_accuracy","k":1}"#,
        ),
        of(
            json!({"target_metric": {"metric": k(9), "value": 1}, "metrics": [], "epochs": 0}),
            &["/target_metric/metric/k", "/metrics", "/epochs"],
            "3 violations",
        ),
        numbers(
            json!(["f1_weighted", "r2", "roc_auc_micro", k(1), "log_loss"]),
            &["/metrics/0", "/metrics/2", "/metrics/3", "/metrics/4"],
            "f1_weighted needs a target of classes or labels, or a last layer of softmax or sigmoid",
        ),
        labels(
            json!(["roc_auc", k(1)]),
            &["/metrics/1"],
            "top_k_accuracy needs a target of classes, or a last layer of softmax or sigmoid whose targets are no labels",
        ),
        labels(
            json!(["log_loss", "brier"]),
            &["/metrics/0", "/metrics/1"],
            "log_loss needs a last layer of softmax, or of one sigmoid unit",
        ),
        evaluated(
            json!(["r2", "accuracy"]),
            &["/metrics/1"],
            "accuracy needs a target of classes",
        ),
    ]
}

fn shapes() -> Vec<Bad> {
    let of = |metric: Value, pointers, detail| {
        let job = xor_job("xor", json!({"metrics": [metric]}));
        shape(PATH, job.to_string(), pointers, detail)
    };
    vec![
        of(
            json!("f1_macro"),
            &["/metrics/0"],
            "unknown metric `f1_macro`: did you mean `f1`? known: loss",
        ),
        of(
            json!({"type": "top_k"}),
            &["/metrics/0/type"],
            "unknown metric `top_k`: did you mean `top_k_accuracy`? known: loss",
        ),
        of(json!({"k": 1}), &["/metrics/0/type"], "must be given"),
        of(
            json!({"type": "top_k_accuracy", "n": 1}),
            &["/metrics/0/n"],
            "unknown field `n`",
        ),
        of(
            json!({"type": "accuracy", "k": 1}),
            &["/metrics/0/k"],
            "unknown field `k`",
        ),
        of(
            json!({"type": "top_k_accuracy", "k": "3"}),
            &["/metrics/0/k"],
            "must be a whole number",
        ),
        of(
            json!({"type": "top_k_accuracy", "k": 1.5}),
            &["/metrics/0/k"],
            "must be a whole number",
        ),
        shape(
            "/v1/models/xor/versions/1/evaluate",
            r#"{"inputs":[[0,1]],"targets":[[1]],"metrics":["f5"]}"#,
            &["/metrics/0"],
            "unknown metric `f5`",
        ),
    ]
}

fn rows() -> Vec<Bad> {
    let on = |model: &str, targets: Value, more: Value, pointers, detail| {
        let mut data = json!({"inputs": [[1]], "targets": targets, "target_kind": "labels"});
        if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
            data.extend(more);
        }
        rule(
            PATH,
            &json!({"model": model, "data": data}),
            pointers,
            detail,
        )
    };
    let none = json!({});
    let flowers = json!({"inputs": [[1, 2, 3, 4]]});
    let validated = json!({"inputs": [[1]], "targets": [[1, 0]], "target_kind": "labels"});
    vec![
        on(
            "signs",
            json!([[0.5, 2]]),
            none.clone(),
            &["/data/targets/0/0", "/data/targets/0/1"],
            "must be 0 or 1, as labels are, got 0.5",
        ),
        on(
            "pair",
            json!([[0, 1]]),
            none.clone(),
            &["/data/target_kind"],
            "must not be labels where the last layer is not of sigmoid units, got identity",
        ),
        on(
            "iris",
            json!([[0, 1, 0]]),
            flowers,
            &["/data/target_kind"],
            "must be the classes that the model was fitted with, or give \"refit\":true",
        ),
        on(
            "signs",
            json!([[0, 1]]),
            json!({"target_kind": "categorical"}),
            &["/data/target_kind"],
            "must be labels, or left out, where inputs are given, got categorical",
        ),
        on(
            "signs",
            json!([[0, 1, 1]]),
            json!({"target_kind": "numeric"}),
            &["/data/target_kind", "/data/targets/0"],
            "2 violations",
        ),
        rule(
            PATH,
            &json!({"model": "signs", "data": validated, "validation": {"inputs": [[1], [2]], "targets": [[1, 0], [1, -1]]}}),
            &["/validation/targets/1/1"],
            "must be 0 or 1, as labels are, got -1",
        ),
        shape(
            PATH,
            json!({"model": "signs", "data": validated, "validation": validated}).to_string(),
            &["/validation/target_kind"],
            "unknown field `target_kind`",
        ),
    ]
}

fn columns() -> Vec<Bad> {
    let on = |model: &str, targets: Value, more: Value, pointers, detail| {
        let data = json!({"dataset": "flags", "features": ["a"], "targets": targets, "target_kind": "labels"});
        let mut job = json!({"model": model, "data": data});
        if let Value::Object(more) = more {
            for (name, value) in more {
                match name.as_str() {
                    "validation" => job["validation"] = value,
                    _ => job["data"][&name] = value,
                }
            }
        }
        rule(PATH, &job, pointers, detail)
    };
    let gaps = json!({"dataset": "gaps", "missing": "drop_rows"});
    vec![
        on(
            "signs",
            json!(["y", "b"]),
            gaps.clone(),
            &["/data/targets", "/data/targets"],
            "column \"y\" must be 0 or 1 in every row, as labels are, got 3 in row 1",
        ),
        on(
            "signs",
            json!(["p", "q"]),
            json!({"dataset": "marks"}),
            &["/data/targets"],
            "column \"q\" must be 0 or 1 in every row, as labels are, got 0.5 in row 2",
        ),
        on(
            "signs",
            json!(["word", "y"]),
            gaps,
            &["/data/targets"],
            "must be numeric columns, got \"word\", which holds words",
        ),
        on(
            "signs",
            json!(["p"]),
            json!({}),
            &["/data/targets"],
            "must be 2 columns, as the last layer has units, got 1",
        ),
        on(
            "pair",
            json!(["p", "q"]),
            json!({}),
            &["/data/target_kind"],
            "must not be labels where the last layer is not of sigmoid units, got identity",
        ),
        on(
            "signs",
            json!(["p", "q"]),
            json!({"validation": {"dataset": "marks"}}),
            &["/validation/dataset"],
            "column \"q\" must be 0 or 1 in every row, as labels are, got 0.5 in row 2",
        ),
        on(
            "signs",
            json!(["p", "q"]),
            json!({"validation": {"fraction": 0.5, "stratified": true}}),
            &["/validation/stratified"],
            "must be false where the target is not categorical",
        ),
    ]
}

fn reports() -> Vec<Bad> {
    let none = "/v1/jobs/01900000-0000-7000-8000-000000000000/report";
    let of = |path: &str, detail| bare("GET", path, 404, "not-found", (&[], detail));
    vec![
        of(none, "there is no job"),
        of("/v1/jobs/x/report", "ids are UUIDs"),
        of(
            "/v1/jobs/{paused}/report",
            "is paused and has no report: it is made at the end, of the version that the job publishes",
        ),
    ]
}
