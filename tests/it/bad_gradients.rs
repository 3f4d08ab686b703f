//! Inspections and gradient checks that must be refused.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, rule, shape};

/// Every refused inspection and check.
pub(crate) fn all() -> Vec<Bad> {
    [inspections(), classes(), checks()]
        .into_iter()
        .flatten()
        .collect()
}

fn inspections() -> Vec<Bad> {
    let mut rows = Vec::new();
    let paths = [
        "/v1/models/xor/gradients",
        "/v1/models/xor/versions/1/gradients",
        "/v1/models/xor/gradient-check",
    ];
    for path in paths {
        let of = |body: Value, pointers, detail| rule(path, &body, pointers, detail);
        let shape = |body: &str, pointers, detail| shape(path, body, pointers, detail);
        rows.extend([
            shape("{}", &["/targets"], "must be given"),
            of(
                json!({"targets": [[1]]}),
                &[""],
                "the body must have either inputs or instances",
            ),
            shape("[]", &[""], "must be an object, got an array"),
            shape("[[[0,1]],[[1]]]", &[""], "must be an object, got an array"),
            shape(r#"{"inputs":[[0,1]]}"#, &["/targets"], "must be given"),
            shape(
                r#"{"inputs":[[0,1]],"targets":[[1],"a"]}"#,
                &["/targets"],
                "all rows of numbers or all words, got both",
            ),
            shape(
                r#"{"inputs":[[0,1]],"targets":[1]}"#,
                &["/targets/0"],
                "a row of numbers, such as [1], or a class word",
            ),
            shape(
                r#"{"inputs":[[0,1]],"targets":[[]]}"#,
                &["/targets/0"],
                "must have at least one number",
            ),
            shape(
                r#"{"inputs":[[0,1]],"targets":[[1]],"version":1}"#,
                &["/version"],
                "unknown field `version`",
            ),
            of(
                json!({"inputs": [], "targets": []}),
                &["/inputs"],
                "must have at least one row, got 0",
            ),
            of(
                json!({"inputs": [[0]], "targets": [[1]]}),
                &["/inputs/0"],
                "must have 2 numbers, got 1",
            ),
            of(
                json!({"inputs": [[0, 1]], "targets": [[1, 0]]}),
                &["/targets/0"],
                "must have 1 numbers (units of the last layer), got 2",
            ),
            of(
                json!({"inputs": [[0]], "targets": [[1, 0]]}),
                &["/inputs/0", "/targets/0"],
                "2 violations",
            ),
            of(
                json!({"inputs": [[0, 1], [1, 1]], "targets": [[1]]}),
                &["/targets"],
                "got 1",
            ),
            of(
                json!({"inputs": [[0, 1]], "targets": ["yes"]}),
                &["/targets"],
                "this model has no classes yet",
            ),
        ]);
    }
    rows
}

/// Targets of a model that has classes, and parts of an answer.
fn classes() -> Vec<Bad> {
    let iris = "/v1/models/iris/gradients";
    let flower = |targets: Value| json!({"inputs": [[1, 2, 3, 4]], "targets": targets});
    vec![
        rule(
            iris,
            &flower(json!(["rose"])),
            &["/targets/0"],
            "must be a class of the model, got \"rose\"",
        ),
        rule(
            iris,
            &flower(json!([[0, 2, -1]])),
            &["/targets/0/1", "/targets/0/2"],
            "must be in [0, 1] for loss cross_entropy",
        ),
        rule(
            iris,
            &flower(json!([[1]])),
            &["/targets/0"],
            "must have 3 numbers",
        ),
        shape(
            iris,
            r#"{"inputs":[[1,2,3,4]],"targets":["setosa"],"include":["all"]}"#,
            &["/include/0"],
            "unknown include `all`",
        ),
        shape(
            iris,
            r#"{"inputs":[[1,2,3,4]],"targets":["setosa"],"include":[1]}"#,
            &["/include/0"],
            "",
        ),
        shape(
            iris,
            r#"{"inputs":[[1,2,3,4]],"targets":["setosa"],"include":"deltas"}"#,
            &["/include"],
            "must be an array, got the string \"deltas\"",
        ),
    ]
}

fn checks() -> Vec<Bad> {
    let path = "/v1/models/xor/gradient-check";
    let of = |field: &str, value: Value, pointers, detail| {
        rule(
            path,
            &json!({"inputs": [[0, 1]], "targets": [[1]], field: value}),
            pointers,
            detail,
        )
    };
    let both = json!({"inputs": [[0, 1]], "targets": [[1]], "epsilon": 1, "sample": 0});
    vec![
        of(
            "epsilon",
            json!(0),
            &["/epsilon"],
            "must be in [1e-9, 0.01], got 0",
        ),
        of(
            "epsilon",
            json!(-1e-5),
            &["/epsilon"],
            "must be in [1e-9, 0.01]",
        ),
        of(
            "epsilon",
            json!(0.011),
            &["/epsilon"],
            "must be in [1e-9, 0.01], got 0.011",
        ),
        of(
            "epsilon",
            json!(9e-10),
            &["/epsilon"],
            "must be in [1e-9, 0.01]",
        ),
        of(
            "sample",
            json!(0),
            &["/sample"],
            "must be in [1, 100000], got 0",
        ),
        of(
            "sample",
            json!(100_001),
            &["/sample"],
            "must be in [1, 100000], got 100001",
        ),
        rule(
            path,
            &json!({"inputs": [[0]], "targets": [[1]], "sample": 0}),
            &["/inputs/0", "/sample"],
            "2 violations",
        ),
        rule(path, &both, &["/sample", "/epsilon"], "2 violations"),
        shape(
            path,
            r#"{"inputs":[[0,1]],"targets":[[1]],"seed":-1}"#,
            &["/seed"],
            "must be a whole number, 0 or more, got -1",
        ),
        shape(
            path,
            r#"{"inputs":[[0,1]],"targets":[[1]],"epsilon":"1e-5"}"#,
            &["/epsilon"],
            "must be a number, got the string \"1e-5\"",
        ),
    ]
}
