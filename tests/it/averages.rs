//! Averages and `top_k_accuracy`: in the history, in what a job ends by, and in evaluations, as by hand.

use serde_json::{Value, json};

use crate::server::{TestServer, number, text};

/// Each row is taken for the column with the 5. Of 4 a one is taken for b, with a second; of 2 b one for c, with b last; the c
/// is right.
const TABLE: &str = "x,y,z,class\n5,1,0,a\n5,1,0,a\n5,0,1,a\n1,5,0,a\n0,5,1,b\n1,0,5,b\n0,1,5,c\n";

/// A model whose z are its inputs, and a job that leaves it so: steps of 1e-300 are lost beside its weights.
async fn mirror(more: Value) -> (TestServer, Value) {
    let server = TestServer::start().await;
    server.upload("t", TABLE).await.expect(201);
    let model = json!({
        "name": "t", "inputs": 3, "dtype": "float64", "loss": "cross_entropy",
        "layers": [{"units": 3, "activation": "softmax"}],
        "parameters": [{"weights": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "biases": [1, 1, 1]}],
    });
    server.create(model).await;
    let mut job = json!({
        "model": "t", "data": {"dataset": "t", "target": "class"}, "epochs": 9,
        "optimizer": {"type": "gradient_descent", "learning_rate": 1e-300},
    });
    if let (Some(job), Value::Object(more)) = (job.as_object_mut(), more) {
        job.extend(more);
    }
    let job = server.train(job).await;
    (server, job)
}

fn k(k: u64) -> Value {
    json!({"type": "top_k_accuracy", "k": k})
}

#[tokio::test]
async fn the_averages_of_classes_differ_as_they_do_by_hand() {
    // a: 3 true positives, 1 false negative. b: 1, with a false positive and a false negative. c: 1, with a false positive.
    let expected = [
        ("accuracy", 5.0 / 7.0),
        ("top_k_accuracy", 6.0 / 7.0),
        ("precision", (1.0 + 0.5 + 0.5) / 3.0),
        ("precision_micro", 5.0 / 7.0),
        ("precision_weighted", (4.0 + 2.0 * 0.5 + 0.5) / 7.0),
        ("recall", (0.75 + 0.5 + 1.0) / 3.0),
        ("recall_micro", 5.0 / 7.0),
        ("recall_weighted", 5.0 / 7.0),
        ("f1", (6.0 / 7.0 + 0.5 + 2.0 / 3.0) / 3.0),
        ("f1_micro", 5.0 / 7.0),
        (
            "f1_weighted",
            (4.0 * (6.0 / 7.0) + 2.0 * 0.5 + 2.0 / 3.0) / 7.0,
        ),
    ];
    let mut metrics: Vec<_> = expected.iter().map(|(name, _)| json!(name)).collect();
    metrics[1] = k(2);
    let (server, job) = mirror(json!({"epochs": 2, "metrics": metrics})).await;
    let mut shown = vec![json!("loss")];
    shown.extend(metrics.clone());
    assert_eq!(job["spec"]["metrics"], json!(shown));
    let id = text(&job["id"]);
    let report = server.get(&format!("/v1/jobs/{id}/report")).await;
    let report = report.expect(200)["train"]["metrics"].take();
    let body = json!({"dataset": "t", "metrics": metrics});
    let path = "/v1/models/t/versions/2/evaluate";
    let evaluated = server.post(path, body).await.expect(200)["metrics"].take();
    let history = server.losses(&id).await;
    for (name, expected) in expected {
        for figures in [&history[1]["train"], &report, &evaluated] {
            let found = number(&figures[name]);
            assert!((found - expected).abs() < 1e-12, "{name}: {found}");
        }
    }
    let counts = json!([[3, 1, 0], [0, 1, 1], [0, 0, 1]]);
    assert_eq!(
        (&report["confusion_matrix"], &evaluated["confusion_matrix"]),
        (&counts, &counts)
    );
    // What was not asked for is in the report, and not in the history or that evaluation.
    assert!(report["roc_auc_weighted"].is_number() && report["brier"].is_number());
    assert!(history[1]["train"]["brier"].is_null() && evaluated["brier"].is_null());
    for (asked, share) in [(1, 5.0 / 7.0), (3, 1.0)] {
        let body = json!({"dataset": "t", "metrics": [k(asked)]});
        let found = server.post(path, body).await.expect(200)["metrics"].take();
        assert_eq!(found["top_k_accuracy"], share);
        assert!(found["accuracy"].is_null(), "{found}");
    }
    let csv = server
        .request(reqwest::Method::GET, &format!("/v1/jobs/{id}/loss"))
        .header("Accept", "text/csv");
    let csv = crate::server::send(csv).await.text();
    let columns = csv.lines().next().expect("a header");
    assert!(columns.contains(",train_top_k_accuracy,train_precision,train_precision_micro,"));
    server.stop().await;
}

#[tokio::test]
async fn a_job_ends_by_any_figure() {
    // 6 of 7 rows have their class among the first two.
    let more = json!({"target_metric": {"metric": k(2), "value": 0.8}});
    let (server, job) = mirror(more).await;
    assert_eq!(job["progress"]["epoch"], 1);
    assert_eq!(job["spec"]["target_metric"]["metric"], k(2));
    server.stop().await;
    for metric in [
        k(1),
        json!("recall_weighted"),
        json!("roc_auc_micro"),
        json!("brier"),
    ] {
        // Nothing becomes better after the first epoch, and two in a row without that are enough.
        let more = json!({"early_stopping": {"metric": metric, "patience": 2}});
        let (server, job) = mirror(more).await;
        assert_eq!(job["progress"]["epoch"], 3, "{metric}");
        assert_eq!(job["spec"]["early_stopping"]["metric"], metric);
        server.stop().await;
    }
}
