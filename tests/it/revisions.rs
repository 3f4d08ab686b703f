//! Rows appended to a dataset: what its latest revision is, and that who reads an earlier one goes on reading it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::crash::Daemon;
use crate::server::{Answer, Api, TestServer, long_job, number, send, text, until};

/// Rows of a full chunk.
const CHUNK_ROWS: usize = 16_384;

async fn post(
    server: &Api,
    path: &str,
    media_type: &str,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let request = server.request(Method::POST, path);
    send(request.header("Content-Type", media_type).body(body)).await
}

async fn append(server: &Api, name: &str, csv: impl Into<reqwest::Body>) -> Answer {
    post(
        server,
        &format!("/v1/datasets/{name}/rows"),
        "text/csv",
        csv,
    )
    .await
}

/// Rows of a number, its word and its half.
fn rows(numbers: std::ops::Range<usize>) -> String {
    let words = ["one", "two", "three"];
    let row = |row: usize| format!("{row},{},{}\n", words[row % 3], row as f64 / 2.0);
    "x,word,y\n".to_owned() + &numbers.map(row).collect::<String>()
}

#[tokio::test]
async fn appended_rows_make_a_dataset_like_that_of_all_rows_at_once() {
    let server = TestServer::start().await;
    let total = 2 * CHUNK_ROWS + 10;
    let whole = server.upload("whole", rows(0..total)).await.expect(201);
    let first = server.upload("grown", rows(0..5)).await.expect(201);
    assert_eq!((&first["revision"], &first["rows"]), (&json!(1), &json!(5)));
    let mut digests = vec![text(&first["digest"])];
    for (revision, (from, to)) in [
        (5, 7),
        (7, CHUNK_ROWS),
        (CHUNK_ROWS, CHUNK_ROWS + 1),
        (CHUNK_ROWS + 1, total),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = append(&server, "grown", rows(from..to)).await;
        assert_eq!(answer.header("location"), "/v1/datasets/grown");
        let grown = answer.expect(201);
        assert_eq!(grown["revision"], revision + 2);
        assert_eq!(grown["rows"], to);
        assert_eq!(grown["created_at"], first["created_at"]);
        assert_eq!(server.get("/v1/datasets/grown").await.expect(200), grown);
        digests.push(text(&grown["digest"]));
    }
    let server = server.restart().await;
    let mut grown = server.get("/v1/datasets/grown").await.expect(200);
    assert_eq!(grown["bytes"], whole["bytes"]);
    for (grown, whole) in grown["columns"]
        .as_array_mut()
        .expect("columns")
        .iter_mut()
        .zip(whole["columns"].as_array().expect("columns"))
    {
        for figure in ["mean", "std"] {
            if whole[figure].is_null() {
                continue;
            }
            let (appended, at_once) = (number(&grown[figure]), number(&whole[figure]));
            assert!(
                (appended - at_once).abs() <= 1e-12 * at_once,
                "{appended} {at_once}"
            );
            grown[figure] = whole[figure].clone();
        }
        assert_eq!(grown, whole);
    }
    let mut summaries = Vec::new();
    for name in ["grown", "whole"] {
        let path = format!("/v1/datasets/{name}/summary");
        let mut summary = server.get(&path).await.expect(200);
        for column in summary["columns"].as_array_mut().expect("columns") {
            column
                .as_object_mut()
                .expect("an object")
                .retain(|key, _| key != "mean" && key != "std");
        }
        summaries.push(summary["columns"].take());
    }
    assert_eq!(summaries[0], summaries[1]);
    let list = server
        .get("/v1/datasets/grown/revisions?order=asc")
        .await
        .expect(200);
    let listed: Vec<_> = list["data"]
        .as_array()
        .expect("revisions")
        .iter()
        .map(|one| text(&one["digest"]))
        .collect();
    assert_eq!(listed, digests);
    let page = server
        .get("/v1/datasets/grown/revisions?limit=1&after=3")
        .await
        .expect(200);
    assert_eq!(
        (&page["data"][0]["revision"], &page["data"][0]["rows"]),
        (&json!(2), &json!(7))
    );
    assert_eq!(page["has_more"], true);
    server.stop().await;
}

#[tokio::test]
async fn new_words_are_categories_of_the_later_revision_only() {
    let server = TestServer::start().await;
    server.upload("t", "w,x\nm,1\nz,2\n").await.expect(201);
    let grown = post(
        &server,
        "/v1/datasets/t/rows",
        "application/x-ndjson",
        "{\"x\":3,\"w\":\"a\"}\n{\"w\":\"m\"}\n",
    )
    .await;
    let grown = grown.expect(201);
    assert_eq!(grown["columns"][0]["categories"], json!(["a", "m", "z"]));
    assert_eq!(grown["columns"][1]["missing"], 1);
    let shown = server.get("/v1/datasets/t/rows").await.expect(200);
    assert_eq!(
        shown["data"],
        json!([{"w": "m", "x": 1.0}, {"w": "z", "x": 2.0}, {"w": "a", "x": 3.0}, {"w": "m", "x": null}])
    );
    server.stop().await;
}

#[tokio::test]
async fn a_refused_append_changes_nothing() {
    let server = TestServer::start().await;
    server.upload("t", rows(0..10)).await.expect(201);
    let before = server.get("/v1/datasets/t").await.expect(200);
    let many = rows(10..3 * CHUNK_ROWS);
    for (csv, fault) in [
        (
            "x,word\n1,one\n".to_owned(),
            "the columns must be those of the dataset: without \"y\"",
        ),
        (
            "x,word,z\n1,one,2\n".to_owned(),
            "the columns must be those of the dataset: without \"y\": with \"z\", which it has not",
        ),
        (
            "x,y,word\n1,2,one\n1,two,one\n".to_owned(),
            "line 3, column 2 (\"y\"): the column is numeric, got \"two\": mend the cell, or leave it empty (null in JSON) where a value is missing",
        ),
        (
            "x,word,y\n".to_owned(),
            "line 1: the table has a header and no rows",
        ),
        (
            many.clone() + "1,2\n",
            "line 49144, column 3 (\"y\"): the row has too few cells: 3 expected, got 2",
        ),
    ] {
        let problem = append(&server, "t", csv)
            .await
            .problem(422, "invalid-dataset");
        assert_eq!(problem["detail"], fault);
        assert_eq!(server.get("/v1/datasets/t").await.expect(200), before);
    }
    append(&server, "none", rows(0..1))
        .await
        .problem(404, "not-found");
    let kinds = post(
        &server,
        "/v1/datasets/t/rows?kinds=x:boolean",
        "text/csv",
        rows(0..1),
    )
    .await;
    assert_eq!(
        kinds.problem(422, "invalid-query")["errors"][0]["detail"],
        "is no parameter here: known: delimiter, quote, missing"
    );
    let grown = append(&server, "t", many).await.expect(201);
    assert_eq!(
        (&grown["revision"], &grown["rows"]),
        (&json!(2), &json!(3 * CHUNK_ROWS))
    );
    let page = server
        .get(&format!("/v1/datasets/t/rows?after={}", CHUNK_ROWS - 1))
        .await
        .expect(200);
    assert_eq!(
        page["data"][1],
        json!({"x": 16384.0, "word": "two", "y": 8192.0})
    );
    server.stop().await;
}

#[tokio::test]
async fn appends_at_the_same_time_come_one_after_another() {
    let server = TestServer::start().await;
    server.upload("t", rows(0..10)).await.expect(201);
    let part = |part: usize| append(&server, "t", rows(10 * part..10 * part + 10));
    let (one, two, three) = tokio::join!(part(1), part(2), part(3));
    let answers = [one, two, three].into_iter();
    let mut revisions: Vec<_> = answers
        .map(|answer| number(&answer.expect(201)["revision"]))
        .collect();
    revisions.sort_by(f64::total_cmp);
    assert_eq!(revisions, [2.0, 3.0, 4.0]);
    assert_eq!(server.get("/v1/datasets/t").await.expect(200)["rows"], 40);
    server.stop().await;
}

#[tokio::test]
async fn an_append_with_a_key_is_carried_out_once() {
    let server = TestServer::start().await;
    server.upload("t", rows(0..10)).await.expect(201);
    let send_with_key = |csv: String| {
        let request = server.request(Method::POST, "/v1/datasets/t/rows");
        send(
            request
                .header("Content-Type", "text/csv")
                .header("Idempotency-Key", "once")
                .body(csv),
        )
    };
    let (one, two) = tokio::join!(send_with_key(rows(10..20)), send_with_key(rows(10..20)));
    assert_eq!(one.expect(201), two.expect(201));
    let again = send_with_key(rows(10..20)).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201)["rows"], 20);
    send_with_key(rows(10..21))
        .await
        .problem(422, "idempotency-key-reused");
    assert_eq!(
        server.get("/v1/datasets/t").await.expect(200)["revision"],
        2
    );
    server.stop().await;
}

/// A model of the table's numbers and a job that trains it.
fn model() -> Value {
    json!({"name": "m", "inputs": 1, "layers": [{"units": 2, "activation": "tanh"}, {"units": 1, "activation": "identity"}],
           "preprocess": "standardize", "seed": 1})
}

fn job() -> Value {
    json!({"model": "m", "data": {"dataset": "t", "features": ["x"], "target": "y"}, "epochs": 3, "seed": 2,
           "optimizer": {"type": "gradient_descent", "learning_rate": 1e-9}})
}

#[tokio::test]
async fn a_queued_job_reads_the_revision_that_it_was_checked_against_after_a_kill_too() {
    let data_dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(data_dir.path()).await;
    daemon.create(model()).await;
    daemon.upload("t", rows(0..100)).await.expect(201);
    let expected = daemon.train(job()).await;
    let expected = daemon
        .parameters("m", &expected["version"].to_string())
        .await;
    let blocker =
        json!({"name": "b", "inputs": 2, "layers": [{"units": 1, "activation": "sigmoid"}]});
    daemon.create(blocker).await;
    let blocking = daemon.submit(long_job("b")).await;
    daemon.running(&blocking).await;
    let mut again = job();
    again["from"] = json!({"initial": true});
    let queued = daemon.submit(again).await;
    append(&daemon, "t", "x,word,y\n1000,new,-5\n")
        .await
        .expect(201);
    daemon.kill();
    let daemon = Daemon::start(data_dir.path()).await;
    daemon.tell(&format!("/v1/jobs/{blocking}/cancel")).await;
    let ended = until("the job ends", || async {
        let ended = daemon.get(&format!("/v1/jobs/{queued}")).await.expect(200);
        if ended["status"] == "succeeded" {
            Ok(ended)
        } else {
            Err(ended)
        }
    })
    .await;
    let read = daemon.parameters("m", &ended["version"].to_string()).await;
    assert_eq!(read, expected);
    assert_eq!(daemon.get("/v1/datasets/t").await.expect(200)["rows"], 101);
}

#[tokio::test]
async fn nothing_is_left_of_rows_whose_process_is_killed() {
    for path in ["/v1/datasets/t/rows", "/v1/datasets?name=new"] {
        let data_dir = tempfile::tempdir().expect("a directory");
        let daemon = Daemon::start(data_dir.path()).await;
        let before = daemon.upload("t", rows(0..10)).await.expect(201);
        let (pieces, body) = pieces();
        let request = daemon.request(Method::POST, path);
        let request = request.header("Content-Type", "text/csv").body(body);
        let sending = tokio::spawn(request.send());
        // More than is written at once: some chunks are in the database.
        let sent = pieces.send(rows(10..60 * CHUNK_ROWS)).await;
        sent.expect("it is read");
        until("some chunks are written", || async {
            let log = std::fs::metadata(data_dir.path().join("gradientd.db-wal"));
            let size = log.map_or(0, |file| file.len());
            if size > 4 << 20 { Ok(()) } else { Err(size) }
        })
        .await;
        daemon.kill();
        drop(pieces);
        let sent = sending.await.expect("a task");
        sent.expect_err("the process is gone");
        let daemon = Daemon::start(data_dir.path()).await;
        let list = daemon.get("/v1/datasets").await.expect(200);
        assert_eq!(list["data"], json!([before]));
        let grown = append(&daemon, "t", rows(10..20)).await.expect(201);
        assert_eq!(
            (&grown["revision"], &grown["rows"]),
            (&json!(2), &json!(20))
        );
        daemon.upload("new", rows(0..1)).await.expect(201);
    }
}

/// A body that is sent piece by piece.
fn pieces() -> (tokio::sync::mpsc::Sender<String>, reqwest::Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<String>(1);
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), receiver))
    });
    (sender, reqwest::Body::wrap_stream(stream))
}
