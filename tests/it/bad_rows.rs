//! Rows to predict, inspect and check, and aliases, that must be refused.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, bare, post, rule, shape};

/// Every refused request of a model that exists.
pub(crate) fn all() -> Vec<Bad> {
    [
        predictions(),
        shapes(),
        answers(),
        instances(),
        limits(),
        aliases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn predictions() -> Vec<Bad> {
    let mut rows = Vec::new();
    for path in [
        "/v1/models/xor/predict",
        "/v1/models/xor/versions/1/predict",
        "/v1/models/xor/versions/latest/predict",
    ] {
        let of = |body: &str, pointers, detail| shape(path, body, pointers, detail);
        let broken = |body: Value, pointers, detail| rule(path, &body, pointers, detail);
        rows.extend([
            broken(json!({}), &[""], "either inputs or instances"),
            of(
                r#"{"inputs":null}"#,
                &["/inputs"],
                "must be an array of rows of numbers, such as [[0,1],[1,1]], got null",
            ),
            of(r#"{"instances":null}"#, &["/instances"], "got null"),
            broken(
                json!({"inputs": [[0, 1]], "instances": []}),
                &[""],
                "either inputs or instances",
            ),
            broken(
                json!({"inputs": []}),
                &["/inputs"],
                "must have at least one row, got 0",
            ),
            broken(
                json!({"inputs": [[0]]}),
                &["/inputs/0"],
                "must have 2 numbers, got 1",
            ),
            broken(
                json!({"inputs": [[0, 1, 2], [0, 1, 2]]}),
                &["/inputs/0"],
                "must have 2 numbers, got 3",
            ),
            of("[]", &[""], "must be an object, got an array"),
            of("[[[0,1]]]", &[""], "must be an object, got an array"),
            of("null", &[""], "must be an object, got null"),
        ]);
    }
    rows
}

/// Inputs that are no rows of numbers.
fn shapes() -> Vec<Bad> {
    let path = "/v1/models/xor/predict";
    let of = |body: &str, pointers, detail| shape(path, body, pointers, detail);
    let no_json = |body: &str, detail| post(path, body, 400, "invalid-json", (&[], detail));
    vec![
        of(
            r#"{"inputs":[[0,1],[1]]}"#,
            &["/inputs/1"],
            "as many numbers as the first, 2, got 1",
        ),
        of(
            r#"{"inputs":[[]]}"#,
            &["/inputs/0"],
            "must have at least one number",
        ),
        of(
            r#"{"inputs":[0,1]}"#,
            &["/inputs/0"],
            "must be a row: an array of numbers, got 0",
        ),
        of(
            r#"{"inputs":{}}"#,
            &["/inputs"],
            "an array of rows of numbers",
        ),
        of(
            r#"{"inputs":"0,1"}"#,
            &["/inputs"],
            "an array of rows of numbers",
        ),
        of(
            r#"{"inputs":[[0,"1"]]}"#,
            &["/inputs/0/1"],
            "must be a number, got the string \"1\"",
        ),
        of(
            r#"{"inputs":[[0,"NaN"]]}"#,
            &["/inputs/0/1"],
            "must be a number, got the string \"NaN\"",
        ),
        of(
            r#"{"inputs":[[null,1]]}"#,
            &["/inputs/0/0"],
            "must be a number, got null",
        ),
        of(
            r#"{"inputs":[[0,true]]}"#,
            &["/inputs/0/1"],
            "must be a number, got true",
        ),
        of(
            r#"{"inputs":[[0,1]],"input":1}"#,
            &["/input"],
            "unknown field `input`",
        ),
        of(
            r#"{"inputs":[[0,1]],"inputs":[[0,1]]}"#,
            &["/inputs"],
            "must be given once",
        ),
        of(
            &format!("{{\"inputs\":{}", "[".repeat(15_000)),
            &["/inputs/0/0"],
            "must be a number, got an array",
        ),
        no_json(
            r#"{"inputs":[[0,1e999]]}"#,
            "a number must be within ±1.7976931348623157e308",
        ),
        no_json(
            r#"{"inputs":[[0,NaN]]}"#,
            "NaN is not JSON, which has finite numbers alone",
        ),
        no_json(r#"{"inputs":[[0,Infinity]]}"#, "Infinity is not JSON"),
        no_json(
            r#"{"inputs":[[0,1],]}"#,
            "a comma must not stand before the closing bracket",
        ),
        no_json(r#"{"inputs":[[0,1]]"#, "the body ends inside an object"),
    ]
}

/// Versions that are not there and rows that overflow.
fn answers() -> Vec<Bad> {
    vec![
        post(
            "/v1/models/none/predict",
            r#"{"inputs":[[0]]}"#,
            404,
            "not-found",
            (&[], "there is no model \"none\""),
        ),
        post(
            "/v1/models/xor/versions/99/predict",
            r#"{"inputs":[[0,1]]}"#,
            404,
            "not-found",
            (&[], "there is no version"),
        ),
        post(
            "/v1/models/xor/versions/none/predict",
            r#"{"inputs":[[0,1]]}"#,
            404,
            "not-found",
            (&[], "there is no version"),
        ),
        rule(
            "/v1/models/narrow/predict",
            &json!({"inputs": [[0, 1e39]]}),
            &["/inputs/0/1"],
            "must fit float32, within ±3.4028234663852886e38, got 1e39",
        ),
        rule(
            "/v1/models/narrow/predict",
            &json!({"inputs": [[-1e39, 0], [0, 1e300]]}),
            &["/inputs/0/0", "/inputs/1/1"],
            "must fit float32",
        ),
        post(
            "/v1/models/narrow/predict",
            r#"{"inputs":[[3e38,3e38]]}"#,
            422,
            "not-finite",
            (&[], "answers these rows with NaN or infinity"),
        ),
        post(
            "/v1/models/huge/gradients",
            r#"{"inputs":[[1e308]],"targets":[[-1e308]]}"#,
            422,
            "not-finite",
            (&[], "with NaN or infinity"),
        ),
        post(
            "/v1/models/huge/gradient-check",
            r#"{"inputs":[[1e308]],"targets":[[-1e308]]}"#,
            422,
            "not-finite",
            (&[], "with NaN or infinity"),
        ),
    ]
}

fn instances() -> Vec<Bad> {
    let path = "/v1/models/iris/predict";
    let flower = |more: &str| {
        format!(r#"{{"instances":[{{"sepal_length":1,"sepal_width":1,"petal_length":1{more}}}]}}"#)
    };
    let told = |more: &str, pointers, detail| {
        post(path, flower(more), 422, "invalid-spec", (pointers, detail))
    };
    let broken = |more: &str, detail| told(more, &["/instances/0"], detail);
    vec![
        rule(
            "/v1/models/xor/predict",
            &json!({"instances": [{"a": 1}]}),
            &["/instances"],
            "inputs",
        ),
        rule(
            path,
            &json!({"instances": []}),
            &["/instances"],
            "must have at least one row, got 0",
        ),
        rule(
            path,
            &json!({"inputs": [[1, 2, 3]]}),
            &["/inputs/0"],
            "must have 4 numbers, got 3",
        ),
        broken("", "petal_width"),
        broken(r#","petal_width":1,"colour":1"#, "colour"),
        told(
            r#","petal_width":"1""#,
            &["/instances/0/petal_width"],
            "must be a number, got the string \"1\"",
        ),
        told(
            r#","petal_width":null"#,
            &["/instances/0/petal_width"],
            "must be a number, got null",
        ),
        shape(
            path,
            flower(r#","petal_length":2"#),
            &["/instances/0/petal_length"],
            "must be given once",
        ),
        shape(
            path,
            r#"{"instances":{}}"#,
            &["/instances"],
            "must be an array, got an object",
        ),
        shape(
            path,
            r#"{"instances":[[1,2,3,4]]}"#,
            &["/instances/0"],
            "must be an object, got an array",
        ),
    ]
}

/// Requests of more rows, work or numbers than the low limits let through.
fn limits() -> Vec<Bad> {
    let body =
        |rows: usize| json!({"inputs": vec![[0, 1]; rows], "targets": vec![[1]; rows]}).to_string();
    let wide = |rows: usize| {
        json!({"inputs": vec![[0, 1]; rows], "targets": vec![[1]; rows], "include": ["deltas"]})
            .to_string()
    };
    let of = |path: &str, body: String, detail| post(path, body, 422, "too-large", (&[], detail));
    vec![
        of(
            "/v1/models/xor/predict",
            json!({"inputs": vec![[0, 1]; 11]}).to_string(),
            "rows in one request must be at most 10, got 11",
        ),
        of(
            "/v1/models/xor/gradients",
            wide(11),
            "rows in one request must be at most 10, got 11",
        ),
        of(
            "/v1/models/xor/gradient-check",
            body(11),
            "rows in one request must be at most 10, got 11",
        ),
        of(
            "/v1/models/broad/predict",
            json!({"inputs": vec![[0, 1]; 3]}).to_string(),
            "rows times parameters of one request must be at most 1000, got 1203",
        ),
        of(
            "/v1/models/broad/gradients",
            body(1),
            "the answer must have at most 200 numbers, got 605: limit it with include",
        ),
        of(
            "/v1/models/xor/gradient-check",
            body(3),
            "rows times parameters of one request must be at most 1000, got 1014",
        ),
    ]
}

fn aliases() -> Vec<Bad> {
    let of = |path: &str, body: &str, status, slug, said| Bad {
        method: "PUT",
        ..post(path, body, status, slug, said)
    };
    let path = "/v1/models/xor/aliases/best";
    let version = r#"{"version":1}"#;
    let mut rows = vec![
        of(
            path,
            "{}",
            422,
            "invalid-body",
            (&["/version"], "must be given"),
        ),
        of(
            path,
            "[1]",
            422,
            "invalid-body",
            (&[""], "must be an object"),
        ),
        of(
            path,
            r#"{"version":"1"}"#,
            422,
            "invalid-body",
            (&["/version"], "a whole number"),
        ),
        of(
            path,
            r#"{"version":-1}"#,
            422,
            "invalid-body",
            (&["/version"], "got -1"),
        ),
        of(
            path,
            r#"{"version":"latest"}"#,
            422,
            "invalid-body",
            (&["/version"], "got the string \"latest\""),
        ),
        of(
            path,
            r#"{"version":1,"alias":"a"}"#,
            422,
            "invalid-body",
            (&["/alias"], "unknown field `alias`"),
        ),
        of(
            "/v1/models/none/aliases/best",
            version,
            404,
            "not-found",
            (&[], "there is no model \"none\""),
        ),
        bare(
            "DELETE",
            "/v1/models/none/aliases/best",
            404,
            "not-found",
            (&[], "there is no"),
        ),
    ];
    for version in ["0", "99", "18446744073709551615"] {
        let body = format!("{{\"version\":{version}}}");
        rows.push(of(
            path,
            &body,
            404,
            "not-found",
            (&[], "there is no version"),
        ));
    }
    for alias in [
        "latest",
        "1",
        "007",
        "-a",
        "a%20b",
        "%C3%A4",
        &"a".repeat(65),
    ] {
        rows.push(of(
            &format!("/v1/models/xor/aliases/{alias}"),
            version,
            422,
            "invalid-spec",
            (
                &[],
                "an alias must be a name, but no number and not \"latest\"",
            ),
        ));
    }
    rows
}
