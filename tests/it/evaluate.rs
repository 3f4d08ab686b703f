//! Evaluations: figures worked out by hand, and those of a job's validation to the last bit.

use serde_json::{Value, json};

use crate::server::{TestServer, pointers, text, xor_job, xor_model, xor_rows};

const PENGUINS: &str = include_str!("../fixtures/tables/penguins.csv");

/// A float64 model of one layer with these parameters.
fn given(name: &str, activation: &str, loss: &str, weights: &Value, biases: &Value) -> Value {
    let units = biases.as_array().map_or(0, Vec::len);
    json!({
        "name": name, "inputs": 1, "dtype": "float64", "loss": loss,
        "layers": [{"units": units, "activation": activation}],
        "parameters": [{"weights": weights, "biases": biases}],
    })
}

async fn evaluated(server: &TestServer, version: &str, body: Value) -> Value {
    let path = format!("/v1/models/{version}/evaluate");
    server.post(&path, body).await.expect(200)
}

#[tokio::test]
async fn every_metric_is_what_it_comes_to_by_hand() {
    let server = TestServer::start().await;
    let models = [
        given(
            "pair",
            "identity",
            "quadratic",
            &json!([[1], [2]]),
            &json!([0, 1]),
        ),
        given(
            "line",
            "identity",
            "quadratic",
            &json!([[2]]),
            &json!([0.5]),
        ),
        given(
            "even",
            "softmax",
            "cross_entropy",
            &json!([[0], [0]]),
            &json!([0, 0]),
        ),
    ];
    for model in models {
        server.create(model).await;
    }
    let cases = [
        // (1, 3) and (2, 5) miss (0, 3) and (4, 4) by 1, 0, 2 and 1: ½ · 6 / 2, 6 / 4 and 4 / 4. Of the squares about the means,
        // 8 and ½, 5 and 1 are left: r2 is the mean of 1 − 5/8 and 1 − 1/½.
        (
            "pair",
            json!({"inputs": [[1], [2]], "targets": [[0, 3], [4, 4]]}),
            json!({"loss": 1.5, "mean_squared_error": 1.5, "mean_absolute_error": 1.0, "r2": -0.3125,
                   "root_mean_squared_error": f64::midpoint(2.5_f64.sqrt(), 0.5_f64.sqrt()), "accuracy": null}),
        ),
        // 2.5 and 0.5 miss 1 and 0 by 1.5 and 0.5; numbers are neither right nor wrong.
        (
            "line",
            json!({"inputs": [[1], [0]], "targets": [[1], [0]]}),
            json!({"loss": 0.625, "mean_squared_error": 1.25, "mean_absolute_error": 1.0, "r2": -4.0, "f1": null,
                   "confusion_matrix": null}),
        ),
        // (½, ½) whatever the input: −ln ½, and the first of equals is the answer.
        (
            "even",
            json!({"inputs": [[3]], "targets": [[1, 0]]}),
            json!({"loss": std::f64::consts::LN_2, "accuracy": 1.0, "mean_squared_error": 0.25,
                   "mean_absolute_error": 0.5, "log_loss": std::f64::consts::LN_2, "brier": 0.25, "f1": 1.0,
                   "confusion_matrix": [[1, 0], [0, 0]], "roc_auc": null}),
        ),
    ];
    for (model, body, metrics) in cases {
        let rows = body["inputs"].as_array().map_or(0, Vec::len);
        let found = evaluated(&server, &format!("{model}/versions/latest"), body).await;
        assert_eq!(
            (&found["model"], &found["version"], &found["rows"]),
            (&json!(model), &json!(1), &json!(rows))
        );
        for (name, figure) in metrics.as_object().expect("figures") {
            assert_eq!(&found["metrics"][name], figure, "{model} {name}: {found}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn rows_have_the_loss_and_accuracy_of_the_validation_on_them_to_the_last_bit() {
    let server = TestServer::start().await;
    let rows = xor_rows(200);
    for dtype in ["float32", "float64"] {
        let mut model = xor_model(dtype);
        model["dtype"] = json!(dtype);
        model["preprocess"] = json!("standardize");
        server.create(model).await;
        let more = json!({"validation": rows, "metrics": ["loss", "accuracy"]});
        let job = server.train(xor_job(dtype, more)).await;
        let found = evaluated(&server, &format!("{dtype}/versions/2"), rows.clone()).await;
        for metric in ["loss", "accuracy"] {
            let expected = &job["metrics"]["validation"][metric];
            assert_eq!(&found["metrics"][metric], expected, "{dtype} {metric}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_dataset_is_read_by_the_columns_of_the_version_and_has_its_validations_loss() {
    let server = TestServer::start().await;
    server.upload("penguins", PENGUINS).await.expect(201);
    let model = json!({
        "name": "penguins", "inputs": 4, "loss": "cross_entropy", "preprocess": "minmax",
        "layers": [{"units": 8, "activation": "tanh"}, {"units": 3, "activation": "softmax"}],
    });
    server.create(model).await;
    let features = [
        "bill_length_mm",
        "bill_depth_mm",
        "flipper_length_mm",
        "body_mass_g",
    ];
    let job = json!({
        "model": "penguins", "validation": {"dataset": "penguins"}, "epochs": 5,
        "data": {"dataset": "penguins", "features": features, "target": "species", "missing": "drop_rows"},
    });
    let job = server.train(job).await;
    let body = json!({"dataset": "penguins", "missing": "drop_rows"});
    let found = evaluated(&server, "penguins/versions/latest", body).await;
    assert_eq!(found["rows"], job["spec"]["train_rows"]);
    for metric in ["loss", "accuracy"] {
        let expected = &job["metrics"]["validation"][metric];
        assert_eq!(&found["metrics"][metric], expected, "{metric}");
    }
    let path = "/v1/models/penguins/versions/2/evaluate";
    let gaps = server.post(path, json!({"dataset": "penguins"})).await;
    let problem = gaps.problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/missing"; 4]);
    assert!(
        text(&problem["detail"]).contains("\"bill_length_mm\" has 2 missing values"),
        "{problem}"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_target_column_of_a_dataset_may_have_another_name() {
    let server = TestServer::start().await;
    server.upload("train", "x,y\n1,2\n2,4\n").await.expect(201);
    server.upload("other", "z,x\n1,0\n5,2\n").await.expect(201);
    let line = given("line", "identity", "quadratic", &json!([[2]]), &json!([0]));
    server.create(line).await;
    // 2x is y already, so that training leaves it.
    let job = json!({"model": "line", "data": {"dataset": "train", "target": "y"}, "epochs": 1});
    server.train(job).await;
    for target in [json!({"target": "z"}), json!({"targets": ["z"]})] {
        let mut body = target;
        body["dataset"] = json!("other");
        let found = evaluated(&server, "line/versions/2", body).await;
        // 0 and 4 miss 1 and 5 by 1 each.
        let figures = &found["metrics"];
        let expected = (&json!(0.5), &json!(1.0), &json!(1.0));
        let (squared, absolute) = (
            &figures["mean_squared_error"],
            &figures["mean_absolute_error"],
        );
        assert_eq!((&figures["loss"], squared, absolute), expected);
        assert_eq!(found["rows"], 2);
    }
    server.stop().await;
}
