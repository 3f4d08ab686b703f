//! A job that says next to nothing: every default is filled in and shown.

use serde_json::{Value, json};

use crate::jobs::with_models;
use crate::server::{text, xor_rows};

#[tokio::test]
async fn every_default_is_filled_in() {
    let server = with_models(&["xor"]).await;
    let job = server
        .train(json!({"model": "xor", "data": xor_rows(4)}))
        .await;
    let mut spec = job["spec"].clone();
    assert_eq!(text(&spec["data"]["digest"].take()).len(), 64);
    let expected = json!({
        "model": "xor", "from": {"version": 1}, "data": {"rows": 4, "inputs": 2, "targets": 1, "weighted": false, "digest": null},
        "validation": null, "layers": [], "early_stopping": null, "target_metric": null, "max_seconds": null, "schedule": "constant", "class_weight": null, "warmup_epochs": 0.0,
        "optimizer": {"type": "gradient_descent", "learning_rate": 0.1, "momentum": 0.0, "nesterov": false},
        "regularization": {"l1": 0.0, "l2": 0.0, "max_norm": null, "clip_value": null, "clip_norm": null,
                           "dropout": 0.0, "input_dropout": 0.0, "input_noise": 0.0},
        "epochs": 10, "batch_size": 4, "shuffle": true, "seed": 0, "metrics": ["loss"], "refit": false,
        "train_rows": 4, "targets": {"kind": "values", "names": null},
    });
    assert_eq!(spec, expected);
    assert_eq!(job["priority"], 0);
    let batch = async |more: Value| {
        let mut job = json!({"model": "xor", "data": xor_rows(40), "epochs": 1});
        job.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let job = server.train(job).await;
        let steps = server.losses(&text(&job["id"])).await[0]["step"].take();
        (job["spec"]["batch_size"].clone(), steps)
    };
    // 40 rows in batches of 32 and 8; of 7, five times and a last one of 5; at once; never more than there are.
    assert_eq!(batch(json!({})).await, (json!(32), json!(2)));
    assert_eq!(batch(json!({"batch_size": 7})).await, (json!(7), json!(6)));
    assert_eq!(
        batch(json!({"batch_size": "full"})).await,
        (json!("full"), json!(1))
    );
    assert_eq!(batch(json!({"batch_size": 1000})).await.1, json!(1));
    server.stop().await;
}
