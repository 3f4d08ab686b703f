//! Extreme rows, targets and parameters: a job ends with finite numbers, or as `diverged` and says where.

use serde_json::{Value, json};

use crate::contract::Contract;
use crate::server::{TestServer, number, text};

/// Rows that go to the ends of what numbers can be, each of two inputs.
fn inputs() -> [(&'static str, Value); 6] {
    [
        (
            "large",
            json!([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [0, 0]]),
        ),
        (
            "huge",
            json!([[1e38, -1e38], [-1e38, 1e38], [1e38, 1e38], [0, 0]]),
        ),
        (
            "denormal",
            json!([[1e-40, -1e-40], [1e-45, 0], [-1e-42, 1e-42], [0, 0]]),
        ),
        ("equal", json!([[3, 3], [3, 3], [3, 3], [3, 3]])),
        ("zero", json!([[0, 0], [0, 0], [0, 0], [0, 0]])),
        (
            "mixed",
            json!([[1e38, 1e-45], [1e-45, 1e38], [1, -1], [-1e20, 1e-20]]),
        ),
    ]
}

/// Targets that leave nothing to tell apart, and some that do.
fn targets() -> [(&'static str, Value); 3] {
    [
        ("one class", json!([[1, 0], [1, 0], [1, 0], [1, 0]])),
        ("nothing", json!([[0, 0], [0, 0], [0, 0], [0, 0]])),
        ("classes", json!([[1, 0], [0, 1], [1, 0], [0, 1]])),
    ]
}

fn model(name: &str, loss: &Value, (dtype, first): (&str, &str), normalization: &Value) -> Value {
    let last = match loss.as_str() {
        Some("cross_entropy" | "focal") => "softmax",
        Some("poisson") => "softplus",
        _ => "identity",
    };
    json!({"name": name, "inputs": 2, "seed": 1, "dtype": dtype, "loss": loss, "initializer": first, "layers": [
        {"units": 3, "activation": "relu", "normalization": normalization},
        {"units": 2, "activation": last},
    ]})
}

/// Whether a number stands wherever one belongs: JSON has no other way to say NaN than null.
fn is_whole(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
        Value::Array(values) => values.iter().all(is_whole),
        Value::Object(fields) => fields.values().all(is_whole),
        Value::Bool(_) | Value::String(_) => true,
    }
}

/// Runs a job, and says whether it succeeded.
async fn ends_well(server: &TestServer, model: &str, job: Value, what: &str) -> bool {
    let id = server.submit(job).await;
    let ended = server.ended(&id).await;
    if ended["status"] == "failed" {
        let error = &ended["error"];
        assert_eq!(error["code"], "diverged", "{what}: {ended}");
        assert!(number(&error["epoch"]) >= 1.0, "{what}: {error}");
        assert!(number(&error["step"]) >= 1.0, "{what}: {error}");
        assert!(text(&error["detail"]).contains("epoch"), "{what}: {error}");
        return false;
    }
    assert_eq!(ended["status"], "succeeded", "{what}: {ended}");
    for row in server.losses(&id).await {
        assert!(is_whole(&row["train"]), "{what}: {row}");
    }
    let outputs = server.predict(model, json!([[0, 0]])).await;
    assert!(is_whole(&outputs), "{what}: {outputs}");
    true
}

#[tokio::test]
async fn a_job_on_extreme_rows_ends_with_numbers_or_says_where_it_diverged() {
    let server = TestServer::start().await;
    let contract = Contract::read();
    let losses = contract.at("/components/schemas/LossName/enum");
    let (mut well, mut diverged) = (0, 0);
    let kinds = [
        (
            "float32",
            "he_normal",
            json!(null),
            json!({"type": "gradient_descent", "learning_rate": 0.1}),
        ),
        ("float64", "he_normal", json!("batch"), json!("adam")),
        (
            "float32",
            "zeros",
            json!("layer"),
            json!({"type": "rmsprop", "centered": true}),
        ),
        (
            "float32",
            "he_normal",
            json!("batch"),
            json!({"type": "gradient_descent", "learning_rate": 0.01}),
        ),
    ];
    for loss in losses.as_array().expect("words") {
        for (dtype, first, normalization, optimizer) in &kinds {
            for (rows, inputs) in inputs() {
                for (answers, targets) in targets() {
                    let what = format!("{loss} {dtype} {first} {normalization} {rows} {answers}");
                    server
                        .create(model("extreme", loss, (dtype, first), normalization))
                        .await;
                    let job = json!({"model": "extreme", "epochs": 5, "batch_size": 4, "optimizer": optimizer,
                        "data": {"inputs": inputs, "targets": targets}, "metrics": ["loss", "mean_absolute_error"]});
                    if ends_well(&server, "extreme", job, &what).await {
                        well += 1;
                    } else {
                        diverged += 1;
                    }
                    server.delete("/v1/models/extreme").await.expect(204);
                }
            }
        }
    }
    assert!(well > 4 * diverged && diverged > 0, "{well} and {diverged}");
    server.stop().await;
}

#[tokio::test]
async fn scaled_rows_at_the_ends_of_numbers_train_as_others_do() {
    let server = TestServer::start().await;
    for (rows, inputs) in inputs() {
        for preprocess in ["standardize", "minmax"] {
            let mut scaled = model(
                "scaled",
                &json!("cross_entropy"),
                ("float32", "he_normal"),
                &json!(null),
            );
            scaled["preprocess"] = json!(preprocess);
            server.create(scaled).await;
            let data = json!({"inputs": inputs, "targets": [[1, 0], [0, 1], [1, 0], [0, 1]]});
            let job = json!({"model": "scaled", "epochs": 20, "data": data});
            let what = format!("{preprocess} {rows}");
            assert!(ends_well(&server, "scaled", job, &what).await, "{what}");
            if rows == "denormal" {
                // A row far outside of those that were trained on.
                let path = "/v1/models/scaled/predict";
                let far = server.post(path, json!({"inputs": [[0.5, 0]]})).await;
                let problem = far.problem(422, "invalid-spec");
                let said = text(&problem["errors"][0]["detail"]);
                assert!(said.contains("which the preprocessing makes"), "{said}");
            }
            server.delete("/v1/models/scaled").await.expect(204);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn figures_that_one_class_or_a_constant_leaves_undefined_are_left_out() {
    let server = TestServer::start().await;
    server
        .create(model(
            "one",
            &json!("cross_entropy"),
            ("float64", "he_normal"),
            &json!(null),
        ))
        .await;
    let rows = json!([[1, 2], [2, 1], [3, 3]]);
    let all = json!([
        "accuracy",
        "precision",
        "recall",
        "f1",
        "roc_auc",
        "log_loss",
        "brier",
        "r2"
    ]);
    let data = json!({"inputs": rows, "targets": [[1, 0], [1, 0], [1, 0]]});
    let ended = server
        .train(json!({"model": "one", "epochs": 50, "data": data, "metrics": all}))
        .await;
    let train = &ended["metrics"]["train"];
    for (metric, is_there) in [
        ("accuracy", true),
        ("precision", true),
        ("recall", true),
        ("f1", true),
        ("log_loss", true),
        ("brier", true),
        ("roc_auc", false),
        ("r2", false),
    ] {
        assert_eq!(train[metric].is_number(), is_there, "{metric}: {train}");
    }
    assert_eq!(train["accuracy"], 1.0);
    server
        .create(model(
            "constant",
            &json!("quadratic"),
            ("float64", "he_normal"),
            &json!(null),
        ))
        .await;
    let data = json!({"inputs": rows, "targets": [[5, 5], [5, 5], [5, 5]]});
    let job = json!({"model": "constant", "epochs": 500, "data": data, "metrics": ["r2", "mean_absolute_error"],
        "optimizer": "adam"});
    let ended = server.train(job).await;
    let train = &ended["metrics"]["train"];
    assert!(
        train["r2"].is_null() && train["mean_absolute_error"].is_number(),
        "{train}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_table_of_one_class_is_refused_or_learned_by_one_unit() {
    let server = TestServer::start().await;
    server
        .upload("same", "x,y,c\n1,2,a\n2,1,a\n3,3,a\n")
        .await
        .expect(201);
    server
        .create(model(
            "two",
            &json!("cross_entropy"),
            ("float32", "he_normal"),
            &json!(null),
        ))
        .await;
    let job = |model: &str| json!({"model": model, "data": {"dataset": "same", "target": "c"}, "epochs": 3});
    let refused = server
        .post("/v1/jobs", job("two"))
        .await
        .problem(422, "invalid-spec");
    let said = text(&refused["errors"][0]["detail"]);
    assert!(said.contains("has 1 classes (a)"), "{said}");
    let one = json!({"name": "one", "inputs": 2, "loss": "cross_entropy", "layers": [{"units": 1, "activation": "softmax"}]});
    server.create(one).await;
    let ended = server.train(job("one")).await;
    assert!(number(&ended["metrics"]["train"]["loss"]).abs() < 1e-6);
    let answer = server
        .post(
            "/v1/models/one/predict",
            json!({"instances": [{"x": 1, "y": 1}]}),
        )
        .await;
    assert_eq!(answer.expect(200)["predictions"][0]["class"], "a");
    server.stop().await;
}

#[tokio::test]
async fn what_was_learned_of_extreme_rows_answers_the_same_after_a_restart() {
    let mut server = TestServer::start().await;
    let mut answers = Vec::new();
    let (mut names, mut diverged) = (Vec::new(), 0);
    for dtype in ["float32", "float64"] {
        for normalization in ["batch", "layer"] {
            for (rows, inputs) in inputs() {
                let name = format!("{dtype}-{normalization}-{rows}");
                let by = json!(normalization);
                server
                    .create(model(
                        &name,
                        &json!("cross_entropy"),
                        (dtype, "he_normal"),
                        &by,
                    ))
                    .await;
                let data = json!({"inputs": inputs, "targets": [[1, 0], [0, 1], [1, 0], [0, 1]]});
                let job = json!({"model": name, "epochs": 3, "data": data});
                diverged += u32::from(!ends_well(&server, &name, job, &name).await);
                answers.push(server.predict(&name, json!([[0.5, -0.5], [0, 0]])).await);
                names.push(name);
            }
        }
    }
    server = server.restart().await;
    for (name, before) in names.iter().zip(answers) {
        let after = server.predict(name, json!([[0.5, -0.5], [0, 0]])).await;
        assert_eq!(after, before, "{name}");
    }
    assert!(diverged > 0, "rows of 1e38 have a variance beyond float32");
    server.stop().await;
}

#[tokio::test]
async fn a_running_variance_beyond_the_dtype_ends_a_job_that_says_so() {
    let server = TestServer::start().await;
    let far = model(
        "far",
        &json!("quadratic"),
        ("float32", "he_normal"),
        &json!("batch"),
    );
    server.create(far).await;
    let data = json!({"inputs": [[1e20, -1e20], [-1e20, 1e20], [3e20, 1e20], [0, 0]],
        "targets": [[1, 0], [0, 1], [1, 0], [0, 1]]});
    let id = server
        .submit(json!({"model": "far", "epochs": 3, "data": data}))
        .await;
    let ended = server.ended(&id).await;
    assert_eq!(ended["error"]["code"], "diverged", "{ended}");
    let said = text(&ended["error"]["detail"]);
    assert!(said.contains("running mean or variance"), "{said}");
    server.stop().await;
}
