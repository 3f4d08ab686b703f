//! Jobs that end when they have had their time, and what ended those that have succeeded.

use gradientd::config::Limits;
use serde_json::{Value, json};

use crate::server::{TestServer, long_job, number, pointers, text, xor_job, xor_model};

/// A job that would train for minutes, with so many seconds.
fn timed(seconds: f64) -> Value {
    let mut job = long_job("xor");
    job["max_seconds"] = json!(seconds);
    job
}

/// The seconds of epochs together.
fn seconds(losses: &[Value]) -> f64 {
    losses.iter().map(|row| number(&row["seconds"])).sum()
}

#[tokio::test]
async fn a_job_that_has_had_its_time_ends_with_the_epoch_it_is_in() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let job = server.train(timed(0.3)).await;
    assert_eq!(job["ended_by"], "max_seconds");
    assert_eq!(job["spec"]["max_seconds"], 0.3);
    let losses = server.losses(&text(&job["id"])).await;
    let (last, before) = losses.split_last().expect("an epoch");
    // The time that the reports take is counted too, so that the epochs alone may have a little less.
    assert!(seconds(before) < 0.3 && number(&last["seconds"]) > 0.0);
    assert!(seconds(&losses) > 0.15, "{}", seconds(&losses));
    assert_eq!(job["progress"]["epoch"], last["epoch"]);
    assert_eq!(job["progress"]["fraction"], json!(1.0));
    let version = server.get("/v1/models/xor/versions/2").await.expect(200);
    assert_eq!(version["lineage"]["epochs"], last["epoch"]);
    server.stop().await;
}

#[tokio::test]
async fn the_time_of_all_attempts_counts_and_that_of_pauses_does_not() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let id = server.submit(timed(4.0)).await;
    let path = format!("/v1/jobs/{id}");
    // Each attempt has less time than all of them.
    let mut epoch = 0.0;
    for attempt in 1..=3 {
        let beyond = |job: &Value| number(&job["progress"]["epoch"]) > epoch;
        server.job_once(&id, beyond).await;
        let paused = server.tell(&format!("{path}/pause")).await.expect(200);
        assert_eq!(
            (&paused["attempt"], &paused["ended_by"]),
            (&json!(attempt), &Value::Null)
        );
        epoch = number(&paused["progress"]["epoch"]);
        server.tell(&format!("{path}/resume")).await.expect(200);
    }
    let job = server.succeeded(&id).await;
    assert_eq!(job["ended_by"], "max_seconds");
    let losses = server.losses(&id).await;
    // Were the time counted anew in each attempt, the last alone would have all of it.
    let last = losses.iter().filter(|row| number(&row["epoch"]) > epoch);
    let last: Vec<Value> = last.cloned().collect();
    assert!(seconds(&last) < 4.0 - 0.2, "{}", seconds(&last));
    assert!(seconds(&losses) < 4.2, "{}", seconds(&losses));
    server.stop().await;
}

#[tokio::test]
async fn a_job_tells_what_ended_it() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    for (more, why) in [
        (json!({"max_seconds": 1e4}), json!("epochs")),
        (
            json!({"epochs": 5000, "early_stopping": {"min_delta": 1, "patience": 3}}),
            json!("early_stopping"),
        ),
        (
            json!({"epochs": 5000, "target_metric": {"metric": "loss", "value": 10}}),
            json!("target_metric"),
        ),
        (
            json!({"epochs": 5000, "optimizer": {"type": "lbfgs", "tolerance": 1}}),
            json!("converged"),
        ),
        (
            json!({"epochs": 5000, "max_seconds": 1e-9}),
            json!("max_seconds"),
        ),
    ] {
        let job = server.train(xor_job("xor", more)).await;
        assert_eq!(job["ended_by"], why);
    }
    let diverging = json!({"epochs": 500, "optimizer": {"type": "gradient_descent", "learning_rate": 1e6}, "max_seconds": 100,
        "regularization": {"l2": 1e6}});
    let id = server.submit(xor_job("xor", diverging)).await;
    let failed = server.ended(&id).await;
    assert_eq!(
        (&failed["status"], &failed["ended_by"]),
        (&json!("failed"), &Value::Null)
    );
    let id = server.submit(long_job("xor")).await;
    server.running(&id).await;
    assert_eq!(server.cancel(&id).await["ended_by"], Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn a_job_that_trains_for_longer_than_any_may_fails_and_another_goes_on_from_where_it_was() {
    let limits = Limits {
        job_seconds: 1,
        ..Limits::default()
    };
    let server = TestServer::start_with(1, limits).await;
    server.create(xor_model("xor")).await;
    let id = server.submit(long_job("xor")).await;
    let failed = server.ended(&id).await;
    assert_eq!(failed["status"], "failed");
    let error = &failed["error"];
    assert_eq!(error["code"], "time_limit");
    let expected = format!(
        "it has trained for 1 s, as long as a job may (job_seconds): what checkpoints it has are kept, submit a job with \"from\":{{\"job\":\"{id}\"}} to go on"
    );
    assert_eq!(error["detail"], expected);
    let epoch = failed["progress"]["epoch"].as_u64().expect("a number");
    let history = server.losses(&id).await;
    assert!(epoch > 0, "{failed}");
    let from = json!({"from": {"job": id}, "epochs": 2});
    let next = server.train(xor_job("xor", from)).await;
    let first = &server.losses(&text(&next["id"])).await[0]["train"]["loss"];
    let untrained = &history[0]["train"]["loss"];
    assert!(number(first) < number(untrained), "{first}, {untrained}");
    server.stop().await;
}

#[tokio::test]
async fn the_seconds_of_a_job_have_a_range_and_bound_its_estimate() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    for (seconds, said) in [
        (json!(0), "must be in (0, 86400], got 0"),
        (json!(-1.5), "must be in (0, 86400], got -1.5"),
        (json!(86_401), "must be in (0, 86400], got 86401"),
    ] {
        let refused = server
            .post("/v1/jobs", xor_job("xor", json!({"max_seconds": seconds})))
            .await;
        let problem = refused.problem(422, "invalid-spec");
        assert_eq!(pointers(&problem), ["/max_seconds"]);
        assert_eq!(problem["errors"][0]["detail"], said);
    }
    let dry = async |job: Value| server.post("/v1/jobs?dry_run=true", job).await.expect(200);
    let most = dry(xor_job("xor", json!({"max_seconds": 86_400}))).await;
    assert_eq!(most["spec"]["max_seconds"], json!(86_400.0));
    let least = dry(timed(1e-9)).await;
    assert_eq!(least["estimated_seconds"], json!(1e-9));
    server.stop().await;
}
