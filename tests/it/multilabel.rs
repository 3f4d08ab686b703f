//! Multilabel: several columns of 0 and 1, each with an output that says yes or no for itself, from the table to the report.

use serde_json::{Value, json};

use crate::server::{TestServer, number, text};

/// Red is said of the first three of the rows with x = 1, big of those with y = 1.
///
/// red: rows 1 and 2 are true positives, 4 is a false one. big: 1 and 3 are true positives, 2 is a false negative. So 1 and 3
/// are right as a whole.
const SHAPES: &str = "x,y,red,big\n1,1,1,1\n1,0,1,1\n0,1,0,1\n1,0,0,0\n";
const PATH: &str = "/v1/models/shapes/versions/latest/evaluate";

/// Says red where x ≥ ½ and big where y ≥ ½: σ(10x − 5) and σ(10y − 5).
fn model() -> Value {
    json!({
        "name": "shapes", "inputs": 2, "dtype": "float64", "loss": "cross_entropy",
        "layers": [{"units": 2, "activation": "sigmoid"}],
        "parameters": [{"weights": [[10, 0], [0, 10]], "biases": [-5, -5]}],
    })
}

/// A job that leaves the parameters as they are: steps of 1e-300 are lost beside them.
fn still(data: &Value, more: Value) -> Value {
    let optimizer = json!({"type": "gradient_descent", "learning_rate": 1e-300});
    let mut job = json!({"model": "shapes", "data": data, "epochs": 1, "optimizer": optimizer});
    if let (Some(job), Value::Object(more)) = (job.as_object_mut(), more) {
        job.extend(more);
    }
    job
}

async fn predicted(server: &TestServer, model: &str, asked: Value) -> Value {
    let path = format!("/v1/models/{model}/predict");
    server.post(&path, asked).await.expect(200)
}

/// scikit-learn's figures of the rows, by hand.
#[track_caller]
fn assert_by_hand(metrics: &Value, names: [Option<&str>; 2]) {
    let expected = [
        ("accuracy", 0.5),
        ("precision", f64::midpoint(2.0 / 3.0, 1.0)),
        ("precision_micro", 4.0 / 5.0),
        // red is true twice and big three times.
        ("precision_weighted", (2.0 * (2.0 / 3.0) + 3.0) / 5.0),
        ("recall", f64::midpoint(1.0, 2.0 / 3.0)),
        ("recall_micro", 4.0 / 5.0),
        ("recall_weighted", (2.0 + 3.0 * (2.0 / 3.0)) / 5.0),
        ("f1", 0.8),
        ("f1_micro", 0.8),
        ("f1_weighted", 0.8),
        // Of red 4 pairs, two won and two tied; of big 3 pairs, two won and one tied.
        ("roc_auc", f64::midpoint(3.0 / 4.0, 2.5 / 3.0)),
        ("roc_auc_weighted", (2.0 * (3.0 / 4.0) + 2.5) / 5.0),
        // Five entries are true, four of them high; three are not, one of them high: 8 of 15 pairs won, 4 + 2 tied.
        ("roc_auc_micro", (8.0 + 0.5 * 6.0) / 15.0),
    ];
    for (name, expected) in expected {
        let found = number(&metrics[name]);
        assert!((found - expected).abs() < 1e-12, "{name}: {found}");
    }
    for undefined in ["log_loss", "brier", "top_k_accuracy", "confusion_matrix"] {
        assert!(metrics[undefined].is_null(), "{undefined}: {metrics}");
    }
    let label = |name: Option<&str>, counts: [u64; 3], precision: f64, recall: f64| {
        json!({"label": name, "true_positives": counts[0], "false_positives": counts[1], "false_negatives": counts[2],
               "precision": precision, "recall": recall, "f1": 0.8})
    };
    let labels = json!([
        label(names[0], [2, 1, 0], 2.0 / 3.0, 1.0),
        label(names[1], [2, 0, 1], 1.0, 2.0 / 3.0),
    ]);
    assert_eq!(metrics["labels"], labels);
}

#[tokio::test]
async fn labels_are_trained_predicted_evaluated_and_reported_as_by_hand() {
    let server = TestServer::start().await;
    server.upload("shapes", SHAPES).await.expect(201);
    server.create(model()).await;
    let data = json!({"dataset": "shapes", "targets": ["red", "big"], "target_kind": "labels"});
    let names = ["accuracy", "precision_weighted", "roc_auc"];
    let more = json!({"validation": {"dataset": "shapes"}, "metrics": names});
    let job = server.train(still(&data, more)).await;
    assert_eq!(job["spec"]["data"]["target_kind"], "labels");
    let meaning = json!({"kind": "labels", "names": ["red", "big"]});
    assert_eq!(job["spec"]["targets"], meaning);
    let id = text(&job["id"]);
    let history = server.losses(&id).await;
    // Half of the rows are right as a whole, though in each the largest output is the largest target.
    for split in ["train", "validation"] {
        assert_eq!(history[0][split]["accuracy"], 0.5);
        let weighted = number(&history[0][split]["precision_weighted"]);
        assert!((weighted - 13.0 / 15.0).abs() < 1e-12, "{weighted}");
    }
    let red_and_big = [Some("red"), Some("big")];
    let evaluated = server.post(PATH, json!({"dataset": "shapes"})).await;
    let evaluated = evaluated.expect(200)["metrics"].take();
    assert_by_hand(&evaluated, red_and_big);
    let rows = json!({"inputs": [[1, 1], [1, 0], [0, 1], [1, 0]], "targets": [[1, 1], [1, 1], [0, 1], [0, 0]]});
    let inline = server.post(PATH, rows).await.expect(200);
    assert_eq!(inline["metrics"], evaluated);
    let report = server.get(&format!("/v1/jobs/{id}/report")).await;
    let split = json!({"rows": 4, "metrics": evaluated});
    let expected =
        json!({"job": id, "version": 2, "epoch": 1, "train": split, "validation": split});
    assert_eq!(report.expect(200), expected);

    let asked = json!({"instances": [{"x": 1, "y": 0}, {"y": 1, "x": 1}, {"x": 0, "y": 0}]});
    let answer = predicted(&server, "shapes", asked).await;
    let labels = [0, 1, 2].map(|row| answer["predictions"][row]["labels"].clone());
    assert_eq!(labels, [json!(["red"]), json!(["red", "big"]), json!([])]);
    for (outputs, said) in
        [0, 1, 2].map(|row| (&answer["outputs"][row], &answer["predictions"][row]))
    {
        let probabilities = json!({"red": outputs[0], "big": outputs[1]});
        assert_eq!(said["probabilities"], probabilities);
    }
    // A half is a yes, as it is wherever an output is judged.
    let half = predicted(&server, "shapes", json!({"inputs": [[0.5, 0.499]]})).await;
    assert_eq!(half["predictions"][0]["labels"], json!(["red"]));
    server.stop().await;
}

#[tokio::test]
async fn rows_may_be_labels_too_and_a_model_stays_what_it_was_fitted_for() {
    let server = TestServer::start().await;
    server.upload("shapes", SHAPES).await.expect(201);
    server.create(model()).await;
    let rows = json!({"inputs": [[1, 1], [1, 0], [0, 1], [1, 0]], "targets": [[1, 1], [1, 1], [0, 1], [0, 0]]});
    let mut data = rows.clone();
    data["target_kind"] = json!("labels");
    let job = server
        .train(still(&data, json!({"validation": rows})))
        .await;
    let nameless = json!({"kind": "labels", "names": null});
    assert_eq!(job["spec"]["targets"], nameless);
    assert_eq!(job["spec"]["metrics"], json!(["loss", "accuracy"]));
    let path = format!("/v1/jobs/{}/report", text(&job["id"]));
    let report = server.get(&path).await.expect(200);
    assert_by_hand(&report["train"]["metrics"], [None, None]);
    assert_eq!(report["train"], report["validation"]);
    let answer = predicted(&server, "shapes", json!({"inputs": [[1, 0]]})).await;
    assert!(answer["predictions"].is_null(), "{answer}");
    // Said once, labels are labels in the jobs that follow, of rows as of a table.
    let job = server.train(still(&rows, json!({}))).await;
    assert_eq!(job["spec"]["targets"], nameless);
    let table = json!({"dataset": "shapes", "targets": ["red", "big"]});
    let job = server.train(still(&table, json!({}))).await;
    assert_eq!(job["spec"]["data"]["target_kind"], "labels");
    let mut numeric = table.clone();
    numeric["target_kind"] = json!("numeric");
    let refused = server.post("/v1/jobs", still(&numeric, json!({}))).await;
    let problem = refused.problem(422, "invalid-spec");
    let detail = "must be the labels that the model was fitted with, or give \"refit\":true";
    let expected = json!([{"pointer": "/data/target_kind", "detail": detail}]);
    assert_eq!(problem["errors"], expected);
    let refit = json!({"refit": true});
    let job = server.train(still(&table, refit)).await;
    assert_eq!(job["spec"]["data"]["target_kind"], "numeric");
    server.stop().await;
}

#[tokio::test]
async fn labels_that_can_be_told_apart_are_learned() {
    let server = TestServer::start().await;
    let rows = (0..64).map(|row| (row % 8, row / 8)).map(|(x, y)| {
        let (left, low, far) = (x < 4, y < 3, x + y > 8);
        format!(
            "{x},{y},{},{},{}",
            u8::from(left),
            u8::from(low),
            u8::from(far)
        )
    });
    let rows: Vec<_> = rows.collect();
    let table = format!("x,y,left,low,far\n{}\n", rows.join("\n"));
    server.upload("places", table).await.expect(201);
    let model = json!({
        "name": "places", "inputs": 2, "loss": "cross_entropy", "preprocess": "standardize",
        "layers": [{"units": 16, "activation": "tanh"}, {"units": 3, "activation": "sigmoid"}],
    });
    server.create(model).await;
    let data =
        json!({"dataset": "places", "targets": ["left", "low", "far"], "target_kind": "labels"});
    let job = json!({
        "model": "places", "data": data, "epochs": 2000, "optimizer": {"type": "adam", "learning_rate": 0.02},
        "target_metric": {"metric": "accuracy", "value": 1.0},
    });
    let job = server.train(job).await;
    // All 64 rows were right in every label before the epochs were over.
    assert_eq!(job["metrics"]["train"]["accuracy"], 1.0);
    let asked = json!({"instances": [{"x": 1, "y": 1}, {"x": 7, "y": 7}, {"x": 2, "y": 5}]});
    let answer = predicted(&server, "places", asked).await;
    let said = [0, 1, 2].map(|row| answer["predictions"][row]["labels"].clone());
    assert_eq!(
        said,
        [json!(["left", "low"]), json!(["far"]), json!(["left"])]
    );
    server.stop().await;
}

#[tokio::test]
async fn one_label_has_the_figures_of_its_yes_and_those_of_a_probability() {
    let server = TestServer::start().await;
    server.upload("shapes", SHAPES).await.expect(201);
    let mut one = model();
    one["layers"][0]["units"] = json!(1);
    one["parameters"] = json!([{"weights": [[10, 0]], "biases": [-5]}]);
    server.create(one).await;
    let data = |kind: &str| json!({"dataset": "shapes", "features": ["x", "y"], "target": "red", "target_kind": kind});
    let report = async |kind: &str, more: Value| {
        let job = server.train(still(&data(kind), more)).await;
        let path = format!("/v1/jobs/{}/report", text(&job["id"]));
        server.get(&path).await.expect(200)["train"]["metrics"].take()
    };
    // Red is said of rows 1, 2 and 4, and true of 1 and 2.
    let label = report("labels", json!({})).await;
    let shown =
        ["accuracy", "precision", "recall", "f1", "roc_auc"].map(|name| number(&label[name]));
    for (found, expected) in shown.into_iter().zip([0.75, 2.0 / 3.0, 1.0, 0.8, 0.75]) {
        assert!((found - expected).abs() < 1e-12, "{label}");
    }
    let sure = 1.0 / (1.0 + (-5.0_f64).exp());
    let brier = (3.0 * (1.0 - sure) * (1.0 - sure) + sure * sure) / 4.0;
    assert!((number(&label["brier"]) - brier).abs() < 1e-12, "{label}");
    assert_eq!(label["labels"][0]["label"], "red");
    assert!(label["confusion_matrix"].is_null(), "{label}");
    // As numbers, the same outputs are two classes: the mean over no, of which half is said, and yes.
    let classes = report("numeric", json!({"refit": true})).await;
    assert!((number(&classes["recall"]) - f64::midpoint(0.5, 1.0)).abs() < 1e-12);
    assert_eq!(classes["confusion_matrix"], json!([[1, 1], [0, 2]]));
    for same in ["loss", "accuracy", "brier", "log_loss", "roc_auc"] {
        assert_eq!(label[same], classes[same], "{same}");
    }
    server.stop().await;
}
