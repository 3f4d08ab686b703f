//! Jobs that must be refused.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, post, rule, shape};
use crate::server::xor_job;

const PATH: &str = "/v1/jobs";

/// Every refused job.
pub(crate) fn all() -> Vec<Bad> {
    let groups = [
        ranges(),
        starts(),
        shapes(),
        field_shapes(),
        row_shapes(),
        verifications(),
    ];
    groups.into_iter().flatten().collect()
}

/// A good job of `xor` with fields laid over it breaks rules.
fn of(more: Value, pointers: &'static [&'static str], detail: &'static str) -> Bad {
    rule(PATH, &xor_job("xor", more), pointers, detail)
}

fn ranges() -> Vec<Bad> {
    let many = json!({"inputs": vec![[0, 1]; 400], "targets": vec![[1]; 400]});
    vec![
        of(
            json!({"epochs": 0}),
            &["/epochs"],
            "must be in [1, 100000], got 0",
        ),
        of(
            json!({"epochs": 100_001}),
            &["/epochs"],
            "must be in [1, 100000], got 100001",
        ),
        of(
            json!({"window_rows": 5}),
            &["/window_rows"],
            "must be left out where data is inline, got 5",
        ),
        of(
            json!({"epochs": u64::MAX}),
            &["/epochs"],
            "must be in [1, 100000]",
        ),
        of(
            json!({"epochs": 75_001, "batch_size": 1, "data": many}),
            &["/epochs"],
            "must take at most 30000000 steps, got 75001 epochs of 400 steps",
        ),
        of(
            json!({"epochs": 75_001, "batch_size": 1, "data": many, "metadata": {"": "a"}}),
            &["/epochs", "/metadata"],
            "2 violations",
        ),
        of(
            json!({"batch_size": 0}),
            &["/batch_size"],
            "must be in [1, 65536] or \"full\", got 0",
        ),
        of(
            json!({"batch_size": 65_537}),
            &["/batch_size"],
            "must be in [1, 65536] or \"full\", got 65537",
        ),
        of(
            json!({"priority": 101}),
            &["/priority"],
            "must be in [-100, 100], got 101",
        ),
        of(
            json!({"priority": -101}),
            &["/priority"],
            "must be in [-100, 100], got -101",
        ),
        of(
            json!({"metrics": []}),
            &["/metrics"],
            "must name at least one of loss, accuracy, top_k_accuracy, precision, precision_micro, precision_weighted, recall, ",
        ),
        of(
            json!({"metadata": {"": "a"}}),
            &["/metadata"],
            "must have keys and values of 1 to 512 bytes",
        ),
        of(
            json!({"epochs": 0, "batch_size": 0, "metrics": []}),
            &["/epochs", "/batch_size", "/metrics"],
            "3 violations, the first: /epochs",
        ),
    ]
}

fn starts() -> Vec<Bad> {
    vec![
        of(
            json!({"model": "none"}),
            &["/model"],
            "must name a model, got \"none\", and there is none of that name",
        ),
        of(json!({"model": ""}), &["/model"], "must name a model"),
        of(
            json!({"from": {"version": 0}}),
            &["/from/version"],
            "must be a version of the model, in [1, 2], got 0",
        ),
        of(
            json!({"from": {"version": 99}}),
            &["/from/version"],
            "must be a version of the model, in [1, 2], got 99",
        ),
        of(
            json!({"from": {"version": 1, "initial": true}}),
            &["/from"],
            "must be {\"version\":n}, {\"initial\":true} or {\"job\":id}",
        ),
        of(
            json!({"from": {"initial": false}}),
            &["/from"],
            "must be {\"version\":n}, {\"initial\":true} or {\"job\":id}",
        ),
        of(
            json!({"model": "none", "epochs": 0}),
            &["/model", "/epochs"],
            "2 violations",
        ),
        of(
            json!({"from": {"version": 99}, "epochs": 0}),
            &["/from/version", "/epochs"],
            "2 violations",
        ),
    ]
}

fn shapes() -> Vec<Bad> {
    let of = |more: Value, pointers, detail| {
        shape(PATH, xor_job("xor", more).to_string(), pointers, detail)
    };
    vec![
        shape(PATH, "{}", &["/model"], "must be given"),
        shape(PATH, "[]", &[""], "must be an object, got an array"),
        shape(
            PATH,
            r#"["xor",{"inputs":[[0,1]],"targets":[[1]]}]"#,
            &[""],
            "must be an object, got an array",
        ),
        shape(PATH, "null", &[""], "must be an object, got null"),
        rule(
            PATH,
            &json!({"model": "xor"}),
            &["/data"],
            "must have inputs and targets, or a dataset and its target",
        ),
        shape(
            PATH,
            r#"{"model":"xor","model":"xor"}"#,
            &["/model"],
            "must be given once",
        ),
        of(json!({"colour": 1}), &["/colour"], "unknown field `colour`"),
        of(
            json!({"epoch": 1}),
            &["/epoch"],
            "unknown field `epoch`: did you mean `epochs`? known: model, ",
        ),
        of(json!({"model": 1}), &["/model"], "must be a string, got 1"),
        of(
            json!({"epochs": "10"}),
            &["/epochs"],
            "must be a whole number, got the string \"10\"",
        ),
        of(
            json!({"epochs": -1}),
            &["/epochs"],
            "must be a whole number, 0 or more, got -1",
        ),
        of(
            json!({"epochs": 1.5}),
            &["/epochs"],
            "must be a whole number, got 1.5",
        ),
        of(
            json!({"priority": "high"}),
            &["/priority"],
            "must be a whole number, got the string \"high\"",
        ),
        of(
            json!({"priority": -1.5}),
            &["/priority"],
            "must be a whole number, got -1.5",
        ),
        of(
            json!({"priority": 9_223_372_036_854_775_808_u64}),
            &["/priority"],
            "must be a whole number of at most 9223372036854775807, got 9223372036854775808",
        ),
        of(
            json!({"epochs": null}),
            &["/epochs"],
            "must be a whole number, got null",
        ),
    ]
}

fn field_shapes() -> Vec<Bad> {
    let of = |more: Value, pointers, detail| {
        shape(PATH, xor_job("xor", more).to_string(), pointers, detail)
    };
    vec![
        of(
            json!({"batch_size": "half"}),
            &["/batch_size"],
            "must be a whole number or \"full\"",
        ),
        of(
            json!({"batch_size": -1}),
            &["/batch_size"],
            "must be a whole number or \"full\"",
        ),
        of(
            json!({"batch_size": 1.5}),
            &["/batch_size"],
            "must be a whole number or \"full\"",
        ),
        of(
            json!({"batch_size": []}),
            &["/batch_size"],
            "must be a whole number or \"full\"",
        ),
        of(
            json!({"shuffle": 1}),
            &["/shuffle"],
            "must be true or false",
        ),
        of(json!({"window_rows": 1.5}), &["/window_rows"], "got 1.5"),
        of(json!({"seed": -1}), &["/seed"], "got -1"),
        of(
            json!({"metrics": ["f5"]}),
            &["/metrics/0"],
            "unknown metric `f5`",
        ),
        of(json!({"metrics": [1]}), &["/metrics/0"], ""),
        of(json!({"metrics": [null]}), &["/metrics/0"], ""),
        of(
            json!({"metrics": "loss"}),
            &["/metrics"],
            "must be an array",
        ),
        of(
            json!({"refit": "yes"}),
            &["/refit"],
            "must be true or false",
        ),
        of(json!({"metadata": []}), &["/metadata"], "must be an object"),
        of(json!({"from": 1}), &["/from"], "must be an object"),
        of(json!({"from": "latest"}), &["/from"], "must be an object"),
        of(json!({"from": [1, null]}), &["/from"], "must be an object"),
        of(
            json!({"from": {"version": "1"}}),
            &["/from/version"],
            "a whole number",
        ),
        of(
            json!({"from": {"job": 1}}),
            &["/from/job"],
            "must be a string, got 1",
        ),
        of(
            json!({"validation": 0.2}),
            &["/validation"],
            "must be an object",
        ),
        of(
            json!({"validation": [0.2]}),
            &["/validation"],
            "must be an object",
        ),
        of(
            json!({"validation": {"fraction": "0.2"}}),
            &["/validation/fraction"],
            "must be a number, got the string \"0.2\"",
        ),
        of(
            json!({"validation": {"split": 0.2}}),
            &["/validation/split"],
            "unknown field `split`",
        ),
        post(
            PATH,
            r#"{"model":"xor","epochs":1e999}"#,
            400,
            "invalid-json",
            (&[], "a number must be within ±1.7976931348623157e308"),
        ),
    ]
}

fn row_shapes() -> Vec<Bad> {
    let of = |data: Value, pointers, detail| {
        shape(
            PATH,
            xor_job("xor", json!({"data": data})).to_string(),
            pointers,
            detail,
        )
    };
    vec![
        of(json!([]), &["/data"], "must be an object"),
        of(json!([[[0, 1]], [[1]]]), &["/data"], "must be an object"),
        of(json!("iris"), &["/data"], "must be an object"),
        of(json!({"rows": 1}), &["/data/rows"], "unknown field `rows`"),
        of(
            json!({"inputs": [[0, 1], [1]], "targets": [[1], [0]]}),
            &["/data/inputs/1"],
            "every row must have as many numbers as the first, 2, got 1",
        ),
        of(
            json!({"inputs": [[0, 1], []], "targets": [[1], [0]]}),
            &["/data/inputs/1"],
            "a row must have at least one number",
        ),
        of(
            json!({"inputs": [[0, 1], [0, null]], "targets": [[1], [0]]}),
            &["/data/inputs/1/1"],
            "got null",
        ),
        of(
            json!({"inputs": [[0, 1]], "targets": [[1], [0, 1]]}),
            &["/data/targets/1"],
            "as many numbers as the first, 1, got 2",
        ),
        of(
            json!({"inputs": [[0, 1]], "targets": ["a", [1]]}),
            &["/data/targets"],
            "must be all rows of numbers or all words, got both",
        ),
        of(
            json!({"inputs": [[0, 1]], "targets": [1]}),
            &["/data/targets/0"],
            "a row of numbers, such as [1], or a class word",
        ),
        of(
            json!({"inputs": [[0, 1]], "targets": [[true]]}),
            &["/data/targets/0/0"],
            "got true",
        ),
        of(
            json!({"dataset": 1, "target": "y"}),
            &["/data/dataset"],
            "must be a string",
        ),
        of(
            json!({"dataset": "gaps", "features": "a", "target": "y"}),
            &["/data/features"],
            "must be an array",
        ),
        of(
            json!({"dataset": "gaps", "features": [1, 2], "target": "y"}),
            &["/data/features/0"],
            "must be a string",
        ),
        of(
            json!({"dataset": "gaps", "target": ["y"]}),
            &["/data/target"],
            "must be a string",
        ),
        of(
            json!({"dataset": "gaps", "target": "y", "target_kind": "words"}),
            &["/data/target_kind"],
            "unknown target kind `words`",
        ),
        of(
            json!({"dataset": "gaps", "target": "y", "missing": "mean"}),
            &["/data/missing"],
            "unknown missing `mean`",
        ),
        of(
            json!({"dataset": "gaps", "target": "y", "missing": 1}),
            &["/data/missing"],
            "",
        ),
        of(
            json!({"dataset": "gaps", "target": "y", "target_kind": true}),
            &["/data/target_kind"],
            "",
        ),
        of(
            json!({"dataset": "gaps", "targets": {"a": 1}}),
            &["/data/targets"],
            "must be an array of rows of numbers, such as [[0],[1]], or of words, such as [\"y\"], got an object",
        ),
    ]
}

/// What is wrong with a verification whatever the job; `verify.rs` has what a job is refused for.
fn verifications() -> Vec<Bad> {
    let path = "/v1/jobs/01a20adb-7748-7577-ba20-38b559553eb2/verify";
    let of = |span: &str, pointers, detail| shape(path, span, pointers, detail);
    vec![
        of(
            r#"{"from_epoch":-1}"#,
            &["/from_epoch"],
            "must be a whole number, 0 or more, got -1",
        ),
        of(
            r#"{"to_epoch":null}"#,
            &["/to_epoch"],
            "must be a whole number, got null",
        ),
        of(
            r#"{"to_epoch":1.5}"#,
            &["/to_epoch"],
            "must be a whole number, got 1.5",
        ),
        of(
            r#"{"colour":5}"#,
            &["/colour"],
            "unknown field `colour`: known: from_epoch, to_epoch",
        ),
        of("[]", &[""], "must be an object, got an array"),
        post(path, "{}", 404, "not-found", (&[], "there is no job")),
        post(
            "/v1/jobs/X/verify",
            "{}",
            404,
            "not-found",
            (&[], "there is no job \"X\": ids are UUIDs"),
        ),
    ]
}
