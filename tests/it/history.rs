//! What a job has come to: its losses by page, the gradients of its layers, its checkpoints.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{
    TestServer, long_job, number, pointers, send, text, until, xor_job, xor_model,
};

/// A server with a model `xor`, and the path of a job that has trained it for so many epochs.
async fn trained(epochs: u64) -> (TestServer, String) {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let job = server
        .train(xor_job("xor", json!({"epochs": epochs})))
        .await;
    let path = format!("/v1/jobs/{}", text(&job["id"]));
    (server, path)
}

async fn epochs(server: &TestServer, path: &str) -> (Vec<u64>, bool) {
    let page = server.get(path).await.expect(200);
    let rows = page["data"].as_array().expect("a list");
    let epochs = rows.iter().filter_map(|row| row["epoch"].as_u64());
    (epochs.collect(), page["has_more"] == true)
}

#[track_caller]
fn near(actual: &Value, expected: f64, what: &str) {
    let actual = number(actual);
    let tolerance = 1e-12 * expected.abs().max(1e-3);
    assert!(
        (actual - expected).abs() <= tolerance,
        "{what}: {actual} instead of {expected}"
    );
}

#[tokio::test]
async fn losses_come_oldest_first_in_pages_after_any_epoch() {
    let (server, path) = trained(12).await;
    for (query, expected, more) in [
        ("", (1..=12).collect(), false),
        ("?limit=5", vec![1, 2, 3, 4, 5], true),
        ("?after=5&limit=5", vec![6, 7, 8, 9, 10], true),
        ("?after=10&limit=5", vec![11, 12], false),
        ("?limit=12", (1..=12).collect(), false),
        ("?after=12", vec![], false),
        ("?after=9223372036854775807", vec![], false),
        ("?every=5", vec![5, 10], false),
        ("?every=3&after=3&limit=2", vec![6, 9], true),
        ("?every=13", vec![], false),
    ] {
        let found = epochs(&server, &format!("{path}/loss{query}")).await;
        assert_eq!(found, (expected, more), "{query}");
    }
    for (query, pointer) in [
        ("limit=0", "/limit"),
        ("limit=10001", "/limit"),
        ("every=0", "/every"),
    ] {
        let refused = server.get(&format!("{path}/loss?{query}")).await;
        assert_eq!(pointers(&refused.problem(422, "invalid-query")), [pointer]);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_row_of_the_losses_has_the_figures_of_its_epoch() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let more = json!({
        "batch_size": 3, "metrics": ["loss", "accuracy"],
        "validation": {"inputs": [[0, 1], [1, 1]], "targets": [[1], [0]]},
    });
    let job = server.train(xor_job("xor", more)).await;
    let losses = server.losses(&text(&job["id"])).await;
    assert_eq!(losses.len(), 10);
    for (row, epoch) in losses.iter().zip(1..) {
        // Four rows in batches of three are two steps.
        assert_eq!(
            (&row["epoch"], &row["step"]),
            (&json!(epoch), &json!(2 * epoch))
        );
        assert_eq!(row["learning_rate"], 2.0);
        assert!(number(&row["seconds"]) >= 0.0);
        for split in ["train", "validation"] {
            assert!(number(&row[split]["loss"]) > 0.0, "{row}");
            let accuracy = number(&row[split]["accuracy"]);
            assert!((0.0..=1.0).contains(&accuracy), "{row}");
        }
    }
    // The validation rows after the last epoch are seen by the version that was published.
    let rows =
        json!({"inputs": [[0, 1], [1, 1]], "targets": [[1], [0]], "include": ["statistics"]});
    let seen = server
        .post("/v1/models/xor/gradients", rows)
        .await
        .expect(200);
    near(
        &losses[9]["validation"]["loss"],
        number(&seen["loss"]),
        "validation loss",
    );
    let outputs = server.predict("xor", json!([[0, 1], [1, 1]])).await;
    // With one output, an answer is right on its target's side of one half.
    let right = [number(&outputs[0][0]) >= 0.5, number(&outputs[1][0]) < 0.5];
    let share = right.iter().filter(|right| **right).count() as f64 / 2.0;
    assert_eq!(losses[9]["validation"]["accuracy"], share);
    server.stop().await;
}

#[tokio::test]
async fn the_gradients_of_an_epoch_are_those_that_an_inspection_shows() {
    let (server, path) = trained(1).await;
    let rows = json!({
        "inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]], "include": ["statistics"],
    });
    // One full batch: the gradient of version 1 over the same rows.
    let seen = server
        .post("/v1/models/xor/versions/1/gradients", rows)
        .await
        .expect(200);
    let page = server.get(&format!("{path}/gradients")).await.expect(200);
    let recorded = &page["data"][0];
    assert_eq!(
        (&recorded["epoch"], &page["has_more"]),
        (&json!(1), &json!(false))
    );
    for layer in 0..2 {
        let (shown, expected) = (
            &recorded["layers"][layer],
            &seen["layers"][layer]["statistics"],
        );
        assert_eq!(shown["layer"], layer + 1);
        for quantity in ["weight_gradient", "bias_gradient", "deltas", "activations"] {
            for figure in ["norm", "mean", "min", "max"] {
                let what = format!("layer {layer} {quantity} {figure}");
                near(
                    &shown[quantity][figure],
                    number(&expected[quantity][figure]),
                    &what,
                );
            }
        }
        let [gradient, weights] =
            ["weight_gradient", "weights"].map(|part| number(&shown[part]["norm"]));
        near(
            &shown["update_to_weight_ratio"],
            2.0 * gradient / weights,
            "η ‖∂C/∂w‖ / ‖w‖",
        );
        assert_eq!(shown["dead"], 0.0, "only relu dies");
    }
    server.stop().await;
}

#[tokio::test]
async fn histograms_come_where_they_are_asked_for_and_count_every_number() {
    let (server, path) = trained(3).await;
    let path = format!("{path}/gradients");
    let plain = server.get(&path).await.expect(200);
    let asked = server.get(&format!("{path}?histogram=true")).await;
    let mut asked = asked.expect(200);
    // Four samples; 2 → 3 → 1 units.
    let expected = [
        [
            ("weight_gradient", 6),
            ("bias_gradient", 3),
            ("deltas", 12),
            ("activations", 12),
            ("weights", 6),
        ],
        [
            ("weight_gradient", 3),
            ("bias_gradient", 1),
            ("deltas", 4),
            ("activations", 4),
            ("weights", 3),
        ],
    ];
    let rows = asked["data"].as_array_mut().expect("a list");
    assert_eq!(rows.len(), 3);
    for row in rows {
        for (layer, quantities) in expected.into_iter().enumerate() {
            let layer = &mut row["layers"][layer];
            let histograms = layer["histograms"].take();
            for (quantity, count) in quantities {
                let Value::Object(histogram) = &histograms[quantity] else {
                    panic!("no histogram of {quantity}: {histograms}");
                };
                let counts = histogram["counts"].as_array().expect("counts");
                let sum: u64 = counts.iter().filter_map(Value::as_u64).sum();
                assert_eq!((counts.len(), sum), (20, count), "{quantity}");
                let statistics = &layer[quantity];
                assert!(
                    number(&histogram["min"]) <= number(&statistics["min"]),
                    "{quantity}"
                );
                assert!(
                    number(&histogram["max"]) > number(&statistics["max"]),
                    "{quantity}"
                );
            }
            layer.as_object_mut().expect("a layer").remove("histograms");
        }
    }
    assert_eq!(asked, plain);
    let not = server.get(&format!("{path}?histogram=false")).await;
    assert_eq!(not.expect(200), plain);
    server.stop().await;
}

#[tokio::test]
async fn gradients_are_recorded_of_the_first_the_last_and_evenly_many_epochs_between() {
    let (server, path) = trained(1001).await;
    let path = format!("{path}/gradients");
    // At most 200 between: every ⌈1001 / 200⌉ = 6th.
    let expected: Vec<u64> = [1]
        .into_iter()
        .chain((6..=996).step_by(6))
        .chain([1001])
        .collect();
    assert_eq!(epochs(&server, &path).await, (expected.clone(), false));
    let after = epochs(&server, &format!("{path}?after=6&limit=3")).await;
    assert_eq!(after, (vec![12, 18, 24], true));
    let rest = epochs(&server, &format!("{path}?after=996")).await;
    assert_eq!(rest, (vec![1001], false));
    let page = server.get(&format!("{path}?layer=2")).await.expect(200);
    let rows = page["data"].as_array().expect("a list");
    assert_eq!(rows.len(), expected.len());
    for row in rows {
        let layers = row["layers"].as_array().expect("layers");
        assert_eq!((layers.len(), &layers[0]["layer"]), (1, &json!(2)));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_running_job_keeps_its_newest_checkpoints_with_their_figures() {
    let (server, short) = trained(1).await;
    // It was over before one was due; its end is kept.
    let last = server
        .get(&format!("{short}/checkpoints"))
        .await
        .expect(200);
    let rows = last["data"].as_array().expect("a list");
    assert_eq!((rows.len(), &rows[0]["epoch"]), (1, &json!(1)));
    let id = server.submit(long_job("xor")).await;
    let rows = until("two checkpoints", async || {
        let page = server
            .get(&format!("/v1/jobs/{id}/checkpoints"))
            .await
            .expect(200);
        let rows = page["data"].as_array().expect("a list").clone();
        if rows.len() > 1 { Ok(rows) } else { Err(page) }
    })
    .await;
    let place = |row: &Value| (row["epoch"].as_u64(), row["step"].as_u64());
    assert!(place(&rows[0]) > place(&rows[1]), "newest first: {rows:?}");
    for row in &rows {
        // However many epochs there are by now.
        let before = row["epoch"].as_u64().expect("a number") - 1;
        let path = format!("/v1/jobs/{id}/loss?after={before}&limit=1");
        let losses = server.get(&path).await.expect(200);
        assert_eq!(row["metrics"]["train"], losses["data"][0]["train"], "{row}");
        assert_eq!(text(&row["parameter_digest"]).len(), 64);
    }
    assert_ne!(rows[0]["parameter_digest"], rows[1]["parameter_digest"]);
    server.cancel(&id).await;
    server.stop().await;
}

#[tokio::test]
async fn losses_as_csv_are_those_of_the_json() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let accuracy = json!({"metrics": ["loss", "accuracy"], "validation": {"fraction": 0.25}});
    for more in [json!({}), accuracy] {
        let job = server.train(xor_job("xor", more)).await;
        let path = format!("/v1/jobs/{}/loss?after=2&limit=3&every=2", text(&job["id"]));
        let csv = server
            .request(Method::GET, &path)
            .header("Accept", "text/csv");
        let csv = send(csv).await;
        assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
        let json = server.get(&path).await;
        assert_eq!(
            (csv.header("vary"), json.header("vary")),
            ("Accept", "Accept")
        );
        let text = csv.text();
        let mut lines = text.lines();
        let header = "epoch,step,learning_rate,seconds,train_loss,train_accuracy,validation_loss,validation_accuracy,parameter_digest";
        assert_eq!(lines.next(), Some(header));
        let cell = |cell: &str| match cell.len() {
            64 => json!(cell),
            _ => serde_json::from_str::<Value>(cell).unwrap_or(Value::Null),
        };
        let table: Vec<Vec<Value>> = lines
            .map(|line| line.split(',').map(cell).collect())
            .collect();
        let rows = json.expect(200)["data"].take();
        let rows = rows.as_array().expect("a list").iter().map(|row| {
            let (train, validation) = (&row["train"], &row["validation"]);
            let figures =
                [train, validation].map(|split| [split["loss"].clone(), split["accuracy"].clone()]);
            let first = ["epoch", "step", "learning_rate", "seconds"].map(|name| row[name].clone());
            first
                .into_iter()
                .chain(figures.into_iter().flatten())
                .chain([row["parameter_digest"].clone()])
                .collect::<Vec<_>>()
        });
        assert_eq!(table, rows.collect::<Vec<_>>());
        assert_eq!(table.len(), 3);
    }
    server.stop().await;
}

#[tokio::test]
async fn every_epoch_has_the_digest_of_its_parameters_and_the_last_that_of_the_version() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let job = server
        .train(xor_job("xor", json!({"optimizer": "adam"})))
        .await;
    let id = text(&job["id"]);
    let losses = server.losses(&id).await;
    let digests: BTreeSet<_> = losses
        .iter()
        .map(|row| text(&row["parameter_digest"]))
        .collect();
    assert_eq!((losses.len(), digests.len()), (10, 10));
    let last = &losses[9]["parameter_digest"];
    let version = server.get("/v1/models/xor/versions/2").await.expect(200);
    assert_eq!(version["parameter_digest"], *last);
    let events = server.get(&format!("/v1/jobs/{id}/events")).await;
    let mut events = events.expect(200);
    let events = events["data"].as_array_mut().expect("a list");
    let mut epochs = events.iter().filter(|event| event["type"] == "epoch");
    let newest = epochs.next_back().expect("one at least");
    assert_eq!(newest["data"], losses[9]);
    server.stop().await;
}
