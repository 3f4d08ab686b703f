//! Reports: what a job came to at its end, the same as an evaluation of what it published.

use serde_json::{Value, json};

use crate::server::{TestServer, number, text, xor_job, xor_model, xor_rows};

const IRIS: &str = include_str!("../fixtures/tables/iris.csv");

async fn report(server: &TestServer, job: &Value) -> Value {
    let path = format!("/v1/jobs/{}/report", text(&job["id"]));
    server.get(&path).await.expect(200)
}

#[tokio::test]
async fn the_report_of_classes_is_the_evaluation_of_the_version_that_was_published() {
    let server = TestServer::start().await;
    server.upload("iris", IRIS).await.expect(201);
    let model = json!({
        "name": "iris", "inputs": 4, "loss": "cross_entropy", "preprocess": "standardize",
        "layers": [{"units": 8, "activation": "tanh"}, {"units": 3, "activation": "softmax"}],
    });
    server.create(model).await;
    // Rises, then falls: what is published is not the last epoch.
    let job = json!({
        "model": "iris", "data": {"dataset": "iris", "target": "species"}, "validation": {"dataset": "iris"},
        "epochs": 60, "seed": 4, "metrics": [{"type": "top_k_accuracy", "k": 2}],
        "optimizer": {"type": "adam", "learning_rate": 0.3}, "regularization": {"dropout": 0.5},
        "early_stopping": {"metric": "f1_weighted", "patience": 20},
    });
    let job = server.train(job).await;
    let report = report(&server, &job).await;
    let version = server.get("/v1/models/iris/versions/2").await.expect(200);
    assert_eq!(
        (&report["job"], &report["version"], &report["epoch"]),
        (&job["id"], &json!(2), &version["lineage"]["epochs"])
    );
    assert!(number(&report["epoch"]) < number(&job["progress"]["epoch"]));
    let k = json!({"type": "top_k_accuracy", "k": 2});
    let named = [
        "accuracy",
        "precision",
        "precision_micro",
        "precision_weighted",
        "recall",
        "recall_micro",
        "recall_weighted",
        "f1",
        "f1_micro",
        "f1_weighted",
        "roc_auc",
        "roc_auc_micro",
        "roc_auc_weighted",
        "log_loss",
        "brier",
        "mean_absolute_error",
        "mean_squared_error",
        "root_mean_squared_error",
        "r2",
        "mean_absolute_percentage_error",
    ];
    let mut metrics: Vec<_> = named.iter().map(|name| json!(name)).collect();
    metrics.push(k);
    let body = json!({"dataset": "iris", "metrics": metrics});
    let path = "/v1/models/iris/versions/2/evaluate";
    let evaluated = server.post(path, body).await.expect(200);
    let expected = json!({"rows": 150, "metrics": evaluated["metrics"]});
    // The rows trained on are those validated on, and dropout is in neither.
    assert_eq!(report["train"], expected);
    assert_eq!(report["validation"], expected);
    for (name, figure) in job["metrics"]["validation"].as_object().expect("figures") {
        assert_eq!(figure, &report["validation"]["metrics"][name], "{name}");
    }
    let counts = report["train"]["metrics"]["confusion_matrix"].as_array();
    let counts = counts
        .expect("counts")
        .iter()
        .filter_map(|row| row.as_array());
    let sum: u64 = counts.flatten().filter_map(Value::as_u64).sum();
    assert_eq!(sum, 150);
    // Left out, every figure is computed: of three classes there is no k of 5.
    let every = server.post(path, json!({"dataset": "iris"})).await;
    let mut without = evaluated["metrics"].clone();
    without
        .as_object_mut()
        .expect("figures")
        .remove("top_k_accuracy");
    assert_eq!(every.expect(200)["metrics"], without);
    server.stop().await;
}

#[tokio::test]
async fn the_report_of_several_numbers_is_what_it_comes_to_by_hand() {
    let server = TestServer::start().await;
    // The outputs are (x, 2x + 1), which are (1, 3) and (2, 5).
    server
        .upload("pair", "x,u,v\n1,0,3\n2,4,4\n")
        .await
        .expect(201);
    let model = json!({
        "name": "pair", "inputs": 1, "dtype": "float64", "layers": [{"units": 2, "activation": "identity"}],
        "parameters": [{"weights": [[1], [2]], "biases": [0, 1]}],
    });
    server.create(model).await;
    let job = json!({
        "model": "pair", "data": {"dataset": "pair", "targets": ["u", "v"]}, "epochs": 1, "metrics": ["r2", "mean_absolute_error"],
        "optimizer": {"type": "gradient_descent", "learning_rate": 1e-300},
    });
    let job = server.train(job).await;
    assert_eq!(job["spec"]["data"]["target_kind"], "numeric");
    let report = report(&server, &job).await;
    // They miss (0, 3) and (4, 4) by 1, 0, 2 and 1: ½ · 6 / 2, 6 / 4 and 4 / 4. Of the squares about the means, 8 and ½, 5 and 1
    // are left. A share of 0 is one of the machine epsilon.
    let figures = &report["train"]["metrics"];
    for (name, expected) in [
        ("loss", 1.5),
        ("mean_squared_error", 1.5),
        ("mean_absolute_error", 1.0),
        ("r2", f64::midpoint(1.0 - 5.0 / 8.0, 1.0 - 1.0 / 0.5)),
        (
            "root_mean_squared_error",
            f64::midpoint(2.5_f64.sqrt(), 0.5_f64.sqrt()),
        ),
        (
            "mean_absolute_percentage_error",
            (1.0 / f64::EPSILON + 0.5 + 0.25) / 4.0,
        ),
    ] {
        let found = number(&figures[name]);
        assert!(
            (found - expected).abs() <= 1e-12 * expected.abs(),
            "{name}: {found}"
        );
    }
    assert_eq!(job["metrics"]["train"]["r2"], figures["r2"]);
    for undefined in ["accuracy", "f1", "confusion_matrix", "labels"] {
        assert!(figures[undefined].is_null(), "{figures}");
    }
    assert_eq!(
        (&report["validation"], &report["train"]["rows"]),
        (&Value::Null, &json!(2))
    );
    let asked = json!({"instances": [{"x": 3}]});
    let answer = server
        .post("/v1/models/pair/predict", asked)
        .await
        .expect(200);
    assert_eq!(answer["predictions"], json!([{"u": 3.0, "v": 7.0}]));
    server.stop().await;
}

#[tokio::test]
async fn a_job_has_a_report_once_it_has_published_and_keeps_it_until_it_is_deleted() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let without = async |server: &TestServer, id: &str, detail: &str| {
        let answer = server.get(&format!("/v1/jobs/{id}/report")).await;
        let problem = answer.problem(404, "not-found");
        let expected = format!("job {id} is {detail}");
        assert_eq!(problem["detail"], expected);
    };
    let mut long = xor_job("xor", json!({"epochs": 100_000, "data": xor_rows(4096)}));
    long["batch_size"] = json!(1);
    let id = server.submit(long).await;
    server.running(&id).await;
    let waits = "it is made at the end, of the version that the job publishes";
    without(&server, &id, &format!("running and has no report: {waits}")).await;
    server.cancel(&id).await;
    let none = "it published no version to report on";
    without(
        &server,
        &id,
        &format!("cancelled and has no report: {none}"),
    )
    .await;
    let wild = json!({"optimizer": {"type": "gradient_descent", "learning_rate": 1e6}});
    let wild = xor_job("line", wild);
    let line =
        json!({"name": "line", "inputs": 2, "layers": [{"units": 1, "activation": "identity"}]});
    server.create(line).await;
    let id = server.submit(wild).await;
    server.ended(&id).await;
    without(&server, &id, &format!("failed and has no report: {none}")).await;

    let job = server.train(xor_job("xor", json!({"epochs": 50}))).await;
    let made = report(&server, &job).await;
    let server = server.restart().await;
    assert_eq!(report(&server, &job).await, made);
    let id = text(&job["id"]);
    server.delete(&format!("/v1/jobs/{id}")).await.expect(204);
    let answer = server.get(&format!("/v1/jobs/{id}/report")).await;
    answer.problem(404, "not-found");
    server.stop().await;
}
