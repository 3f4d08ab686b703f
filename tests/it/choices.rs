//! Activations, initializers and losses as they are declared, shown, trained and checked over HTTP.

use serde_json::{Value, json};

use crate::contract::Contract;
use crate::server::{TestServer, number, text, xor_job, xor_model};

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

#[tokio::test]
async fn every_loss_is_declared_shown_trained_and_checked() {
    let server = TestServer::start().await;
    let contract = Contract::read();
    let names = contract.at("/components/schemas/LossName/enum");
    let mut losses = names.as_array().expect("words").clone();
    losses.push(json!({"type": "cross_entropy", "label_smoothing": 0.1}));
    losses.push(json!({"type": "quantile", "q": 0.9}));
    for loss in losses {
        let mut model = xor_model("any");
        model["loss"] = loss.clone();
        let created = server.post("/v1/models", model).await.expect(201);
        let shown = &created["loss"];
        assert!(*shown == loss || shown["type"] == loss, "{shown}");
        let id = server.submit(xor_job("any", json!({"epochs": 200}))).await;
        server.succeeded(&id).await;
        let losses = server.losses(&id).await;
        let at = |epoch: usize| number(&losses[epoch]["train"]["loss"]);
        assert!(at(losses.len() - 1) < at(0), "{loss}");
        let rows = json!({"inputs": [[0.3, 0.9], [-0.4, 0.2]], "targets": [[1], [0]]});
        let path = "/v1/models/any/gradient-check";
        let check = server.post(path, rows).await.expect(200);
        assert_eq!(check["passed"], true, "{loss}: {check}");
        server.delete("/v1/models/any").await.expect(204);
    }
}

#[tokio::test]
async fn a_loss_refuses_the_targets_that_it_is_not_defined_for() {
    let server = TestServer::start().await;
    server
        .upload("counts", "x,y\n1,2\n2,-1\n")
        .await
        .expect(201);
    for (loss, given, said) in [
        ("focal", 2.0, "must be in [0, 1] for loss focal, got 2"),
        (
            "poisson",
            -1.0,
            "must be at least 0 for loss poisson, got -1",
        ),
    ] {
        let layers = json!([{"units": 1, "activation": "sigmoid"}]);
        let model = json!({"name": "m", "inputs": 1, "loss": loss, "layers": layers});
        server.create(model).await;
        let data = json!({"inputs": [[1]], "targets": [[given]]});
        let job = json!({"model": "m", "data": data});
        let problem = server.post("/v1/jobs", job).await.expect(422);
        assert_eq!(problem["errors"][0]["detail"], said, "{problem}");
        let data = json!({"dataset": "counts", "target": "y"});
        let job = json!({"model": "m", "data": data});
        let problem = server.post("/v1/jobs", job).await.expect(422);
        let detail = &problem["errors"][0]["detail"];
        let said = format!("for loss {loss}, got column \"y\" in [-1, 2]");
        assert!(text(detail).ends_with(&said), "{problem}");
        server.delete("/v1/models/m").await.expect(204);
    }
}
