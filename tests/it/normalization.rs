//! Normalized networks over HTTP: declared, trained, shown, inspected, kept over a restart and made again from their numbers.

use serde_json::{Value, json};

use crate::server::{TestServer, number};

fn model(name: &str, normalization: &Value) -> Value {
    json!({"name": name, "inputs": 4, "seed": 3, "dtype": "float64", "loss": "cross_entropy", "layers": [
        {"units": 12, "activation": "relu", "normalization": normalization},
        {"units": 8, "activation": "tanh", "normalization": normalization},
        {"units": 3, "activation": "softmax"},
    ]})
}

fn job(model: &str) -> Value {
    json!({"model": model, "data": {"dataset": "iris", "target": "species"}, "seed": 1, "epochs": 40,
        "validation": {"fraction": 0.2, "stratified": true},
        "optimizer": {"type": "adam", "learning_rate": 0.01}})
}

fn rows() -> Value {
    json!([
        [5.1, 3.5, 1.4, 0.2],
        [6.0, 2.9, 4.5, 1.5],
        [6.9, 3.1, 5.4, 2.1]
    ])
}

#[tokio::test]
async fn normalized_networks_learn_raw_flowers_and_answer_the_same_after_a_restart() {
    let mut server = TestServer::start().await;
    let csv = std::fs::read("tests/fixtures/tables/iris.csv").expect("a table");
    server.upload("iris", csv).await.expect(201);
    for name in ["batch", "layer"] {
        let created = server.create(model(name, &json!(name))).await;
        let shown = &created["layers"][0]["normalization"];
        assert_eq!(shown["type"], name);
        assert_eq!(shown["epsilon"], 1e-5);
        // 4·12 + 12 + 12, 12·8 + 8 + 8, 8·3 + 3.
        assert_eq!(created["parameter_count"], 72 + 112 + 27);
        let ended = server.train(job(name)).await;
        let accuracy = number(&ended["metrics"]["validation"]["accuracy"]);
        assert!(accuracy >= 0.9, "{name}: {accuracy}");
        let before = server.predict(name, rows()).await;
        server = server.restart().await;
        assert_eq!(server.predict(name, rows()).await, before);
        let alone = json!([rows()[1]]);
        let alone = server.predict(name, alone).await;
        assert_eq!(alone[0], before[1]);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_numbers_of_a_normalized_model_make_it_again() {
    let server = TestServer::start().await;
    let csv = std::fs::read("tests/fixtures/tables/iris.csv").expect("a table");
    server.upload("iris", csv).await.expect(201);
    for name in ["batch", "layer"] {
        server.create(model(name, &json!(name))).await;
        server.train(job(name)).await;
        let path = format!("/v1/models/{name}/versions/latest/parameters");
        let shown = server.get(&path).await.expect(200);
        let first = shown["parameters"][0].as_object().expect("a layer");
        let expected = if name == "batch" {
            vec![
                "biases",
                "running_mean",
                "running_variance",
                "scales",
                "weights",
            ]
        } else {
            vec!["biases", "scales", "weights"]
        };
        let mut names: Vec<_> = first.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
        assert_ne!(first["scales"], json!(vec![1.0; 12]), "they are trained");
        let mut copy = model("copy", &json!(name));
        copy["parameters"] = shown["parameters"].clone();
        server.create(copy).await;
        let (made, original) = (
            server.predict("copy", rows()).await,
            server.predict(name, rows()).await,
        );
        assert_eq!(made, original);
        let tensors = server.parameters(name, "latest").await;
        let text = String::from_utf8_lossy(&tensors);
        assert!(text.contains("layers.1.scales"));
        assert_eq!(text.contains("layers.2.running_variance"), name == "batch");
        server.delete("/v1/models/copy").await.expect(204);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_gradient_of_the_scales_is_shown_and_checked() {
    let server = TestServer::start().await;
    for name in ["batch", "layer"] {
        server.create(model(name, &json!(name))).await;
        let samples = json!({"inputs": rows(), "targets": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]});
        let path = format!("/v1/models/{name}/gradients");
        let seen = server.post(&path, samples.clone()).await.expect(200);
        let lengths = [12, 8].map(Some).into_iter().chain([None]);
        for (layer, length) in lengths.enumerate() {
            let scales = seen["layers"][layer]["scale_gradient"].as_array();
            assert_eq!(scales.map(Vec::len), length);
        }
        let mut few = samples.clone();
        few["include"] = json!(["scale_gradient"]);
        let few = server.post(&path, few).await.expect(200);
        assert!(few["layers"][0]["bias_gradient"].is_null());
        let mut all = samples;
        all["sample"] = json!(211);
        let path = format!("/v1/models/{name}/gradient-check");
        let check = server.post(&path, all).await.expect(200);
        assert_eq!(check["passed"], true, "{check}");
        let counted = number(&check["checked"]) + number(&check["skipped"]);
        assert_eq!(counted as u64, 211);
    }
    server.stop().await;
}

#[tokio::test]
async fn lbfgs_trains_the_scales_of_layer_normalization() {
    let server = TestServer::start().await;
    let csv = std::fs::read("tests/fixtures/tables/iris.csv").expect("a table");
    server.upload("iris", csv).await.expect(201);
    server.create(model("m", &json!("layer"))).await;
    let job = json!({"model": "m", "data": {"dataset": "iris", "target": "species"}, "epochs": 60,
        "optimizer": "lbfgs", "regularization": {"l2": 0.0001}});
    let ended = server.train(job).await;
    assert!(number(&ended["metrics"]["train"]["loss"]) < 0.1, "{ended}");
    let path = "/v1/models/m/versions/latest/parameters";
    let shown = server.get(path).await.expect(200);
    assert_ne!(shown["parameters"][0]["scales"], json!(vec![1.0; 12]));
    server.stop().await;
}

#[tokio::test]
async fn a_frozen_layer_keeps_its_running_numbers() {
    let server = TestServer::start().await;
    let csv = std::fs::read("tests/fixtures/tables/iris.csv").expect("a table");
    server.upload("iris", csv).await.expect(201);
    server.create(model("m", &json!("batch"))).await;
    let mut frozen = job("m");
    frozen["layers"] = json!([{"frozen": true}, {}, {}]);
    server.train(frozen).await;
    let of = async |version: u64| {
        let path = format!("/v1/models/m/versions/{version}/parameters");
        server.get(&path).await.expect(200)["parameters"].clone()
    };
    let (before, after) = (of(1).await, of(2).await);
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1]["running_mean"], after[1]["running_mean"]);
    server.stop().await;
}
