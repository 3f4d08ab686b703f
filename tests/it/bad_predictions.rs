//! Batch predictions that must be refused.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, bare, low_limits, post, rule, shape};

const PATH: &str = "/v1/models/iris/predictions";

/// Every refused request.
pub(crate) fn all() -> Vec<Bad> {
    [shapes(), rules(), texts(), absent()]
        .into_iter()
        .flatten()
        .collect()
}

fn shapes() -> Vec<Bad> {
    let of = |body, pointers, detail| shape(PATH, body, pointers, detail);
    vec![
        of("{}", &["/dataset"], "must be given"),
        of(r#"{"dataset":null}"#, &["/dataset"], "null"),
        of(
            r#"{"dataset":["iris"]}"#,
            &["/dataset"],
            "must be a string, got an array",
        ),
        of(
            r#"{"dataset":"iris","version":null}"#,
            &["/version"],
            "null",
        ),
        of(
            r#"{"dataset":"iris","version":true}"#,
            &["/version"],
            "must be the number of a version, an alias or \"latest\", got true",
        ),
        of(
            r#"{"dataset":"iris","version":-1}"#,
            &["/version"],
            "must be the number of a version, an alias or \"latest\", got -1",
        ),
        of(
            r#"{"dataset":"iris","format":"parqet"}"#,
            &["/format"],
            "unknown format `parqet`: did you mean `parquet`? known: csv, parquet",
        ),
        of(
            r#"{"dataset":"iris","top_k":"1"}"#,
            &["/top_k"],
            "must be a whole number",
        ),
        of(
            r#"{"dataset":"iris","keep":"species"}"#,
            &["/keep"],
            "must be an array",
        ),
        of(
            r#"{"dataset":"iris","keep":[1]}"#,
            &["/keep/0"],
            "must be a string, got 1",
        ),
        of(r#"{"dataset":"iris","keep":null}"#, &["/keep"], "null"),
        of(
            r#"{"dataset":"iris","formt":"csv"}"#,
            &["/formt"],
            "unknown field `formt`: did you mean `format`? known: dataset, version, format, top_k, keep, metadata",
        ),
    ]
}

fn rules() -> Vec<Bad> {
    let of = |body: Value, pointers, detail| rule(PATH, &body, pointers, detail);
    let unnamed = |model: &str| {
        rule(
            &format!("/v1/models/{model}/predictions"),
            &json!({"dataset": "held"}),
            &["/dataset"],
            "must be left out, and its rows be sent to /predict: this version was not trained on a dataset with named columns",
        )
    };
    vec![
        of(
            json!({"dataset": "iris-2"}),
            &["/dataset"],
            "must name a dataset, got \"iris-2\", and there is none of that name",
        ),
        of(
            json!({"dataset": "iris", "version": 3}),
            &["/version"],
            "must be a version of the model, in [1, 2], got 3",
        ),
        of(
            json!({"dataset": "iris", "version": 0}),
            &["/version"],
            "in [1, 2], got 0",
        ),
        of(
            json!({"dataset": "iris", "version": "best"}),
            &["/version"],
            "must be an alias of the model or \"latest\", got \"best\": known: none",
        ),
        of(
            json!({"dataset": "iris", "top_k": 0}),
            &["/top_k"],
            "must be in [1, 3], got 0",
        ),
        of(
            json!({"dataset": "iris", "top_k": 4}),
            &["/top_k"],
            "must be in [1, 3], got 4",
        ),
        of(
            json!({"dataset": "iris", "keep": ["specie"]}),
            &["/keep/0"],
            "must be a column of the dataset, got \"specie\": did you mean `species`? known: sepal_length",
        ),
        of(
            json!({"dataset": "iris", "keep": ["species", "species"]}),
            &["/keep/1"],
            "must be given once, got \"species\" again",
        ),
        of(
            json!({"dataset": "iris", "metadata": {"": "a"}}),
            &["/metadata"],
            "must have keys",
        ),
        of(
            json!({"dataset": "held"}),
            &["/dataset", "/dataset", "/dataset", "/dataset"],
            "must have column \"sepal_length\"",
        ),
        of(
            json!({"dataset": "none", "version": 9, "keep": ["a", "a"], "metadata": {"": ""}}),
            &["/dataset", "/version", "/keep/1", "/metadata"],
            "4 violations",
        ),
        unnamed("xor"),
        unnamed("scaled"),
    ]
}

fn texts() -> Vec<Bad> {
    let of = |media_type, body: Vec<u8>, status, slug, detail| Bad {
        media_type,
        ..post(PATH, body, status, slug, (&[], detail))
    };
    let json = "application/json";
    let long = vec![b' '; low_limits().body_control_bytes + 1];
    vec![
        of(
            json,
            b"{".to_vec(),
            400,
            "invalid-json",
            "the body ends inside an object",
        ),
        of(
            "text/csv",
            b"a\n1\n".to_vec(),
            415,
            "unsupported-media-type",
            "Content-Type must be application/json",
        ),
        of(
            json,
            long,
            413,
            "body-too-large",
            "must have at most 1024 bytes",
        ),
    ]
}

fn absent() -> Vec<Bad> {
    let none = "00000000-0000-7000-8000-000000000000";
    let of = |method, path: String, detail| bare(method, &path, 404, "not-found", (&[], detail));
    let mut rows = vec![
        post(
            "/v1/models/none/predictions",
            r#"{"dataset":"iris"}"#,
            404,
            "not-found",
            (&[], "there is no model \"none\""),
        ),
        of(
            "GET",
            "/v1/models/none/predictions".to_owned(),
            "there is no model \"none\"",
        ),
        bare(
            "GET",
            &format!("{PATH}?status=paused"),
            422,
            "invalid-query",
            (
                &["/status"],
                "must be one of queued, running, succeeded, failed, cancelled, got \"paused\"",
            ),
        ),
        bare(
            "GET",
            &format!("{PATH}?after={none}"),
            422,
            "invalid-query",
            (
                &["/after"],
                "must be one of the batch predictions there are, got",
            ),
        ),
        bare(
            "PUT",
            PATH,
            405,
            "method-not-allowed",
            (&[], "it has GET, POST"),
        ),
    ];
    for (method, end) in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/result"),
        ("POST", "/cancel"),
    ] {
        rows.push(of(
            method,
            format!("{PATH}/{none}{end}"),
            "there is no batch prediction \"00000000-0000-7000-8000-000000000000\"",
        ));
        rows.push(of(
            method,
            format!("{PATH}/first{end}"),
            "there is no batch prediction \"first\": ids are UUIDs, hyphenated and in lower case",
        ));
    }
    rows
}
