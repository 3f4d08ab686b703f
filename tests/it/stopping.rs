//! Jobs that end before their last epoch, having learned what they can, and publish their best one.

use serde_json::{Value, json};

use crate::server::{TestServer, number, pointers, text, xor_job, xor_model, xor_rows};

/// Two thirds of these targets are right: what is learned of the rest does not help on other rows.
fn noisy(rows: usize, shift: usize) -> Value {
    let inputs: Vec<_> = (0..rows)
        .map(|row| json!([(row * 7 + shift) % 11, (row * 5) % 13]))
        .collect();
    let target = |row: usize| {
        let above = (row * 7 + shift) % 11 > 5;
        usize::from(above != row.is_multiple_of(3))
    };
    let targets: Vec<_> = (0..rows).map(|row| json!([target(row)])).collect();
    json!({"inputs": inputs, "targets": targets})
}

/// The row of the history with the least validation loss, the first of equals.
fn best(losses: &[Value]) -> &Value {
    let loss = |row: &&Value| number(&row["validation"]["loss"]);
    let least = losses
        .iter()
        .min_by(|a, b| loss(a).total_cmp(&loss(b)))
        .expect("an epoch");
    losses
        .iter()
        .find(|row| loss(row) == loss(&least))
        .expect("it is there")
}

#[tokio::test]
async fn a_job_without_progress_ends_and_publishes_its_best_epoch() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let (data, held) = (noisy(90, 0), noisy(60, 4));
    let more = json!({
        "data": data, "validation": held, "epochs": 5000, "batch_size": 10, "optimizer": {"type": "adam", "learning_rate": 0.05},
        "early_stopping": {"patience": 20}, "metrics": ["loss", "accuracy"],
    });
    let job = server.train(xor_job("xor", more)).await;
    let losses = server.losses(&text(&job["id"])).await;
    let best = best(&losses);
    let epochs = losses.len() as u64;
    assert!(epochs < 5000, "{epochs} epochs");
    assert_eq!(best["epoch"].as_u64(), Some(epochs - 20));
    assert_eq!(
        (&job["progress"]["epoch"], &job["progress"]["fraction"]),
        (&json!(epochs), &json!(1.0))
    );
    assert_eq!(
        job["metrics"],
        json!({"train": best["train"], "validation": best["validation"]})
    );
    let version = server.get("/v1/models/xor/versions/2").await.expect(200);
    assert_eq!(version["lineage"]["epochs"], best["epoch"]);
    let figures = server
        .post("/v1/models/xor/versions/2/evaluate", held.clone())
        .await
        .expect(200);
    assert_eq!(
        figures["metrics"]["loss"], best["validation"]["loss"],
        "to the last bit"
    );

    let more = json!({
        "data": noisy(90, 0), "validation": held, "epochs": 5000, "batch_size": 10, "from": {"initial": true},
        "optimizer": {"type": "adam", "learning_rate": 0.05}, "early_stopping": {"patience": 20, "restore_best": false},
    });
    let last = server.train(xor_job("xor", more)).await;
    assert_eq!(last["progress"]["epoch"], json!(epochs));
    let version = server.get("/v1/models/xor/versions/3").await.expect(200);
    assert_eq!(version["lineage"]["epochs"], json!(epochs));
    server.stop().await;
}

#[tokio::test]
async fn a_job_ends_once_it_is_good_enough() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let more = json!({"data": xor_rows(40), "epochs": 20_000, "target_metric": {"metric": "accuracy", "value": 1.0}});
    let job = server.train(xor_job("xor", more)).await;
    let losses = server.losses(&text(&job["id"])).await;
    assert!(losses.len() < 20_000);
    assert_eq!(job["spec"]["metrics"], json!(["loss", "accuracy"]));
    let accuracy = |row: &Value| number(&row["train"]["accuracy"]);
    let (last, before) = losses.split_last().expect("epochs");
    assert!(accuracy(last) == 1.0 && before.iter().all(|row| accuracy(row) < 1.0));
    server.stop().await;
}

#[tokio::test]
async fn what_stops_a_job_is_checked() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let line = json!([{"units": 1, "activation": "identity"}]);
    server
        .create(json!({"name": "line", "inputs": 2, "layers": line}))
        .await;
    let ranges = json!({"early_stopping": {"patience": 0, "min_delta": -1}});
    let refused = server.post("/v1/jobs", xor_job("xor", ranges)).await;
    assert_eq!(
        pointers(&refused.problem(422, "invalid-spec")),
        ["/early_stopping/patience", "/early_stopping/min_delta"]
    );
    let accuracy = json!({"target_metric": {"metric": "accuracy", "value": 0.5}});
    let refused = server.post("/v1/jobs", xor_job("line", accuracy)).await;
    let problem = refused.problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/target_metric/metric"]);
    assert!(
        text(&problem["detail"]).contains("accuracy needs a target of classes"),
        "{problem}"
    );
    server.stop().await;
}

#[tokio::test]
async fn every_figure_is_in_the_history_of_a_job_that_asks_for_it() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let names = [
        "loss",
        "accuracy",
        "precision",
        "recall",
        "f1",
        "roc_auc",
        "log_loss",
        "brier",
        "mean_absolute_error",
        "mean_squared_error",
        "root_mean_squared_error",
        "r2",
        "mean_absolute_percentage_error",
    ];
    let held = noisy(60, 4);
    let more =
        json!({"data": noisy(90, 0), "validation": held.clone(), "epochs": 3, "metrics": names});
    let job = server.train(xor_job("xor", more)).await;
    assert_eq!(job["spec"]["metrics"], json!(names));
    let losses = server.losses(&text(&job["id"])).await;
    for row in &losses {
        for name in names {
            assert!(row["train"][name].is_number(), "{name}: {row}");
            assert!(row["validation"][name].is_number(), "{name}: {row}");
        }
    }
    // What the last epoch's validation came to is what evaluating the version on the same rows comes to.
    let figures = server
        .post("/v1/models/xor/versions/2/evaluate", held)
        .await
        .expect(200);
    for name in names {
        assert_eq!(
            figures["metrics"][name], losses[2]["validation"][name],
            "{name}"
        );
    }
    let path = format!("/v1/jobs/{}/loss", text(&job["id"]));
    let csv = server
        .request(reqwest::Method::GET, &path)
        .header("Accept", "text/csv");
    let csv = crate::server::send(csv).await.text();
    let header = csv.lines().next().expect("a header");
    let split = |name: &str| names.map(|figure| format!("{name}_{figure}")).join(",");
    assert_eq!(
        header,
        format!(
            "epoch,step,learning_rate,seconds,{},{},parameter_digest",
            split("train"),
            split("validation")
        )
    );
    assert_eq!(
        csv.lines()
            .nth(3)
            .expect("the last epoch")
            .split(',')
            .count(),
        4 + 2 * names.len() + 1
    );
    server.stop().await;
}
