//! Columns whose categories are embedded, over HTTP: declared, trained, asked by words, inspected, and kept over a restart.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::server::{TestServer, number, pointers};

const SKUS: usize = 50;

/// What a row of a sku adds to its units: nothing that a number of the row tells.
fn effect(sku: usize) -> f64 {
    (sku * 37 % 50) as f64 / 5.0
}

fn sku(place: usize) -> String {
    format!("S{place:02}")
}

/// 400 rows: units = effect of the sku + 2 · price.
fn sales() -> String {
    let mut csv = "sku,price,units\n".to_owned();
    for row in 0..8 * SKUS {
        let (place, price) = (row % SKUS, (row * 13 % 29) as f64 / 10.0);
        let units = effect(place) + 2.0 * price;
        writeln!(csv, "{},{price},{units}", sku(place)).expect("a string");
    }
    csv
}

fn model(name: &str, more: Value) -> Value {
    let mut column = json!({"name": "sku", "encode": {"type": "embedding", "dimensions": 4}});
    if let (Some(column), Value::Object(more)) = (column.as_object_mut(), more) {
        column.extend(more);
    }
    json!({"name": name, "dataset": "sales", "target": "units", "seed": 3, "columns": [column],
        "hidden": [{"units": 16, "activation": "tanh"}]})
}

fn job(model: &str, epochs: u64) -> Value {
    json!({"model": model, "epochs": epochs, "seed": 1, "metrics": ["r2"], "validation": {"fraction": 0.2},
        "optimizer": {"type": "adam", "learning_rate": 0.01}})
}

async fn ask(server: &TestServer, model: &str, rows: &[Value]) -> Value {
    let path = format!("/v1/models/{model}/predict");
    server
        .post(&path, json!({"instances": rows}))
        .await
        .expect(200)
}

#[tokio::test]
async fn what_a_word_adds_is_learned_and_answered_the_same_after_a_restart() {
    let server = TestServer::start().await;
    server.upload("sales", sales()).await.expect(201);
    let created = server.create(model("m", json!({}))).await;
    let words: Vec<_> = (0..SKUS).map(sku).collect();
    let column = json!({"name": "sku", "kind": "categorical", "role": "feature", "impute": "none",
        "encode": {"type": "embedding", "dimensions": 4}, "unknown": "error", "categories": words});
    assert_eq!(created["columns"][0], column);
    assert_eq!(created["inputs"], 2, "the place of the sku and the price");
    // 50 vectors of 4; 16 · (4 + 1) + 16; 16 + 1.
    assert_eq!(created["parameter_count"], 200 + 96 + 17);

    let trained = server.train(job("m", 150)).await;
    let r2 = number(&trained["metrics"]["validation"]["r2"]);
    assert!(r2 > 0.99, "{trained}");
    let rows: Vec<_> = (0..SKUS)
        .map(|place| json!({"sku": sku(place), "price": 1.0}))
        .collect();
    let answer = ask(&server, "m", &rows).await;
    for place in 0..SKUS {
        let (got, expected) = (number(&answer["predictions"][place]), effect(place) + 2.0);
        assert!(
            (got - expected).abs() < 0.7,
            "{place}: {got} for {expected}"
        );
    }

    let restarted = server.restart().await;
    assert_eq!(ask(&restarted, "m", &rows).await, answer);
    let tested = restarted.get("/v1/models/m/versions/latest/selftest").await;
    let tested = tested.expect(200);
    assert_eq!(
        (&tested["passed"], &tested["rows"]),
        (&json!(true), &json!(8))
    );
}

#[tokio::test]
async fn an_unknown_word_is_refused_or_read_as_zeros() {
    let server = TestServer::start().await;
    server.upload("sales", sales()).await.expect(201);
    server.create(model("strict", json!({}))).await;
    server
        .create(model(
            "lenient",
            json!({"unknown": "zeros", "impute": "most_frequent", "indicator": true}),
        ))
        .await;
    for name in ["strict", "lenient"] {
        server.train(job(name, 2)).await;
    }
    let unknown = json!({"instances": [{"sku": "S01", "price": 1}, {"sku": "T01", "price": 1}]});
    let refused = server.post("/v1/models/strict/predict", unknown).await;
    let refused = refused.problem(422, "invalid-spec");
    assert_eq!(pointers(&refused), ["/instances/1/sku"]);
    let detail = "must be a category that the model knows, or \"unknown\":\"zeros\" must be declared, got \"T01\": ";
    let said = refused["errors"][0]["detail"].as_str().expect("a detail");
    assert!(said.starts_with(detail), "{said}");

    let rows = ["T01", "never seen", "S01"].map(|sku| json!({"sku": sku, "price": 1}));
    let answer = ask(&server, "lenient", &rows).await;
    let outputs = &answer["predictions"];
    assert_eq!(outputs[0], outputs[1]);
    assert_ne!(outputs[0], outputs[2]);
    let gap = ask(&server, "lenient", &[json!({"price": 1})]).await;
    assert_ne!(
        gap["predictions"][0], outputs[2],
        "the indicator says that it is missing"
    );
    // Nothing is learned of a word that is unknown: its row has no part in the gradient of the table.
    let body = json!({"instances": [rows[0]], "targets": [[5.0]], "include": ["weight_gradient", "statistics"]});
    let seen = server
        .post("/v1/models/lenient/gradients", body)
        .await
        .expect(200);
    assert_eq!(
        seen["embeddings"][0]["statistics"]["weight_gradient"]["norm"],
        0.0
    );
    assert_ne!(
        seen["layers"][0]["statistics"]["weight_gradient"]["norm"],
        0.0
    );
}

#[tokio::test]
async fn the_gradients_of_the_vectors_are_shown_checked_and_recorded() {
    let server = TestServer::start().await;
    server.upload("sales", sales()).await.expect(201);
    server.create(model("m", json!({}))).await;
    let id = server.submit(job("m", 2)).await;
    server.succeeded(&id).await;

    let body = json!({"instances": [{"sku": "S07", "price": 1.5}, {"sku": "S09", "price": 0}], "targets": [[9.0], [1.0]]});
    let seen = server
        .post("/v1/models/m/gradients", body.clone())
        .await
        .expect(200);
    let embedding = &seen["embeddings"][0];
    assert_eq!(
        (
            &embedding["column"],
            &embedding["categories"],
            &embedding["dimensions"]
        ),
        (&json!("sku"), &json!(50), &json!(4))
    );
    for (place, vector) in embedding["weight_gradient"]
        .as_array()
        .expect("rows")
        .iter()
        .enumerate()
    {
        let is_asked = [7, 9].contains(&place);
        assert_eq!(
            vector != &json!([0.0, 0.0, 0.0, 0.0]),
            is_asked,
            "{place} {vector}"
        );
    }
    let (by_input, first) = (
        &seen["input_gradient"],
        &seen["layers"][0]["weight_gradient"],
    );
    assert_eq!(
        by_input[0].as_array().map(Vec::len),
        Some(5),
        "a vector and a number"
    );
    assert_eq!(first[0].as_array().map(Vec::len), Some(5));
    // The only row of the sku: the mean of two rows is half of its own gradient.
    for dimension in 0..4 {
        let half = number(&by_input[0][dimension]) / 2.0;
        let mean = number(&embedding["weight_gradient"][7][dimension]);
        assert!((half - mean).abs() < 1e-12, "{half} {mean}");
    }

    let mut body = body;
    body["sample"] = json!(1000);
    let check = server
        .post("/v1/models/m/gradient-check", body)
        .await
        .expect(200);
    assert_eq!(check["passed"], true, "{check}");
    assert_eq!(check["checked"], 313);
    assert_eq!(check["embeddings"][0]["column"], "sku");
    assert_eq!(check["embeddings"][0]["checked"], 200);

    let path = |query: &str| format!("/v1/jobs/{id}/gradients{query}");
    let recorded = server.get(&path("")).await.expect(200);
    let embedding = &recorded["data"][0]["embeddings"][0];
    assert_eq!(embedding["column"], "sku");
    assert!(number(&embedding["weight_gradient"]["norm"]) > 0.0);
    assert!(number(&embedding["update_to_weight_ratio"]) > 0.0);
    assert_eq!(embedding["histograms"], Value::Null);
    let histograms = server.get(&path("?histogram=true")).await.expect(200);
    let of_weights = &histograms["data"][0]["embeddings"][0]["histograms"]["weights"];
    assert!(of_weights.is_object(), "{of_weights}");
    let of_layer = server.get(&path("?layer=1")).await.expect(200);
    assert_eq!(of_layer["data"][0]["embeddings"], Value::Null);
}

#[tokio::test]
async fn the_numbers_of_a_model_with_vectors_make_it_again() {
    let server = TestServer::start().await;
    server.upload("sales", sales()).await.expect(201);
    server.create(model("m", json!({}))).await;
    server.train(job("m", 2)).await;
    let path = "/v1/models/m/versions/latest/parameters";
    let shown = server.get(path).await.expect(200);
    assert_eq!(shown["embeddings"][0]["column"], "sku");
    let with = |embeddings: Value| {
        let mut copy = model("copy", json!({}));
        copy["parameters"] = shown["parameters"].clone();
        copy["embeddings"] = embeddings;
        copy
    };
    let refused = |body: Value| async {
        let answer = server.post("/v1/models", body).await;
        let problem = answer.problem(422, "invalid-spec");
        let error = &problem["errors"][0];
        let said = |name: &str| error[name].as_str().expect("a text").to_owned();
        (said("pointer"), said("detail"))
    };
    let mut without = with(json!([]));
    without
        .as_object_mut()
        .expect("a model")
        .remove("embeddings");
    let problems = [
        (
            without,
            "/embeddings",
            "must be given with parameters, for sku",
        ),
        (
            with(json!([{"column": "price", "weights": [[1]]}])),
            "/embeddings",
            "must have one entry for each column that is embedded, in this order: sku, got price",
        ),
        (
            with(json!([{"column": "sku", "weights": [[1, 2]]}])),
            "/embeddings/0/weights",
            "must be 50 rows (categories) of 4 numbers (dimensions), got 1 of 2",
        ),
        (
            with(json!([{"column": "sku", "weights": vec![[0.0, 1e39, 0.0, 0.0]; SKUS]}])),
            "/embeddings/0/weights/0/1",
            "must fit float32, within ±3.4028234663852886e38, got 1e39",
        ),
        (
            json!({"name": "copy", "inputs": 1, "layers": [{"units": 1, "activation": "tanh"}],
                "parameters": [{"weights": [[1]], "biases": [0]}], "embeddings": [{"column": "sku", "weights": [[1]]}]}),
            "/embeddings",
            "must be left out where no column is embedded, got one of sku",
        ),
        (
            json!({"name": "copy", "inputs": 1, "layers": [{"units": 1, "activation": "tanh"}],
                "embeddings": [{"column": "sku", "weights": [[1]]}]}),
            "/embeddings",
            "must be left out where no parameters are given: all are drawn",
        ),
    ];
    for (body, pointer, detail) in problems {
        assert_eq!(refused(body).await, (pointer.to_owned(), detail.to_owned()));
    }

    server.create(with(shown["embeddings"].clone())).await;
    let copied = server
        .get("/v1/models/copy/versions/1/parameters")
        .await
        .expect(200);
    for part in ["parameters", "embeddings"] {
        assert_eq!(copied[part], shown[part], "{part}");
    }
}

#[tokio::test]
async fn the_dimensions_go_by_the_categories_and_all_that_layer_1_reads_is_limited() {
    let server = TestServer::start().await;
    let columns = |encode: Value, categories: usize| {
        let words: Vec<_> = (0..categories).map(sku).collect();
        json!([{"name": "sku", "kind": "categorical", "categories": words, "encode": encode},
            {"name": "y", "kind": "numeric"}])
    };
    for (categories, dimensions) in [(1, 1), (5, 3), (99, 50), (400, 50)] {
        let name = format!("m{categories}");
        let columns = columns(json!("embedding"), categories);
        let created = server
            .create(json!({"name": name, "target": "y", "columns": columns}))
            .await;
        let expected = json!({"type": "embedding", "dimensions": dimensions});
        assert_eq!(created["columns"][0]["encode"], expected);
    }
    let many: Vec<_> = (0..98)
        .map(|place| {
            json!({"name": format!("c{place}"), "kind": "categorical", "categories": ["a", "b"],
            "encode": {"type": "embedding", "dimensions": 1024}})
        })
        .chain([json!({"name": "y", "kind": "numeric"})])
        .collect();
    let refused = server
        .post(
            "/v1/models",
            json!({"name": "wide", "target": "y", "columns": many}),
        )
        .await;
    let refused = refused.problem(422, "invalid-spec");
    assert_eq!(
        refused["errors"],
        json!([{"pointer": "/columns",
            "detail": "must have embeddings with which layer 1 reads at most 100000 numbers, got 100352"}])
    );
}
