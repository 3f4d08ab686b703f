//! A fault of the program within a training step: its job fails, and nothing else notices.

use serde_json::json;

use crate::server::{TestServer, long_job, text, xor_job, xor_model};

#[tokio::test]
async fn a_panic_within_a_step_fails_its_job_and_the_next_job_runs() {
    let server = TestServer::start().await;
    for name in ["first", "broken", "next"] {
        server.create(xor_model(name)).await;
    }
    let first = server.submit(long_job("first")).await;
    server.running(&first).await;
    let broken = server.submit(xor_job("broken", json!({}))).await;
    let next = server.submit(xor_job("next", json!({}))).await;
    // No spec that was checked has such a batch: a step divides its rows by it.
    let change = "UPDATE jobs SET spec = json_set(spec, '$.batch_size', 0) WHERE model = 'broken'";
    let server = server.restart_changed(&[change]).await;
    server.cancel(&first).await;
    let failed = server.ended(&broken).await;
    assert_eq!(failed["status"], "failed");
    assert_eq!(
        failed["error"],
        json!({
            "code": "internal", "detail": "training stopped by a fault of this program",
            "epoch": null, "step": null,
        })
    );
    let succeeded = server.ended(&next).await;
    assert_eq!(succeeded["status"], "succeeded");
    assert_eq!(text(&succeeded["model"]), "next");
    let inputs = json!({"inputs": [[0, 1]]});
    for model in ["first", "broken", "next"] {
        let path = format!("/v1/models/{model}/predict");
        server.post(&path, inputs.clone()).await.expect(200);
    }
    server.stop().await;
}
