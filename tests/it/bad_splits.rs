//! Bad splits: columns that rows cannot be split by, and ways to split that exclude each other.

use serde_json::{Value, json};

use crate::server::{TestServer, text};

const TABLE: &str =
    "who,at,gap,one,x,y\na,1,1,z,0.1,p\na,2,,z,0.2,q\nb,3,3,z,0.3,p\nb,4,4,z,0.4,q\n";

async fn prepared() -> TestServer {
    let server = TestServer::start().await;
    server.upload("t", TABLE).await.expect(201);
    let layers = json!([{"units": 2, "activation": "softmax"}]);
    let model = json!({"name": "m", "inputs": 1, "loss": "cross_entropy", "layers": layers});
    server.create(model).await;
    server
}

/// Pointers and details of what is wrong with a job, over which `more` is laid.
async fn refused(server: &TestServer, more: &Value) -> Vec<(String, String)> {
    let data = json!({"dataset": "t", "features": ["x"], "target": "y"});
    let mut job = json!({"model": "m", "data": data});
    for (name, value) in more.as_object().expect("fields") {
        job[name] = value.clone();
    }
    let problem = server
        .post("/v1/jobs", job)
        .await
        .problem(422, "invalid-spec");
    let errors = problem["errors"].as_array().expect("errors").iter();
    errors
        .map(|error| (text(&error["pointer"]), text(&error["detail"])))
        .collect()
}

async fn assert_refused(server: &TestServer, more: Value, expected: &[(&str, &str)]) {
    let found = refused(server, &more).await;
    let owned = |(pointer, detail): &(&str, &str)| ((*pointer).to_owned(), (*detail).to_owned());
    let expected: Vec<_> = expected.iter().map(owned).collect();
    assert_eq!(found, expected, "{more}");
}

#[tokio::test]
async fn a_column_that_rows_cannot_be_split_by_is_refused() {
    let server = prepared().await;
    for (validation, expected) in [
        (
            json!({"fraction": 0.5, "group": "whom"}),
            &[(
                "/validation/group",
                "must name a column of the dataset, got \"whom\": did you mean `who`? known: who, at, gap, one, x, y",
            )][..],
        ),
        (
            json!({"fraction": 0.5, "time": "who"}),
            &[(
                "/validation/time",
                "must be a numeric column, got \"who\", which holds words",
            )],
        ),
        (
            json!({"fraction": 0.5, "time": "gap"}),
            &[(
                "/validation/time",
                "must have a time for each row, and column \"gap\" has 1 missing value: give \"missing\":\"drop_rows\" in data, or fill it in",
            )],
        ),
        (
            json!({"fraction": 0.5, "group": "gap"}),
            &[(
                "/validation/group",
                "must have a group for each row, and column \"gap\" has 1 missing value: give \"missing\":\"drop_rows\" in data, or fill it in",
            )],
        ),
        (
            json!({"fraction": 0.5, "group": "y"}),
            &[("/validation/group", "must not be a target, got \"y\"")],
        ),
        (
            json!({"fraction": 0.5, "group": "one"}),
            &[(
                "/validation/group",
                "must have at least 2 groups, one to train on and one to validate on, got 1 in column \"one\"",
            )],
        ),
        (
            json!({"dataset": "t", "group": "who", "time": "at"}),
            &[
                (
                    "/validation/group",
                    "must be left out where there is no fraction",
                ),
                (
                    "/validation/time",
                    "must be left out where there is no fraction",
                ),
            ],
        ),
    ] {
        assert_refused(&server, json!({"validation": validation}), expected).await;
    }
    let inline = json!({
        "data": {"inputs": [[1], [2]], "targets": [[1, 0], [0, 1]]}, "validation": {"fraction": 0.5, "group": "who"},
    });
    let detail =
        "must be left out where data is inline: it names a column of a dataset, got \"who\"";
    assert_refused(&server, inline, &[("/validation/group", detail)]).await;
    server.stop().await;
}

#[tokio::test]
async fn ways_to_split_that_exclude_each_other_are_named_together() {
    let server = prepared().await;
    for (validation, expected) in [
        (
            json!({"fraction": 0.5, "group": "who", "time": "at"}),
            &[(
                "/validation/time",
                "must be left out where group is given, got time \"at\" and group \"who\"",
            )][..],
        ),
        (
            json!({"fraction": 0.5, "group": "who", "stratified": true}),
            &[(
                "/validation/stratified",
                "must be false where group is given, whose rows stay together, got stratified true and group \"who\"",
            )],
        ),
        (
            json!({"fraction": 0.5, "time": "at", "stratified": true}),
            &[(
                "/validation/stratified",
                "must be false where time is given, whose latest rows are kept, got stratified true and time \"at\"",
            )],
        ),
        (
            json!({"fraction": 2, "time": "who", "group": "whom"}),
            &[
                (
                    "/validation/time",
                    "must be left out where group is given, got time \"who\" and group \"whom\"",
                ),
                ("/validation/fraction", "must be in (0, 1), got 2"),
                (
                    "/validation/group",
                    "must name a column of the dataset, got \"whom\": did you mean `who`? known: who, at, gap, one, x, y",
                ),
            ],
        ),
    ] {
        assert_refused(&server, json!({"validation": validation}), expected).await;
    }
    server.stop().await;
}
