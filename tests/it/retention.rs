//! Retention: what has ended is kept up to a number, and nothing goes that is served, named or needed.

use gradientd::config::Kept;
use serde_json::{Value, json};

use crate::predictions::{slow, submit, succeeded};
use crate::server::{TestServer, long_job, number, text, until, xor_job, xor_model};

async fn listed(server: &TestServer, path: &str, field: &str) -> Vec<Value> {
    let mut page = server.get(path).await.expect(200);
    let data = page["data"].as_array_mut().expect("a list");
    data.iter_mut().map(|row| row[field].take()).collect()
}

/// Waits until a list has these.
async fn lists(server: &TestServer, path: &str, field: &str, expected: &[Value]) {
    until(path, async || {
        let found = listed(server, path, field).await;
        (found == expected).then_some(()).ok_or(found)
    })
    .await;
}

#[tokio::test]
async fn old_versions_go_but_not_those_that_are_served_named_or_needed() {
    let kept = Kept {
        keep_versions: 3,
        ..Kept::default()
    };
    let server = TestServer::start_keeping(1, kept).await;
    server.create(xor_model("xor")).await;
    for _ in 0..3 {
        server.train(xor_job("xor", json!({}))).await;
    }
    let named = server
        .put("/v1/models/xor/aliases/champion", json!({"version": 2}))
        .await;
    named.expect(200);
    let rows = json!({"inputs": [[0, 1], [1, 1]]});
    let champion = "/v1/models/xor/versions/champion/predict";
    let before = server.post(champion, rows.clone()).await.expect(200);
    // A job that starts from version 3 stands still.
    let mut paused = long_job("xor");
    paused["from"] = json!({"version": 3});
    let id = server.submit(paused).await;
    server.running(&id).await;
    server
        .post(&format!("/v1/jobs/{id}/pause"), json!({}))
        .await
        .expect(200);
    for _ in 0..6 {
        server.train(xor_job("xor", json!({}))).await;
    }
    let versions = "/v1/models/xor/versions?order=asc";
    lists(
        &server,
        versions,
        "version",
        &[1, 2, 3, 8, 9, 10].map(Value::from),
    )
    .await;
    assert_eq!(
        server.post(champion, rows.clone()).await.expect(200),
        before
    );
    server
        .get("/v1/models/xor/versions/4")
        .await
        .problem(404, "not-found");
    // A job may go on from the initial parameters whatever has gone.
    server
        .train(xor_job("xor", json!({"from": {"initial": true}})))
        .await;
    // What is no longer needed goes with the next.
    server.cancel(&id).await;
    server
        .delete("/v1/models/xor/aliases/champion")
        .await
        .expect(204);
    server.train(xor_job("xor", json!({}))).await;
    lists(
        &server,
        versions,
        "version",
        &[1, 10, 11, 12].map(Value::from),
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn old_jobs_and_checkpoints_of_ended_jobs_go_and_unfinished_jobs_stay() {
    let kept = Kept {
        keep_jobs: 3,
        keep_checkpoints: 1,
        ..Kept::default()
    };
    let server = TestServer::start_keeping(1, kept).await;
    server.create(xor_model("xor")).await;
    server.create(xor_model("other")).await;
    let waiting = server.submit(long_job("other")).await;
    // One that is paused while its data is read has no checkpoint.
    let begun = |job: &Value| number(&job["progress"]["epoch"]) > 0.0;
    server.job_once(&waiting, begun).await;
    server
        .post(&format!("/v1/jobs/{waiting}/pause"), json!({}))
        .await
        .expect(200);
    let mut ids = vec![Value::from(waiting.as_str())];
    for _ in 0..5 {
        ids.push(server.train(xor_job("xor", json!({}))).await["id"].take());
    }
    let expected = [&ids[..1], &ids[3..]].concat();
    lists(&server, "/v1/jobs?order=asc", "id", &expected).await;
    for (id, checkpoints) in [(&ids[0], 1), (&ids[3], 0), (&ids[4], 0), (&ids[5], 1)] {
        let path = format!("/v1/jobs/{}/checkpoints", text(id));
        until("its checkpoints", async || {
            let found = listed(&server, &path, "epoch").await;
            let enough = (found.len() >= checkpoints) && (checkpoints > 0 || found.is_empty());
            enough.then_some(()).ok_or(found)
        })
        .await;
    }
    // The version of a job that has gone stays.
    server.get("/v1/models/xor/versions/2").await.expect(200);
    server
        .post(&format!("/v1/jobs/{waiting}/resume"), json!({}))
        .await
        .expect(200);
    server.running(&waiting).await;
    server.stop().await;
}

#[tokio::test]
async fn old_batch_predictions_go_with_their_results() {
    let kept = Kept {
        keep_predictions: 2,
        ..Kept::default()
    };
    let server = TestServer::start_keeping(1, kept).await;
    slow(&server, 10).await;
    let mut paths = Vec::new();
    for _ in 0..4 {
        paths.push(submit(&server, "slow", json!({"dataset": "few"})).await);
        succeeded(&server, &paths[paths.len() - 1]).await;
    }
    let list = "/v1/models/slow/predictions?order=asc";
    let id = |path: &String| Value::from(path.rsplit('/').next());
    let newest: Vec<_> = paths[2..].iter().map(id).collect();
    lists(&server, list, "id", &newest).await;
    let gone = format!("{}/result", paths[0]);
    server.get(&gone).await.problem(404, "not-found");
    server.stop().await;
}
