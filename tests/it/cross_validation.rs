//! Cross-validation over HTTP: its folds and what they come to, its progress, and the same numbers after interruptions.

use serde_json::{Value, json};

use crate::server::{TestServer, number, text, xor_job, xor_model, xor_rows};

const IRIS: &str = include_str!("../fixtures/tables/iris.csv");

fn classifier(name: &str) -> Value {
    json!({
        "name": name, "inputs": 4, "loss": "cross_entropy", "preprocess": "standardize", "seed": 3,
        "layers": [{"units": 8, "activation": "tanh"}, {"units": 3, "activation": "softmax"}],
    })
}

fn iris_job(model: &str, cross_validation: &Value) -> Value {
    json!({
        "model": model, "data": {"dataset": "iris", "target": "species"}, "cross_validation": cross_validation,
        "epochs": 30, "batch_size": 10, "optimizer": {"type": "gradient_descent", "learning_rate": 0.3}, "seed": 5,
    })
}

async fn report(server: &TestServer, job: &Value) -> Value {
    let path = format!("/v1/jobs/{}/report", text(&job["id"]));
    server.get(&path).await.expect(200)
}

#[tokio::test]
async fn a_job_of_five_folds_reports_each_and_publishes_what_it_learned_of_all_rows() {
    let server = TestServer::start().await;
    server.upload("iris", IRIS).await.expect(201);
    server.create(classifier("iris")).await;
    let trained = server.train(iris_job("iris", &json!({"folds": 5}))).await;
    let expected = json!({"folds": 5, "stratified": true, "rows": [30, 30, 30, 30, 30]});
    assert_eq!(trained["spec"]["cross_validation"], expected);
    assert_eq!(trained["spec"]["train_rows"], 150);
    let progress = &trained["progress"];
    assert_eq!(
        (
            &progress["epoch"],
            &progress["epochs"],
            &progress["fraction"]
        ),
        (&json!(180), &json!(180), &json!(1.0))
    );
    let losses = server.losses(&text(&trained["id"])).await;
    assert_eq!(losses.len(), 30);
    assert_eq!(trained["metrics"]["train"], losses[29]["train"]);

    let report = report(&server, &trained).await;
    assert_eq!(
        (&report["train"]["rows"], &report["validation"]),
        (&json!(150), &Value::Null)
    );
    let found = &report["cross_validation"];
    let folds = found["folds"].as_array().expect("folds");
    for (place, fold) in folds.iter().enumerate() {
        assert_eq!(
            (&fold["fold"], &fold["rows"]),
            (&json!(place + 1), &json!(30))
        );
        // Of 10 flowers of each species; two species overlap by a few.
        let right = number(&fold["metrics"]["accuracy"]) * 30.0;
        assert!(
            (right - right.round()).abs() < 1e-9 && right >= 25.0,
            "{right}"
        );
    }
    for metric in ["loss", "accuracy", "f1", "roc_auc", "log_loss"] {
        let values: Vec<f64> = folds
            .iter()
            .map(|fold| number(&fold["metrics"][metric]))
            .collect();
        let mean = values.iter().sum::<f64>() / 5.0;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let std = (squares / 4.0).sqrt();
        for (found, expected) in [(&found["mean"], mean), (&found["std"], std)] {
            let found = number(&found[metric]);
            assert!(
                (found - expected).abs() < 1e-12,
                "{metric}: {found} {expected}"
            );
        }
    }

    // The model is that of a job on all rows.
    server.create(classifier("plain")).await;
    let plain = server.train(iris_job("plain", &Value::Null)).await;
    assert_eq!(plain["metrics"], trained["metrics"]);
    assert_eq!(plain["progress"]["epochs"], 30);
    assert_eq!(
        server.parameters("plain", "2").await,
        server.parameters("iris", "2").await
    );
    server.stop().await;
}

#[tokio::test]
async fn a_fold_of_a_group_comes_to_what_a_job_comes_to_that_validates_on_the_group() {
    let server = TestServer::start().await;
    let rows = |who: &str, rows: std::ops::Range<u32>| {
        let row = |row: u32| format!("{who},{},{}\n", row * 7 % 11, row % 3);
        rows.map(row).collect::<String>()
    };
    // Five rows of a are more than three of b: they are dealt first, and b is the second fold.
    let (a, b) = (rows("a", 0..5), rows("b", 5..8));
    for (name, rows) in [("all", [b.as_str(), &a].concat()), ("a", a), ("b", b)] {
        server
            .upload(name, format!("who,x,y\n{rows}"))
            .await
            .expect(201);
    }
    for name in ["folds", "alone"] {
        let layers = json!([{"units": 1, "activation": "identity"}]);
        let model =
            json!({"name": name, "inputs": 1, "preprocess": "standardize", "layers": layers});
        server.create(model).await;
    }
    let job = |model: &str, dataset: &str| json!({"model": model, "data": {"dataset": dataset, "features": ["x"], "target": "y"}, "epochs": 5, "batch_size": 2});
    let mut folds = job("folds", "all");
    folds["cross_validation"] = json!({"folds": 2, "group": "who"});
    let folds = server.train(folds).await;
    let expected = json!({"folds": 2, "stratified": false, "group": "who", "rows": [5, 3]});
    assert_eq!(folds["spec"]["cross_validation"], expected);
    let mut alone = job("alone", "a");
    alone["validation"] = json!({"dataset": "b"});
    let alone = server.train(alone).await;
    let (folds, alone) = (report(&server, &folds).await, report(&server, &alone).await);
    let fold = &folds["cross_validation"]["folds"][1];
    assert_eq!(fold["rows"], 3);
    assert_eq!(fold["metrics"], alone["validation"]["metrics"]);
    server.stop().await;
}

/// Epochs of each run of the long job.
const EPOCHS: u32 = 1500;

/// A job of four runs, of a second or so each.
fn long(model: &str) -> Value {
    let more = json!({
        "data": xor_rows(4096), "epochs": EPOCHS, "batch_size": 5, "seed": 9, "cross_validation": {"folds": 3},
    });
    xor_job(model, more)
}

#[tokio::test]
async fn a_job_stopped_in_one_fold_after_the_other_ends_with_the_numbers_of_an_undisturbed_one() {
    let mut server = TestServer::start().await;
    server.create(xor_model("whole")).await;
    server.create(xor_model("broken")).await;
    let whole = server.train(long("whole")).await;
    let id = server.submit(long("broken")).await;
    // Paused once in each fold's run and in the last, or later where the machine is busy, but for one in which the server stops.
    for run in 0..4 {
        let before = f64::from(run * EPOCHS);
        let beyond = |job: &Value| number(&job["progress"]["epoch"]) > before + 5.0;
        let job = server.job_once(&id, beyond).await;
        assert_eq!(job["progress"]["epochs"], 4 * EPOCHS);
        if run == 2 {
            server = server.restart().await;
            continue;
        }
        let paused = server
            .tell(&format!("/v1/jobs/{id}/pause"))
            .await
            .expect(200);
        assert_eq!(paused["status"], "paused", "{paused}");
        let at = number(&paused["progress"]["epoch"]);
        assert!(before < at, "in run {run}, got epoch {at}");
        let history = server.losses(&id).await.len() as f64;
        assert_eq!(history, f64::max(at - f64::from(3 * EPOCHS), 0.0));
        server
            .tell(&format!("/v1/jobs/{id}/resume"))
            .await
            .expect(200);
    }
    let broken = server.succeeded(&id).await;
    assert_eq!(broken["attempt"], 5);
    assert_eq!(broken["metrics"], whole["metrics"]);
    let mut reports = [
        report(&server, &whole).await,
        report(&server, &broken).await,
    ];
    for report in &mut reports {
        report["job"].take();
    }
    assert_eq!(reports[0], reports[1]);
    assert_eq!(
        server.parameters("whole", "2").await,
        server.parameters("broken", "2").await
    );
    server.stop().await;
}

#[tokio::test]
async fn a_cancelled_cross_validation_keeps_no_parameters_of_a_fold() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let id = server.submit(long("xor")).await;
    let begun = |job: &Value| number(&job["progress"]["epoch"]) > 2.0;
    server.job_once(&id, begun).await;
    let cancelled = server.cancel(&id).await;
    assert_eq!(
        (&cancelled["status"], &cancelled["version"]),
        (&json!("cancelled"), &Value::Null)
    );
    let kept = server
        .get(&format!("/v1/jobs/{id}/checkpoints"))
        .await
        .expect(200);
    assert_eq!(kept["data"], json!([]));
    assert!(server.losses(&id).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_dry_run_costs_all_the_runs() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let estimate = async |job: Value| {
        let answer = server.post("/v1/jobs?dry_run=true", job).await.expect(200);
        (
            number(&answer["estimated_seconds"]),
            number(&answer["memory_bytes"]),
        )
    };
    let folded = estimate(long("xor")).await;
    let mut plain = long("xor");
    plain["cross_validation"].take();
    let plain = estimate(plain).await;
    // Three times 2/3 of the rows and once all of them are three runs; a trial on a busy machine is off by a factor.
    assert!(folded.0 > plain.0, "{folded:?} {plain:?}");
    assert!(folded.1 > plain.1, "{folded:?} {plain:?}");
    server.stop().await;
}

#[tokio::test]
async fn classes_of_inline_rows_are_dealt_evenly_too() {
    let server = TestServer::start().await;
    server.upload("iris", IRIS).await.expect(201);
    server.create(classifier("iris")).await;
    server.train(iris_job("iris", &Value::Null)).await;
    let species = ["setosa", "versicolor", "virginica"];
    let rows: Vec<_> = (0..9).map(|row| [f64::from(row), 0.5, 1.5, 2.5]).collect();
    let targets: Vec<_> = (0..9).map(|row| species[row % 3]).collect();
    let job = json!({
        "model": "iris", "data": {"inputs": rows, "targets": targets}, "cross_validation": {"folds": 3},
        "from": {"version": 2}, "epochs": 1,
    });
    let trained = server.train(job).await;
    let expected = json!({"folds": 3, "stratified": true, "rows": [3, 3, 3]});
    assert_eq!(trained["spec"]["cross_validation"], expected);
    let report = report(&server, &trained).await;
    let folds = report["cross_validation"]["folds"].as_array();
    for fold in folds.expect("folds") {
        // ROC AUC is defined only where every class is there.
        assert!(fold["metrics"]["roc_auc"].is_number(), "{fold}");
    }
    server.stop().await;
}
