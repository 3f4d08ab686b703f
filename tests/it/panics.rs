//! A fault of the program within a training step: its job fails, and nothing else notices.

use serde_json::json;

use crate::server::{TestServer, text};

#[tokio::test]
async fn a_panic_within_a_step_fails_its_job_and_the_next_job_runs() {
    let server = TestServer::start().await;
    let table = "x,y\n1,a\n2,b\n3,c\n4,a\n";
    server.upload("table", table).await.expect(201);
    for name in ["first", "broken", "next"] {
        let hidden = json!([{"units": 2, "activation": "tanh"}]);
        let model = json!({"name": name, "dataset": "table", "target": "y", "hidden": hidden});
        server.create(model).await;
    }
    let job = |model: &str, epochs: u64| json!({"model": model, "epochs": epochs, "batch_size": 1});
    let first = server.submit(job("first", 100_000)).await;
    server.running(&first).await;
    let broken = server.submit(job("broken", 3)).await;
    let next = server.submit(job("next", 3)).await;
    // No spec that was checked has more classes than the model has units: the loss of a row of the last has no output to look at.
    let change = r#"UPDATE jobs SET spec = json_set(spec, '$.targets.classes', json('["z","a","b","c"]')) WHERE model = 'broken'"#;
    let server = server.restart_changed(&[change]).await;
    server.cancel(&first).await;
    let failed = server.ended(&broken).await;
    assert_eq!(failed["status"], "failed");
    let detail = "training stopped by a fault of this program";
    assert_eq!(
        failed["error"],
        json!({"code": "internal", "detail": detail})
    );
    let succeeded = server.ended(&next).await;
    assert_eq!(succeeded["status"], "succeeded");
    assert_eq!(text(&succeeded["model"]), "next");
    let instances = json!({"instances": [{"x": 1}]});
    let predicted = server.post("/v1/models/next/predict", instances).await;
    predicted.expect(200);
    server.stop().await;
}
