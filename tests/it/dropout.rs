//! Dropout and noise over HTTP: shown as given, drawn alike by the same seed, and met by training steps alone.

use serde_json::{Value, json};

use crate::jobs::with_models;
use crate::server::{text, xor_job};

#[tokio::test]
async fn dropout_and_noise_are_shown_as_given_and_repeated_by_the_seed() {
    let server = with_models(&["xor"]).await;
    // From the same parameters each time; what differs between trainings is what is left to chance.
    let run = async |parts: &Value, seed: u64| {
        let more = json!({"regularization": parts, "seed": seed, "from": {"version": 1},
                          "validation": {"inputs": [[0.5, 0.5]], "targets": [[1]]}});
        let job = server.train(xor_job("xor", more)).await;
        let mut losses = server.losses(&text(&job["id"])).await;
        for (name, given) in parts.as_object().expect("an object") {
            assert_eq!(&job["spec"]["regularization"][name], given);
        }
        let version = job["version"].to_string();
        let parameters = server.parameters("xor", &version).await;
        (parameters, losses[0]["train"]["loss"].take())
    };
    let (_, plain) = run(&json!({}), 1).await;
    for parts in [
        json!({"dropout": 0.5}),
        json!({"dropout": [0.5]}),
        json!({"input_dropout": 0.25}),
        json!({"input_noise": 0.1}),
        json!({"dropout": [0.25], "input_dropout": 0.25, "input_noise": 0.1}),
    ] {
        let once = run(&parts, 1).await;
        assert_ne!(once.1, plain, "{parts}");
        assert_eq!(run(&parts, 1).await, once, "{parts}");
        assert_ne!(run(&parts, 2).await.0, once.0, "{parts}");
    }
    // Of the same version, predictions are the same however often they are asked for.
    let rows = json!([[0, 1], [1, 1]]);
    let first = server.predict("xor", rows.clone()).await;
    assert_eq!(server.predict("xor", rows).await, first);
    server.stop().await;
}
