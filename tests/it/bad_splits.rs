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

#[tokio::test]
async fn a_cross_validation_that_cannot_be_is_refused() {
    let server = prepared().await;
    let pointer = |name: &str| format!("/cross_validation/{name}");
    let (folds, group) = (pointer("folds"), pointer("group"));
    let stratified = pointer("stratified");
    for (cross_validation, expected) in [
        (json!({"folds": 1}), (&folds, "must be in [2, 20], got 1")),
        (json!({"folds": 21}), (&folds, "must be in [2, 20], got 21")),
        (
            json!({"folds": 5}),
            (&folds, "must be at most the rows there are, 4, got 5"),
        ),
        (
            json!({"folds": 2, "group": "one"}),
            (
                &group,
                "must have at least 2 groups, one for each fold, got 1 in column \"one\"",
            ),
        ),
        (
            json!({"folds": 2, "group": "gap"}),
            (
                &group,
                "must have a group for each row, and column \"gap\" has 1 missing value: give \"missing\":\"drop_rows\" in data, or fill it in",
            ),
        ),
        (
            json!({"folds": 2, "group": "whom"}),
            (
                &group,
                "must name a column of the dataset, got \"whom\": did you mean `who`? known: who, at, gap, one, x, y",
            ),
        ),
        (
            json!({"folds": 2, "group": "who", "stratified": true}),
            (
                &stratified,
                "must be false where group is given, whose rows stay together, got stratified true and group \"who\"",
            ),
        ),
    ] {
        let (pointer, detail) = expected;
        let more = json!({"cross_validation": cross_validation});
        assert_refused(&server, more, &[(pointer, detail)]).await;
    }
    let inline = json!({"inputs": [[1], [2]], "targets": [[1, 0], [0, 1]]});
    let more = json!({"data": inline, "cross_validation": {"folds": 2, "stratified": true}});
    let detail = "must be false where the target is not categorical";
    assert_refused(&server, more, &[(&stratified, detail)]).await;
    server.stop().await;
}

#[tokio::test]
async fn what_does_not_go_with_cross_validation_is_told_together() {
    let server = prepared().await;
    let together = json!({
        "cross_validation": {"folds": 2}, "validation": {"fraction": 0.5}, "early_stopping": {}, "max_seconds": 9,
        "target_metric": {"metric": "loss", "value": 0.1},
    });
    let ending = "must be left out with cross_validation: a fold is validated on at the end of its run alone, and every run makes the same epochs";
    let expected = [
        (
            "/cross_validation",
            "must be left out where validation is given: each fold is validated on in its turn",
        ),
        ("/early_stopping", ending),
        ("/target_metric", ending),
        ("/max_seconds", ending),
    ];
    assert_refused(&server, together, &expected).await;

    // Version 2 has learned every row.
    let folds = json!({"folds": 2});
    let job = json!({"model": "m", "data": {"dataset": "t", "features": ["x"], "target": "y"}, "epochs": 1});
    let mut first = job.clone();
    first["cross_validation"] = folds.clone();
    server.train(first).await;
    let detail = "must be given with cross_validation where the model was trained before: version 2 may know the rows of every fold; give {\"initial\":true}, or {\"version\":2} where it does not";
    assert_refused(
        &server,
        json!({"cross_validation": folds}),
        &[("/from", detail)],
    )
    .await;
    for from in [json!({"initial": true}), json!({"version": 2})] {
        let mut again = job.clone();
        again["cross_validation"] = folds.clone();
        again["from"] = from;
        server.train(again).await;
    }
    server.stop().await;
}
