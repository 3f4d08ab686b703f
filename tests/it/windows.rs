//! Tables that a job does not hold in memory: read in parts, to the same bits whatever the server's memory is said to be.

use gradientd::config::Config;
use serde_json::{Value, json};

use crate::server::{TestServer, config, number, pointers, scratch, text};

/// More than a stored chunk of 16,384.
const ROWS: usize = 17_000;

/// 60 words that each stand for a number, and a number: `y` is 2 x and what the word stands for.
fn table() -> String {
    let row = |row: usize| {
        let (word, x) = ((row * 7919) % 60, ((row * 31) % 1000) as f64 / 500.0 - 1.0);
        let y = 2.0 * x + ((word * 37) % 60) as f64 / 10.0;
        format!("{x},w{word},{},{y}\n", row % 3)
    };
    "x,word,weight,y\n".to_owned() + &(0..ROWS).map(row).collect::<String>()
}

/// A server whose jobs hold at most so many MiB of a dataset, with the table and a model of it.
async fn server(training_data_mib: u32) -> TestServer {
    let config = Config {
        training_data_mib,
        ..config(1, gradientd::config::Limits::default())
    };
    let server = TestServer::start_in(scratch(), config).await;
    server.upload("words", table()).await.expect(201);
    let columns =
        json!([{"name": "word", "encode": "one_hot"}, {"name": "weight", "role": "ignore"}]);
    for name in ["a", "b"] {
        let model = json!({"name": name, "dataset": "words", "target": "y", "columns": columns, "seed": 2,
            "hidden": [{"units": 8, "activation": "tanh"}]});
        server.create(model).await;
    }
    server
}

fn job(model: &str, more: Value) -> Value {
    let mut job = json!({
        "model": model, "epochs": 10, "seed": 3, "optimizer": {"type": "adam", "learning_rate": 0.01},
        "validation": {"fraction": 0.2},
    });
    if let (Some(job), Value::Object(more)) = (job.as_object_mut(), more) {
        job.extend(more);
    }
    job
}

#[tokio::test]
async fn a_table_larger_than_a_job_may_hold_is_learned_from_windows_that_its_spec_tells() {
    let server = server(1).await;
    let ended = server.train(job("a", json!({}))).await;
    // A row is 61 inputs and 1 output in float32 and two places: 256 bytes, of which 1 MiB has 4,096. A quarter is for validation.
    assert_eq!(ended["spec"]["window_rows"], 3072);
    let loss = number(&ended["metrics"]["validation"]["loss"]);
    assert!(loss < 0.01, "{loss}");
    let report = server
        .get(&format!("/v1/jobs/{}/report", text(&ended["id"])))
        .await
        .expect(200);
    let (train, validation) = (&report["train"], &report["validation"]);
    assert_eq!(
        (&train["rows"], &validation["rows"]),
        (&json!(13_600), &json!(3400))
    );
    assert!(number(&train["metrics"]["r2"]) > 0.99, "{report}");
    // What the report says of the validation rows, the epoch said, too, and an evaluation of all rows agrees with both.
    assert_eq!(number(&validation["metrics"]["loss"]), loss);
    let all = server
        .post(
            "/v1/models/a/versions/latest/evaluate",
            json!({"dataset": "words"}),
        )
        .await
        .expect(200);
    let mean = (13_600.0 * number(&train["metrics"]["loss"]) + 3400.0 * loss) / 17_000.0;
    let told = number(&all["metrics"]["loss"]);
    assert!((told - mean).abs() < 1e-6 * mean, "{told} {mean}");
    server.stop().await;

    // Another server, which could hold the table, comes to the same bits with the same window, and to others without.
    let roomy = self::server(256).await;
    let windowed = roomy.train(job("a", json!({"window_rows": 3072}))).await;
    assert_eq!(windowed["metrics"], ended["metrics"]);
    let held = roomy.train(job("b", json!({}))).await;
    assert_eq!(held["spec"].get("window_rows"), None);
    assert!(held["metrics"] != ended["metrics"]);
    assert!(number(&held["metrics"]["validation"]["loss"]) < 0.01);
    roomy.stop().await;
}

#[tokio::test]
async fn a_job_of_windows_that_is_stopped_with_the_server_goes_on_to_the_same_bits() {
    let server = server(1).await;
    let more =
        json!({"epochs": 20, "window_rows": 1000, "batch_size": 8, "metrics": ["loss", "r2"]});
    let undisturbed = server.train(job("a", more.clone())).await;
    let expected = server.parameters("a", "latest").await;
    let id = server.submit(job("b", more)).await;
    server
        .job_once(&id, |job| number(&job["progress"]["epoch"]) >= 2.0)
        .await;
    let server = server.restart().await;
    let resumed = server.succeeded(&id).await;
    assert_eq!(resumed["attempt"], 2);
    assert_eq!(resumed["metrics"], undisturbed["metrics"]);
    assert!(server.parameters("b", "latest").await == expected);
    server.stop().await;
}

#[tokio::test]
async fn what_needs_all_rows_at_once_is_refused_where_they_are_read_in_parts() {
    let server = server(1).await;
    let refused = async |more: Value, pointer: &str, detail: &str| {
        let problem = server.post("/v1/jobs", job("a", more)).await;
        let problem = problem.problem(422, "invalid-spec");
        assert_eq!(pointers(&problem), [pointer], "{problem}");
        assert!(problem.to_string().contains(detail), "{problem}");
    };
    let most =
        "must be at most 3072 rows, as many as the server's training_data_mib holds, of 13600";
    refused(json!({"batch_size": 4000}), "/batch_size", most).await;
    refused(
        json!({"batch_size": "full"}),
        "/batch_size",
        "--training-data-mib",
    )
    .await;
    refused(json!({"optimizer": "lbfgs"}), "/batch_size", most).await;
    let own = json!({"window_rows": 100, "batch_size": 101});
    let most = "must be at most 100 rows, its window_rows, of 13600";
    refused(own, "/batch_size", most).await;
    refused(
        json!({"window_rows": 0, "batch_size": 1}),
        "/window_rows",
        "must be in [1, 4294967295], got 0",
    )
    .await;
    let held = "must be at most 3072, three quarters of the rows that the server's training_data_mib holds, got 3073";
    refused(json!({"window_rows": 3073}), "/window_rows", held).await;
    for window in [100, 3072] {
        let most = json!({"window_rows": window, "batch_size": window, "epochs": 1});
        server.train(job("a", most)).await;
    }
    server.stop().await;
    // A window of all rows is none.
    let roomy = self::server(256).await;
    for window in [13_600, 4_294_967_295_u64] {
        let whole = json!({"window_rows": window, "batch_size": "full", "epochs": 1});
        roomy.train(job("a", whole)).await;
    }
    roomy.stop().await;
}
