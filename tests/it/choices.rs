//! Activations and initializers as they are declared, shown, trained and checked over HTTP.

use serde_json::{Value, json};

use crate::contract::Contract;
use crate::server::{TestServer, number, xor_job, xor_model};

#[tokio::test]
async fn every_activation_is_declared_shown_trained_and_checked() {
    let server = TestServer::start().await;
    let contract = Contract::read();
    let names = contract.at("/components/schemas/ActivationName/enum");
    for name in names.as_array().expect("words") {
        let mut model = xor_model("any");
        model["layers"] = json!([
            {"units": 3, "activation": name},
            {"units": 1, "activation": {"type": "leaky_relu", "slope": 0.2}},
        ]);
        let created = server.post("/v1/models", model).await.expect(201);
        let shown = &created["layers"][0]["activation"];
        assert!(shown == name || shown["type"] == *name, "{shown}");
        let last = json!({"type": "leaky_relu", "slope": 0.2});
        assert_eq!(created["layers"][1]["activation"], last);
        server
            .train(xor_job("any", json!({"epochs": 20, "optimizer": {"type": "gradient_descent", "learning_rate": 0.1}})))
            .await;
        let rows = json!({"inputs": [[0.3, 0.9], [-0.4, 0.2]], "targets": [[1], [0]]});
        let seen = server
            .post("/v1/models/any/gradients", rows.clone())
            .await
            .expect(200);
        assert_eq!(seen["layers"][0]["activation"], *shown);
        assert_eq!(seen["layers"][1]["activation"], last);
        let path = "/v1/models/any/gradient-check";
        let check = server.post(path, rows).await.expect(200);
        assert_eq!(check["passed"], true, "{name}: {check}");
        server.delete("/v1/models/any").await.expect(204);
    }
}

#[tokio::test]
async fn an_activation_has_the_parameters_it_was_given_and_the_others_by_default() {
    let server = TestServer::start().await;
    let said = [
        (json!("tanh"), json!("tanh")),
        (json!({"type": "tanh"}), json!("tanh")),
        (json!("elu"), json!({"type": "elu", "alpha": 1.0})),
        (
            json!({"type": "elu", "alpha": 2}),
            json!({"type": "elu", "alpha": 2.0}),
        ),
        (
            json!("gelu"),
            json!({"type": "gelu", "approximation": "none"}),
        ),
    ];
    let layers: Vec<Value> = said
        .iter()
        .map(|(given, _)| json!({"units": 2, "activation": given}))
        .collect();
    let mut model = xor_model("any");
    model["layers"] = json!(layers);
    server.post("/v1/models", model).await.expect(201);
    let model = server.get("/v1/models/any").await.expect(200);
    let layers = model["layers"].as_array().expect("layers");
    for (layer, (_, shown)) in layers.iter().zip(&said) {
        assert_eq!(layer["activation"], *shown);
    }
    let drawn: Vec<_> = layers.iter().map(|layer| &layer["initializer"]).collect();
    assert_eq!(
        drawn,
        [
            "glorot_uniform",
            "glorot_uniform",
            "he_uniform",
            "he_uniform",
            "he_uniform"
        ]
    );
}

#[tokio::test]
async fn every_initializer_draws_and_is_shown_with_its_parameters() {
    let server = TestServer::start().await;
    let contract = Contract::read();
    let names = contract.at("/components/schemas/InitializerName/enum");
    for name in names.as_array().expect("words") {
        let mut model = xor_model("any");
        model["initializer"] = name.clone();
        model["layers"][0]["initializer"] = json!({"type": "uniform", "low": 0.5, "high": 1});
        let created = server.post("/v1/models", model).await.expect(201);
        let shown = &created["initializer"];
        assert!(shown == name || shown["type"] == *name, "{shown}");
        let first = json!({"type": "uniform", "low": 0.5, "high": 1.0});
        assert_eq!(created["layers"][0]["initializer"], first);
        assert_eq!(created["layers"][1]["initializer"], *shown);
        let path = "/v1/models/any/versions/1/parameters";
        let parameters = server.get(path).await.expect(200);
        let weights = &parameters["parameters"][0]["weights"];
        for row in weights.as_array().expect("rows") {
            for weight in row.as_array().expect("numbers") {
                assert!((0.5..1.0).contains(&number(weight)), "{weights}");
            }
        }
        server.delete("/v1/models/any").await.expect(204);
    }
}
