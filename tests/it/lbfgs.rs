//! Jobs by L-BFGS: few epochs to a minimum that others know, an end before the last one, and what does not go with it.

use serde_json::{Value, json};

use crate::server::{TestServer, number, pointers, text, xor_job, xor_model};

const IRIS: &str = include_str!("../fixtures/tables/iris.csv");
/// The mean cross entropy and the accuracy on iris, standardized, of scikit-learn 1.9.1:
/// `LogisticRegression(C=1 / (0.01 * 150), tol=1e-12, max_iter=10000)`, whose minimum is unique.
const LOSS: f64 = 0.153_264_851_991_490_76;
const ACCURACY: f64 = 0.96;

fn softmax(hidden: &[u64]) -> Value {
    let hidden = hidden
        .iter()
        .map(|units| json!({"units": units, "activation": "tanh"}));
    let last = json!({"units": 3, "activation": "softmax"});
    let layers: Vec<_> = hidden.chain([last]).collect();
    json!({
        "name": "iris", "inputs": 4, "loss": "cross_entropy", "preprocess": "standardize", "dtype": "float64", "seed": 3,
        "layers": layers,
    })
}

#[tokio::test]
async fn logistic_regression_of_iris_is_that_of_scikit_learn_in_few_epochs() {
    let server = TestServer::start().await;
    server.upload("iris", IRIS).await.expect(201);
    server.create(softmax(&[])).await;
    let data = json!({"dataset": "iris", "target": "species"});
    let job = server
        .train(json!({
            "model": "iris", "data": data, "epochs": 200, "regularization": {"l2": 0.01},
            "optimizer": {"type": "lbfgs", "tolerance": 1e-9},
        }))
        .await;
    assert_eq!(
        (&job["spec"]["batch_size"], &job["spec"]["shuffle"]),
        (&json!("full"), &json!(false))
    );
    let losses = server.losses(&text(&job["id"])).await;
    assert!(losses.len() < 60, "{} epochs", losses.len());
    assert_eq!(job["progress"]["fraction"], json!(1.0));
    // An epoch is one step.
    assert!(losses.iter().all(|row| row["step"] == row["epoch"]));
    let rows = server
        .post("/v1/models/iris/versions/2/evaluate", data)
        .await
        .expect(200);
    let metrics = &rows["metrics"];
    assert!(
        (number(&metrics["loss"]) / LOSS - 1.0).abs() < 1e-7,
        "{metrics}"
    );
    assert_eq!(number(&metrics["accuracy"]), ACCURACY);
    server.stop().await;
}

#[tokio::test]
async fn a_network_learns_iris_by_lbfgs_and_ends_early_as_others_do() {
    let server = TestServer::start().await;
    server.upload("iris", IRIS).await.expect(201);
    server.create(softmax(&[16])).await;
    let job = server
        .train(json!({
            "model": "iris", "data": {"dataset": "iris", "target": "species"}, "epochs": 100, "seed": 5,
            "validation": {"fraction": 0.2, "stratified": true}, "optimizer": "lbfgs", "regularization": {"l2": 0.01},
            "early_stopping": {"patience": 15},
        }))
        .await;
    let kept = &job["metrics"]["validation"];
    assert!(number(&kept["accuracy"]) >= 0.9, "{kept}");
    assert!(number(&job["progress"]["epoch"]) < 100.0);
    server.stop().await;
}

#[tokio::test]
async fn what_does_not_go_with_lbfgs_is_refused_all_at_once() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let more = json!({
        "optimizer": {"type": "lbfgs", "history_size": 101, "max_evaluations": 0, "tolerance": 2, "learning_rate": 0},
        "batch_size": 3, "schedule": "cosine", "warmup_epochs": 1, "layers": [{"learning_rate_multiplier": 0.5}, {}],
        "regularization": {"dropout": 0.5, "l1": 0.1, "clip_norm": 1},
    });
    let refused = server.post("/v1/jobs", xor_job("xor", more)).await;
    let problem = refused.problem(422, "invalid-spec");
    let expected = [
        "/optimizer/learning_rate",
        "/optimizer/history_size",
        "/optimizer/max_evaluations",
        "/optimizer/tolerance",
        "/regularization/l1",
        "/regularization/clip_norm",
        "/regularization/dropout",
        "/schedule",
        "/warmup_epochs",
        "/layers/0/learning_rate_multiplier",
        "/batch_size",
    ];
    assert_eq!(pointers(&problem), expected);
    let said = |index: usize| text(&problem["errors"][index]["detail"]);
    assert_eq!(said(1), "must be in [1, 100], got 101");
    assert_eq!(said(2), "must be in [1, 1000], got 0");
    assert_eq!(said(3), "must be in [0, 1], got 2");
    assert_eq!(
        said(10),
        "must be \"full\" with lbfgs, or at least the 4 rows, got 3"
    );
    let limits =
        json!({"type": "lbfgs", "history_size": 100, "max_evaluations": 1000, "tolerance": 0});
    server
        .train(xor_job(
            "xor",
            json!({"optimizer": limits, "batch_size": "full", "epochs": 3}),
        ))
        .await;
    let least = json!({"type": "lbfgs", "history_size": 1, "max_evaluations": 1, "tolerance": 1});
    server
        .train(xor_job(
            "xor",
            json!({"optimizer": least, "batch_size": 4, "epochs": 3}),
        ))
        .await;
    server.stop().await;
}
