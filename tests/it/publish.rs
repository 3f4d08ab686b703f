//! Checkpoints that predict and become versions.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{TestServer, long_job, send, text, xor_model};

/// A server with a model `xor`, the id of a cancelled job of it, and the checkpoint that the job keeps.
async fn cancelled() -> (TestServer, String, Value) {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let id = server.submit(long_job("xor")).await;
    let beyond = |job: &Value| job["progress"]["epoch"].as_u64() > Some(2);
    server.job_once(&id, beyond).await;
    server.cancel(&id).await;
    let path = format!("/v1/jobs/{id}/checkpoints");
    let mut kept = server.get(&path).await.expect(200);
    (server, id, kept["data"][0].take())
}

#[tokio::test]
async fn a_cancelled_jobs_last_checkpoint_becomes_a_version_that_predicts_as_it_does() {
    let (server, id, kept) = cancelled().await;
    let epoch = &kept["epoch"];
    let path = format!("/v1/jobs/{id}/checkpoints/{epoch}");
    let rows = json!({"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]]});
    let predict = format!("{path}/predict");
    let predicted = server.post(&predict, rows.clone()).await.expect(200);
    assert_eq!(
        (&predicted["job"], &predicted["epoch"]),
        (&json!(id), epoch)
    );
    let before = server.predict("xor", rows["inputs"].clone()).await;
    assert_ne!(predicted["outputs"], before, "version 1 is untrained");

    let published = server.tell(&format!("{path}/publish")).await;
    assert_eq!(published.header("location"), "/v1/models/xor/versions/2");
    let version = published.expect(201);
    assert_eq!(
        (&version["version"], &version["job"]),
        (&json!(2), &json!(id))
    );
    assert_eq!(version["parameter_digest"], kept["parameter_digest"]);
    let lineage = &version["lineage"];
    assert_eq!(
        (&lineage["epochs"], &lineage["metrics"]),
        (epoch, &kept["metrics"])
    );
    assert_eq!(
        (&lineage["base_version"], &lineage["seed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        server.predict("xor", rows["inputs"].clone()).await,
        predicted["outputs"]
    );

    let job = server.get(&format!("/v1/jobs/{id}")).await.expect(200);
    assert_eq!(
        (&job["status"], &job["version"]),
        (&json!("cancelled"), &Value::Null)
    );
    let server = server.restart().await;
    let shown = server
        .get("/v1/models/xor/versions/latest")
        .await
        .expect(200);
    assert_eq!(shown, version);
    assert_eq!(
        server.predict("xor", rows["inputs"].clone()).await,
        predicted["outputs"]
    );
    let again = server.tell(&format!("{path}/publish")).await.expect(201);
    assert_eq!(again["version"], 3, "each time it is another version");
    server.stop().await;
}

#[tokio::test]
async fn only_the_ends_of_epochs_that_are_kept_predict_and_are_published() {
    let (server, id, kept) = cancelled().await;
    let epoch = kept["epoch"].as_u64().expect("a number");
    for wrong in [json!(epoch + 1), json!(0), json!(-1)] {
        let path = format!("/v1/jobs/{id}/checkpoints/{wrong}");
        let expected = format!(
            "job {id} keeps no checkpoint of the end of epoch \"{wrong}\"; epochs it keeps: {epoch}"
        );
        let predicted = server
            .post(&format!("{path}/predict"), json!({"inputs": [[0, 1]]}))
            .await;
        assert_eq!(predicted.problem(404, "not-found")["detail"], expected);
        let published = server.tell(&format!("{path}/publish")).await;
        assert_eq!(published.problem(404, "not-found")["detail"], expected);
    }
    assert_eq!(
        server.get("/v1/models/xor").await.expect(200)["latest_version"],
        1
    );
    server.stop().await;
}

#[tokio::test]
async fn a_checkpoint_of_a_deleted_model_is_not_published_into_another_of_its_name() {
    let (server, id, kept) = cancelled().await;
    let path = format!("/v1/jobs/{id}/checkpoints/{}", kept["epoch"]);
    server.delete("/v1/models/xor").await.expect(204);
    let refused = async || {
        let published = server.tell(&format!("{path}/publish")).await;
        text(&published.problem(404, "not-found")["detail"])
    };
    let expected = format!("the model \"xor\" that job {id} trained was deleted");
    assert_eq!(refused().await, expected);
    server.create(xor_model("xor")).await;
    assert_eq!(refused().await, expected);
    assert_eq!(
        server.get("/v1/models/xor").await.expect(200)["latest_version"],
        1
    );
    let rows = json!({"inputs": [[0, 1]]});
    server
        .post(&format!("{path}/predict"), rows)
        .await
        .expect(200);
    server.stop().await;
}

#[tokio::test]
async fn a_checkpoint_published_twice_with_one_key_is_one_version() {
    let (server, id, kept) = cancelled().await;
    let path = format!("/v1/jobs/{id}/checkpoints/{}/publish", kept["epoch"]);
    let publish = || {
        let request = server.request(Method::POST, &path);
        send(request.header("Idempotency-Key", "once"))
    };
    let (first, again) = (publish().await, publish().await);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.bytes, first.bytes);
    assert_eq!(first.expect(201)["version"], 2);
    let other = server.request(Method::POST, &path).body("{}");
    let other = send(other.header("Idempotency-Key", "once")).await;
    other.problem(422, "idempotency-key-reused");
    let refused = send(server.request(Method::POST, &path).body("{}")).await;
    refused.problem(422, "invalid-body");
    let model = server.get("/v1/models/xor").await.expect(200);
    assert_eq!(model["latest_version"], 2);
    // The key stands for its version even when the job, and its checkpoints, are gone.
    server.delete(&format!("/v1/jobs/{id}")).await.expect(204);
    assert_eq!(publish().await.bytes, again.bytes);
    server.stop().await;
}
