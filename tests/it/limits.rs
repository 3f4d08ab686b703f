//! What stands at a limit is accepted; `bad_*.rs` has what stands one beyond it.

use gradientd::config::Limits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bad_requests::low_limits;
use crate::server::{Answer, TestServer, send, xor_job, xor_model};

/// A model of one layer.
fn one_layer(name: &str, inputs: u64, units: u64) -> Value {
    json!({"name": name, "inputs": inputs, "layers": [{"units": units, "activation": "tanh", "initializer": "zeros"}]})
}

async fn post_text(server: &TestServer, path: &str, media_type: &str, body: String) -> Answer {
    let request = server.request(Method::POST, path);
    send(request.header("Content-Type", media_type).body(body)).await
}

#[tokio::test]
async fn models_at_their_limits_are_accepted() {
    let server = TestServer::start().await;
    let mut deep = one_layer("deep", 1, 1);
    deep["layers"] = json!(vec![json!({"units": 1, "activation": "tanh"}); 64]);
    let mut labelled = one_layer("labelled", 1, 1);
    let metadata = (0..64).map(|key| (format!("{key:512}"), json!("b".repeat(512))));
    labelled["metadata"] = Value::Object(metadata.collect());
    labelled["description"] = json!("a".repeat(4096));
    labelled["seed"] = json!(u64::MAX);
    let models = [
        one_layer(&"a".repeat(64), 1, 1),
        one_layer("0", 1, 1),
        one_layer("A.b_c-", 1, 1),
        one_layer("long", 100_000, 1),
        one_layer("wide", 1, 65_536),
        deep,
        labelled.clone(),
    ];
    for model in models {
        server.post("/v1/models", model).await.expect(201);
    }
    let shown = server.get("/v1/models/labelled").await.expect(200);
    for field in ["seed", "description", "metadata"] {
        assert_eq!(shown[field], labelled[field]);
    }
}

#[tokio::test]
async fn parameters_at_the_ends_of_float32_come_back_as_they_went_in() {
    let server = TestServer::start().await;
    let ends = json!([{"weights": [[f32::MAX, -f32::MAX], [f32::MIN_POSITIVE, -0.0]], "biases": [1e-45, 0.1]}]);
    let model = json!({"name": "ends", "inputs": 2, "layers": [{"units": 2, "activation": "identity"}], "parameters": ends});
    server.post("/v1/models", model).await.expect(201);
    let answer = server
        .get("/v1/models/ends/versions/1/parameters")
        .await
        .expect(200);
    let numbers = |values: &Value| -> Vec<f32> {
        values
            .as_array()
            .expect("a row")
            .iter()
            .map(|value| value.as_f64().expect("a number") as f32)
            .collect()
    };
    let layer = &answer["parameters"][0];
    assert_eq!(numbers(&layer["weights"][0]), [f32::MAX, -f32::MAX]);
    assert_eq!(numbers(&layer["weights"][1]), [f32::MIN_POSITIVE, 0.0]);
    assert_eq!(numbers(&layer["biases"]), [1e-45, 0.1]);
}

#[tokio::test]
async fn jobs_at_their_limits_are_accepted() {
    let limits = Limits {
        steps: 150_000,
        ..low_limits()
    };
    let server = TestServer::start_with(1, limits).await;
    server
        .post("/v1/models", xor_model("xor"))
        .await
        .expect(201);
    let rows = json!({"inputs": [[0, 0], [1, 1]], "targets": [[0], [1]]});
    let jobs = [
        json!({"epochs": 100_000, "data": rows}),
        json!({"epochs": 37_500, "batch_size": 1}), // 4 rows: 150,000 steps
        json!({"batch_size": 65_536}),
        json!({"optimizer": {"type": "gradient_descent", "learning_rate": 1_000_000}}),
        json!({"optimizer": {"type": "gradient_descent", "learning_rate": 5e-324}}),
        json!({"validation": {"fraction": 0.87}}), // rounds to 3 of 4 rows, and one is left
        json!({"validation": {"fraction": 1e-300}}),
        json!({"seed": u64::MAX, "from": {}, "metrics": ["accuracy"]}),
        json!({"priority": 100}),
        json!({"priority": -100}),
    ];
    for more in jobs {
        let id = server.submit(xor_job("xor", more)).await;
        server.ended(&id).await;
    }
    let normal = json!({"name": "normal", "inputs": 2, "layers": [
        {"units": 1, "activation": "sigmoid", "normalization": "batch"}]});
    server.create(normal).await;
    for batch in [json!(2), json!(20), json!("full")] {
        let data = json!({"inputs": vec![[0, 1]; 20], "targets": vec![[1]; 20]});
        let id = server
            .submit(xor_job(
                "normal",
                json!({"data": data, "batch_size": batch, "epochs": 2}),
            ))
            .await;
        assert_eq!(server.ended(&id).await["status"], "succeeded");
    }
    for query in [
        "limit=1",
        "limit=100",
        "order=asc",
        "order=desc",
        "",
        "status=failed",
    ] {
        server.get(&format!("/v1/jobs?{query}")).await.expect(200);
    }
}

#[tokio::test]
async fn requests_of_a_model_at_their_limits_are_accepted() {
    let limits = low_limits();
    let server = TestServer::start_with(1, limits.clone()).await;
    server
        .post("/v1/models", xor_model("xor"))
        .await
        .expect(201);
    let path = "/v1/models/xor/predict";
    let ten = json!({"inputs": vec![[0, 1]; limits.predict_rows as usize]});
    server.post(path, ten).await.expect(200);
    for (field, value) in [
        ("epsilon", 1e-9),
        ("epsilon", 0.01),
        ("sample", 1.0),
        ("sample", 100_000.0),
    ] {
        let value = if field == "sample" {
            json!(value as u64)
        } else {
            json!(value)
        };
        let body = json!({"inputs": [[0, 1]], "targets": [[1]], field: value});
        server
            .post("/v1/models/xor/gradient-check", body)
            .await
            .expect(200);
    }
    let padded = format!(
        "{:limit$}",
        r#"{"inputs":[[0,1]]}"#,
        limit = limits.body_predict_bytes
    );
    for media_type in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
    ] {
        post_text(&server, path, media_type, padded.clone())
            .await
            .expect(200);
    }
    post_text(&server, path, "application/json", padded + " ")
        .await
        .problem(413, "body-too-large");
}

#[tokio::test]
async fn tables_at_their_limits_are_accepted() {
    let limits = low_limits();
    let server = TestServer::start_with(1, limits.clone()).await;
    let words: Vec<_> = (0..limits.dataset_categories)
        .map(|word| format!("w{word}"))
        .collect();
    let mut long = format!("a\n{}\n", "1\n".repeat(10));
    long.push_str(&"\n".repeat(limits.body_dataset_bytes as usize - long.len()));
    let tables = [
        ("columns", "a,b,c,d,e,f,g,h\n1,2,3,4,5,6,7,8\n".to_owned()),
        ("cells", format!("a\n{}", "1\n".repeat(1000))),
        ("cell", format!("a\n{}\n", "x".repeat(100))),
        ("categories", format!("a\n{}\n", words.join("\n"))),
        ("bytes", long),
    ];
    for (name, csv) in tables {
        server.upload(name, csv).await.expect(201);
    }
}
