//! What the server says of a mistake, word for word: the near miss, the kind of value, the place.

use serde_json::{Value, json};

use crate::contract::text as file;
use crate::server::{TestServer, text, xor_job, xor_model};

/// The pointer and text of the only fault of a body.
async fn fault(server: &TestServer, path: &str, body: Value) -> (String, String) {
    let problem = server.post(path, body).await.expect(422);
    let errors = problem["errors"].as_array().expect("errors");
    assert_eq!(errors.len(), 1, "{problem}");
    (text(&errors[0]["pointer"]), text(&errors[0]["detail"]))
}

fn model(field: &str, value: Value) -> Value {
    let mut model = xor_model("wrong");
    model[field] = value;
    model
}

#[tokio::test]
async fn a_slip_is_answered_with_the_name_that_was_meant() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let layer = json!([{"units": 1, "activation": "sigmod"}]);
    let fields = "known: name, inputs, layers, loss, initializer, dtype, seed, preprocess, dataset, target, targets, columns, hidden, description, metadata, parameters, embeddings";
    let said = [
        (
            "/v1/models",
            model("layers", layer),
            "/layers/0/activation",
            "unknown activation `sigmod`: did you mean `sigmoid`? known: sigmoid, tanh, relu, identity, softmax, leaky_relu, elu, selu, gelu, silu, softplus, softsign, hard_sigmoid".to_owned(),
        ),
        (
            "/v1/models",
            model("loss", json!("Cross-Entropy")),
            "/loss",
            "unknown loss `Cross-Entropy`: did you mean `cross_entropy`? known: quadratic, cross_entropy, mean_squared_error, mean_absolute_error, huber, log_cosh, poisson, quantile, focal".to_owned(),
        ),
        (
            "/v1/models",
            model("layer", json!([])),
            "/layer",
            format!("unknown field `layer`: did you mean `layers`? {fields}"),
        ),
        (
            "/v1/models",
            model("a".repeat(1000).as_str(), json!(1)),
            &format!("/{}", "a".repeat(1000)),
            format!("unknown field `{}…`: {fields}", "a".repeat(60)),
        ),
        (
            "/v1/jobs",
            xor_job("xor", json!({"metrics": ["acuracy"]})),
            "/metrics/0",
            "unknown metric `acuracy`: did you mean `accuracy`? known: loss, accuracy, top_k_accuracy, precision, precision_micro, precision_weighted, recall, recall_micro, recall_weighted, f1, f1_micro, f1_weighted, roc_auc, roc_auc_micro, roc_auc_weighted, log_loss, brier, mean_absolute_error, mean_squared_error, root_mean_squared_error, r2, mean_absolute_percentage_error".to_owned(),
        ),
    ];
    for (path, body, pointer, detail) in said {
        assert_eq!(
            fault(&server, path, body).await,
            (pointer.to_owned(), detail)
        );
    }
    let problem = server.get("/problems/invalid-jsn").await.expect(404);
    let detail = text(&problem["detail"]);
    assert!(
        detail.contains("did you mean `invalid-json`? known: "),
        "{detail}"
    );
    let problem = server.get("/v1/jobs?stauts=failed").await.expect(422);
    let detail = text(&problem["detail"]);
    assert!(
        detail.contains("did you mean `status`? known: "),
        "{detail}"
    );
}

#[tokio::test]
async fn a_slip_in_a_name_of_a_table_is_answered_with_the_name_that_was_meant() {
    let server = TestServer::start().await;
    let csv = file("tests/fixtures/tables/iris.csv");
    server.upload("iris", csv).await.expect(201);
    let layers = json!([{"units": 3, "activation": "softmax"}]);
    server
        .create(json!({"name": "iris", "inputs": 4, "loss": "cross_entropy", "layers": layers}))
        .await;
    let job = |data: Value| json!({"model": "iris", "data": data, "epochs": 1});
    let columns = "known: sepal_length, sepal_width, petal_length, petal_width, species";
    let wrong = job(json!({"dataset": "iris", "target": "specie"}));
    assert_eq!(
        fault(&server, "/v1/jobs", wrong).await,
        (
            "/data/target".to_owned(),
            format!(
                "must name a column of the dataset, got \"specie\": did you mean `species`? {columns}"
            )
        )
    );
    let features = ["sepal_length", "sepal_width", "petal_length", "petal_with"];
    let wrong = job(json!({"dataset": "iris", "target": "species", "features": features}));
    assert_eq!(
        fault(&server, "/v1/jobs", wrong).await,
        (
            "/data/features/3".to_owned(),
            format!(
                "must name a column of the dataset, got \"petal_with\": did you mean `petal_width`? {columns}"
            )
        )
    );
    server
        .train(job(json!({"dataset": "iris", "target": "species"})))
        .await;
    let rows = json!({"inputs": [[1, 2, 3, 4]], "targets": ["versicolour"]});
    let (pointer, detail) = fault(&server, "/v1/models/iris/gradients", rows).await;
    assert_eq!(
        (pointer.as_str(), detail.as_str()),
        (
            "/targets/0",
            "must be a class of the model, got \"versicolour\": did you mean `versicolor`? known: setosa, versicolor, virginica"
        )
    );
    let instance = json!({"sepal_length": 1, "sepal_width": 1, "petal_length": 1, "petal_width": 1, "petal_widht": 1});
    let instances = json!({"instances": [instance]});
    let (_, detail) = fault(&server, "/v1/models/iris/predict", instances).await;
    assert!(
        detail.starts_with("has no feature \"petal_widht\": did you mean `petal_width`? known: "),
        "{detail}"
    );
}

#[tokio::test]
async fn a_long_value_is_repeated_in_its_beginning_alone() {
    let server = TestServer::start().await;
    let (_, detail) = fault(
        &server,
        "/v1/models",
        model("inputs", json!("9".repeat(100_000))),
    )
    .await;
    let expected = format!(
        "must be a whole number, got the string \"{}…\"",
        "9".repeat(60)
    );
    assert_eq!(detail, expected);
}

#[tokio::test]
async fn no_message_has_a_word_of_the_programs_own_types() {
    let server = TestServer::start().await;
    let words = [
        "u64",
        "f64",
        "usize",
        "variant",
        "sequence",
        "struct",
        "expected",
        "EOF",
        "invalid type",
        "map",
    ];
    let values = [
        json!(null),
        json!(-1),
        json!(1.5),
        json!("a"),
        json!([]),
        json!([[]]),
        json!({}),
        json!(true),
    ];
    let fields = [
        "name",
        "inputs",
        "layers",
        "loss",
        "dtype",
        "seed",
        "metadata",
        "parameters",
        "preprocess",
    ];
    for field in fields {
        for value in &values {
            let answer = server.post("/v1/models", model(field, value.clone())).await;
            let mut said = answer.json();
            // Digits that the request's id happens to have are no word.
            said["instance"].take();
            let text = said.to_string();
            for word in words {
                assert!(!text.contains(word), "{field} {value}: {text}");
            }
        }
    }
}
