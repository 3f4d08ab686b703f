//! Batch predictions while they run: what they hold, how they are cancelled and taken up again, and their limits.

use gradientd::config::Limits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::predictions::{once, predicted, result, slow, submit, succeeded, table};
use crate::server::{Api, TestServer, send, text};

/// Rows that take seconds.
const LONG: usize = 1_000_000;

#[tokio::test]
async fn a_batch_prediction_that_runs_holds_what_it_needs_and_is_cancelled_at_once() {
    let server = TestServer::start().await;
    slow(&server, LONG).await;
    let spec = json!({"dataset": "many"});
    let running = submit(&server, "slow", spec.clone()).await;
    once(&server, &running, |shown| shown["status"] == "running").await;
    let (_, id) = running.rsplit_once('/').expect("an id");
    let refused = result(&server, &running).await.problem(409, "no-result");
    let told = format!(
        "batch prediction {id} is running and has no result: ask again once it has succeeded"
    );
    assert_eq!(refused["detail"], told);
    let waiting = submit(&server, "slow", json!({"dataset": "few"})).await;
    for (path, what) in [
        ("/v1/datasets/many", "dataset \"many\""),
        ("/v1/models/slow", "model \"slow\""),
    ] {
        let problem = server.delete(path).await.problem(409, "in-use");
        let told = format!("{what} is in use: batch prediction {id} needs it; cancel that first");
        assert_eq!(problem["detail"], told);
    }
    let problem = server.delete(&running).await.problem(409, "in-use");
    let told = format!("batch prediction {id:?} is in use: it is running; cancel it first");
    assert_eq!(problem["detail"], told);
    // A version that is neither the latest nor aliased is held, too.
    let data = json!({"dataset": "few", "target": "y"});
    server
        .train(json!({"model": "slow", "data": data, "epochs": 1}))
        .await;
    let problem = server.delete("/v1/models/slow/versions/2").await;
    let told =
        format!("version \"slow/2\" is in use: batch prediction {id} needs it; cancel that first");
    assert_eq!(problem.problem(409, "in-use")["detail"], told);

    let cancel = format!("{running}/cancel");
    let cancelled = server.tell(&cancel).await.expect(200);
    assert_eq!(
        (&cancelled["status"], &cancelled["bytes"]),
        (&json!("cancelled"), &json!(0))
    );
    // Cancelled again it stays as it is, and the next has its turn.
    server.tell(&cancel).await.expect(200);
    let next = succeeded(&server, &waiting).await;
    assert_eq!(
        (&next["version"], &next["progress"]["rows"]),
        (&json!(2), &json!(8))
    );
    let refused = result(&server, &running).await.problem(409, "no-result");
    let told = format!("batch prediction {id} is cancelled and has no result: submit it again");
    assert_eq!(refused["detail"], told);
    let problem = server.tell(&format!("{waiting}/cancel")).await;
    let told = "a batch prediction that is succeeded cannot be cancelled: it has ended";
    assert_eq!(problem.problem(409, "illegal-move")["detail"], told);

    let list = "/v1/models/slow/predictions";
    let page = server.get(&format!("{list}?limit=1")).await.expect(200);
    assert_eq!((&page["data"][0], &page["has_more"]), (&next, &json!(true)));
    let after = format!("{list}?after={}", text(&next["id"]));
    let page = server.get(&after).await.expect(200);
    assert_eq!(page["data"], json!([cancelled]));
    let page = server.get(&format!("{list}?status=succeeded")).await;
    assert_eq!(page.expect(200)["data"], json!([next]));
    let page = server.get(&format!("{list}?metadata[team]=a")).await;
    assert_eq!(page.expect(200)["data"], json!([]));

    server.delete(&running).await.expect(204);
    server.get(&running).await.problem(404, "not-found");
    let version = "/v1/models/slow/versions/2";
    server.delete(version).await.expect(204);
    let spec = json!({"dataset": "few", "version": 2});
    let problem = server.post(list, spec).await.problem(422, "invalid-spec");
    let told = "must be a version of the model, got 2: it was deleted";
    assert_eq!(problem["errors"][0]["detail"], told);
    for path in ["/v1/datasets/many", "/v1/models/slow"] {
        server.delete(path).await.expect(204);
    }
    server.get(&waiting).await.problem(404, "not-found");
    server.stop().await;
}

#[tokio::test]
async fn rows_that_are_appended_meanwhile_are_not_predicted() {
    let server = TestServer::start().await;
    slow(&server, LONG).await;
    let first = submit(&server, "slow", json!({"dataset": "many"})).await;
    once(&server, &first, |shown| shown["status"] == "running").await;
    let waiting = submit(&server, "slow", json!({"dataset": "few", "keep": ["a"]})).await;
    let request = server.request(Method::POST, "/v1/datasets/few/rows");
    let request = request.header("Content-Type", "text/csv");
    send(request.body("a,b,y\n5,5,5\n")).await.expect(201);
    server.tell(&format!("{first}/cancel")).await.expect(200);
    let ended = succeeded(&server, &waiting).await;
    assert_eq!(ended["progress"]["rows"], 8);
    let lines = result(&server, &waiting).await.text();
    assert_eq!(lines.lines().count(), 9);
    server.stop().await;
}

/// The path of a batch prediction of so many rows of `many` by `slow`, once some of them are predicted. None where this machine
/// was done before that could be seen.
pub(crate) async fn begun(api: &Api, rows: usize) -> Option<String> {
    slow(api, rows).await;
    let path = submit(api, "slow", json!({"dataset": "many"})).await;
    let begun = |shown: &Value| shown["progress"]["rows_done"] != 0;
    let shown = once(api, &path, begun).await;
    (shown["status"] == "running").then_some(path)
}

#[tokio::test]
async fn a_restart_in_the_middle_begins_anew_and_comes_to_the_same_bytes() {
    let mut rows = 20_000;
    let (server, path) = loop {
        let server = TestServer::start().await;
        if let Some(path) = begun(&server, rows).await {
            break (server, path);
        }
        rows *= 2;
    };
    let before = server.get(&path).await.expect(200);
    let server = server.restart().await;
    let after = succeeded(&server, &path).await;
    assert_eq!(after["started_at"], before["started_at"]);
    assert_eq!(after["progress"]["rows_done"], rows);
    let expected = predicted(&server, "slow", &table(rows)).await;
    assert!(result(&server, &path).await.text() == expected);
    server.stop().await;
}

#[tokio::test]
async fn as_many_wait_as_the_limit_says() {
    let limits = Limits {
        queued_predictions: 1,
        ..Limits::default()
    };
    let server = TestServer::start_with(1, limits).await;
    slow(&server, LONG).await;
    let running = submit(&server, "slow", json!({"dataset": "many"})).await;
    once(&server, &running, |shown| shown["status"] == "running").await;
    let waiting = submit(&server, "slow", json!({"dataset": "few"})).await;
    let path = "/v1/models/slow/predictions";
    let refused = server.post(path, json!({"dataset": "few"})).await;
    assert_eq!(refused.header("retry-after"), "10");
    let problem = refused.problem(503, "queue-full");
    let told = "the queue is full: 1 batch predictions wait";
    assert_eq!(problem["detail"], told);
    for path in [&waiting, &running] {
        server.tell(&format!("{path}/cancel")).await.expect(200);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_result_is_as_long_as_the_limit_and_no_longer() {
    let ended = async |prediction_bytes: u64| {
        let limits = Limits {
            prediction_bytes,
            ..Limits::default()
        };
        let server = TestServer::start_with(1, limits).await;
        slow(&server, 8).await;
        let path = submit(&server, "slow", json!({"dataset": "few"})).await;
        let ended = |shown: &Value| shown["finished_at"] != Value::Null;
        let ended = once(&server, &path, ended).await;
        server.stop().await;
        ended
    };
    let bytes = ended(1 << 20).await["bytes"].as_u64().expect("a number");
    assert_eq!(ended(bytes).await["status"], "succeeded");
    let failed = ended(bytes - 1).await;
    let told = format!(
        "the result must have at most {} bytes: keep fewer columns, give top_k, or predict the rows in several datasets",
        bytes - 1
    );
    let error = json!({"code": "result_too_large", "detail": told});
    assert_eq!((&failed["error"], &failed["bytes"]), (&error, &json!(0)));
}
