//! XOR by HTTP alone: declared, trained, inspected, predicted, and the same after a restart.

use serde_json::{Value, json};

use crate::server::{TestServer, number, text, xor_job, xor_model};

/// The network that `src/nn/proofs/by_hand.rs` works through with pencil and paper.
fn by_hand() -> Value {
    let mut model = xor_model("hand");
    model["parameters"] = json!([
        {"weights": [[0.1, 0.2], [0.3, -0.1], [-0.2, 0.4]], "biases": [0.1, -0.3, 0.2]},
        {"weights": [[0.5, -0.4, 0.3]], "biases": [-0.1]},
    ]);
    model
}

/// Numbers of nested lists, in order.
fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(flat).collect(),
        value => vec![number(value)],
    }
}

#[track_caller]
fn near(actual: &Value, expected: &[f64]) {
    let actual = flat(actual);
    assert_eq!(actual.len(), expected.len(), "{actual:?}");
    for (actual, expected) in actual.iter().zip(expected) {
        assert!(
            (actual - expected).abs() < 5e-11,
            "{actual} instead of {expected}"
        );
    }
}

#[tokio::test]
async fn the_gradients_of_the_first_step_are_those_worked_by_hand() {
    let server = TestServer::start().await;
    server.post("/v1/models", by_hand()).await.expect(201);
    let rows = json!({"inputs": [[1, 0.5]], "targets": [[1]]});
    let answer = server.post("/v1/models/hand/gradients", rows).await;
    let seen = answer.expect(200);

    // The arithmetic is written out in src/nn/proofs/by_hand.rs.
    assert_eq!(
        (&seen["version"], &seen["dtype"]),
        (&json!(1), &json!("float64"))
    );
    near(&seen["loss"], &[0.106_162_828_36]);
    let [hidden, last] = [&seen["layers"][0], &seen["layers"][1]];
    near(&hidden["weighted_inputs"], &[0.3, -0.05, 0.2]);
    near(
        &hidden["activations"],
        &[0.574_442_516_81, 0.487_502_603_52, 0.549_833_997_31],
    );
    near(&last["weighted_inputs"], &[0.157_170_416_19]);
    near(&last["activations"], &[0.539_211_917_77]);
    near(&last["deltas"], &[-0.114_488_524_56]);
    let deltas = [-0.013_993_835_71, 0.011_441_699_90, -0.008_501_342_16];
    near(&hidden["deltas"], &deltas);
    near(&hidden["bias_gradient"], &deltas);
    near(
        &last["weight_gradient"],
        &[-0.065_767_076_19, -0.055_813_453_79, -0.062_949_683_10],
    );
    // ∂C/∂w¹ = δ¹ xᵀ with x = (1, 0.5)
    let outer: Vec<f64> = deltas
        .iter()
        .flat_map(|delta| [*delta, 0.5 * delta])
        .collect();
    near(&hidden["weight_gradient"], &outer);
    // ∂C/∂x = w¹ᵀ δ¹: 0.1 · −0.01399383571 + 0.3 · 0.01144169990 − 0.2 · −0.00850134216 = 0.00373339483
    //                 0.2 · −0.01399383571 − 0.1 · 0.01144169990 + 0.4 · −0.00850134216 = −0.00734347400
    near(
        &seen["input_gradient"],
        &[0.003_733_394_831, -0.007_343_473_996],
    );

    // One epoch of one full batch is one step p ← p − η ∂C/∂p, here with η = 2.
    let job = json!({
        "model": "hand", "data": {"inputs": [[1, 0.5]], "targets": [[1]]}, "epochs": 1, "batch_size": "full",
        "optimizer": {"type": "gradient_descent", "learning_rate": 2.0},
    });
    let job = server.train(job).await;
    let loss = &server.losses(&text(&job["id"])).await[0];
    near(&loss["train"]["loss"], &[0.106_162_828_36]);
    let stepped = server.get("/v1/models/hand/versions/2/parameters").await;
    let stepped = stepped.expect(200);
    near(
        &stepped["parameters"][1]["biases"],
        &[-0.1 + 2.0 * 0.114_488_524_56],
    );
    near(
        &stepped["parameters"][0]["biases"],
        &[
            0.1 + 2.0 * 0.013_993_835_71,
            -0.3 - 2.0 * 0.011_441_699_90,
            0.2 + 2.0 * 0.008_501_342_16,
        ],
    );
    server.stop().await;
}

#[tokio::test]
async fn xor_is_learned_and_answers_the_same_bytes_after_a_restart() {
    let server = TestServer::start().await;
    let model = server
        .post("/v1/models", xor_model("xor"))
        .await
        .expect(201);
    assert_eq!(
        (
            &model["parameter_count"],
            &model["latest_version"],
            &model["aliases"]
        ),
        (&json!(13), &json!(1), &json!({}))
    );
    let job = server.train(xor_job("xor", json!({"epochs": 2000}))).await;
    let id = text(&job["id"]);
    assert_eq!(
        (&job["base_version"], &job["version"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(
        (&job["progress"]["epoch"], &job["progress"]["fraction"]),
        (&json!(2000), &json!(1.0))
    );

    let losses = server.losses(&id).await;
    assert_eq!(losses.len(), 2000, "a row for each epoch");
    let loss = |row: &Value| number(&row["train"]["loss"]);
    let (first, last) = (loss(&losses[0]), loss(&losses[1999]));
    assert!(first > 0.1 && last < 0.005, "{first} … {last}");

    let question = json!({"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]]});
    let answer = server
        .post("/v1/models/xor/predict", question.clone())
        .await;
    let outputs = flat(&answer.json()["outputs"]);
    let bits: Vec<bool> = outputs.iter().map(|output| *output > 0.5).collect();
    assert_eq!(bits, [false, true, true, false], "{outputs:?}");

    let checked = server.post(
        "/v1/models/xor/gradient-check",
        json!({"inputs": [[0, 1], [1, 1]], "targets": [[1], [0]]}),
    );
    let checked = checked.await.expect(200);
    assert_eq!(
        (&checked["passed"], &checked["checked"]),
        (&json!(true), &json!(13)),
        "{checked}"
    );

    let (parameters, shown) = (
        server.parameters("xor", "latest").await,
        server.get(&format!("/v1/jobs/{id}")).await,
    );
    let server = server.restart().await;
    let again = server.post("/v1/models/xor/predict", question).await;
    assert_eq!(again.bytes, answer.bytes);
    assert_eq!(server.parameters("xor", "latest").await, parameters);
    assert_eq!(
        server.get(&format!("/v1/jobs/{id}")).await.bytes,
        shown.bytes
    );
    assert_eq!(server.losses(&id).await, losses);
    server.stop().await;
}
