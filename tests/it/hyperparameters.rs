//! What the server says of hyperparameters is what it does with them.

use serde_json::{Value, json};

use crate::contract::Contract;
use crate::server::{TestServer, pointers, text, xor_job, xor_model};

fn list(of: &Value) -> &Vec<Value> {
    of.as_array().expect("a list")
}

/// The choice with every parameter that must be given, and this one more.
fn with(choice: &Value, name: &Value, value: &Value) -> Value {
    let mut spec = json!({"type": choice["type"]});
    for parameter in list(&choice["parameters"]) {
        if parameter["required"] == true {
            let key = parameter["name"].as_str().expect("a name");
            spec[key] = if parameter["kind"] == "array" {
                json!([1])
            } else {
                json!(1)
            };
        }
    }
    spec[name.as_str().expect("a name")] = value.clone();
    spec
}

#[tokio::test]
async fn the_defaults_that_are_described_are_those_of_a_job() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let described = server.get("/v1/hyperparameters").await.expect(200);
    assert_eq!(list(&described["optimizers"]).len(), 10);
    for (group, field) in [("optimizers", "optimizer"), ("schedules", "schedule")] {
        for choice in list(&described[group]) {
            let given = with(choice, &json!("type"), &choice["type"]);
            let job = xor_job("xor", json!({field: given}));
            let dry = server.post("/v1/jobs?dry_run=true", job).await.expect(200);
            let spec = &dry["spec"][field];
            for parameter in list(&choice["parameters"]) {
                let name = parameter["name"].as_str().expect("a name");
                if parameter["required"] == false {
                    assert_eq!(spec[name], parameter["default"], "{choice}");
                }
            }
        }
    }
    for parameter in list(&described["regularization"]) {
        let dry = server
            .post("/v1/jobs?dry_run=true", xor_job("xor", json!({})))
            .await
            .expect(200);
        let name = parameter["name"].as_str().expect("a name");
        assert_eq!(dry["spec"]["regularization"][name], parameter["default"]);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_beyond_a_range_that_is_described_is_refused_with_it() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let described = server.get("/v1/hyperparameters").await.expect(200);
    let mut refused = 0;
    let groups = [
        ("optimizers", "optimizer"),
        ("schedules", "schedule"),
        ("losses", "loss"),
        ("initializers", "initializer"),
        ("normalizations", "normalization"),
    ];
    for (group, field) in groups {
        for choice in list(&described[group]) {
            for parameter in list(&choice["parameters"]) {
                let Some(most) = parameter["maximum"].as_f64() else {
                    continue;
                };
                let beyond = match parameter["kind"].as_str() {
                    Some("integer") => json!(most as u64 + 1),
                    Some("array") => json!([most as u64 + 1]),
                    _ if parameter["name"] == "restart_epochs" => json!(most as u64 + 1),
                    _ => json!(most + 1.0),
                };
                let given = json!({field: with(choice, &parameter["name"], &beyond)});
                let answer = if group == "optimizers" || group == "schedules" {
                    server.post("/v1/jobs", xor_job("xor", given)).await
                } else {
                    let mut model = xor_model("refused");
                    if group == "normalizations" {
                        model["layers"][0][field] = given[field].clone();
                    } else {
                        model[field] = given[field].clone();
                    }
                    server.post("/v1/models", model).await
                };
                let problem = answer.problem(422, "invalid-spec");
                let name = parameter["name"].as_str().expect("a name");
                let pointer = if group == "normalizations" {
                    format!("/layers/0/{field}/{name}")
                } else {
                    format!("/{field}/{name}")
                };
                assert!(pointers(&problem).contains(&pointer), "{problem}");
                let range = parameter["range"].as_str().expect("a range");
                assert!(
                    problem["errors"].to_string().contains(range),
                    "{range}: {problem}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 50, "{refused}");
    server.stop().await;
}

#[tokio::test]
async fn every_metric_is_described_with_its_parameters_and_what_it_needs() {
    let server = TestServer::start().await;
    let described = server.get("/v1/hyperparameters").await.expect(200);
    let contract = Contract::read();
    let names = contract.at("/components/schemas/MetricName/enum");
    let metrics = list(&described["metrics"]);
    let described: Vec<_> = metrics.iter().map(|metric| &metric["type"]).collect();
    assert_eq!(described, list(names).iter().collect::<Vec<_>>());
    // One of every needs, and of either direction.
    for (name, larger_is_better, needs) in [
        ("r2", true, "nothing"),
        ("mean_squared_error", false, "nothing"),
        ("f1_weighted", true, "decisions"),
        ("top_k_accuracy", true, "classes"),
        ("log_loss", false, "probabilities"),
    ] {
        let metric = metrics.iter().find(|metric| metric["type"] == name);
        let metric = metric.expect("a metric of the name");
        assert_eq!(metric["larger_is_better"], larger_is_better, "{name}");
        assert_eq!(metric["needs"], needs, "{name}");
        assert!(!text(&metric["meaning"]).is_empty());
    }
    let with_parameters = metrics
        .iter()
        .filter(|metric| metric["parameters"] != json!([]));
    let k = json!({"name": "k", "kind": "integer", "required": false, "default": 5, "range": "[1, 65536]",
        "minimum": 1.0, "maximum": 65536.0, "meaning": "how many of the largest outputs, at most the number of classes"});
    let found: Vec<_> = with_parameters
        .map(|metric| (&metric["type"], &metric["parameters"]))
        .collect();
    assert_eq!(found, [(&json!("top_k_accuracy"), &json!([k]))]);
    server.stop().await;
}
