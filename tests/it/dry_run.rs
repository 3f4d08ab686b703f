//! Dry runs: a job checked, resolved and estimated, of which nothing is stored.

use serde_json::{Value, json};

use crate::server::{Answer, TestServer, number, pointers, xor_job, xor_model, xor_rows};

const DRY: &str = "/v1/jobs?dry_run=true";

async fn scene() -> TestServer {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    server
}

async fn dry(server: &TestServer, job: &Value) -> Value {
    server.post(DRY, job.clone()).await.expect(200)
}

#[tokio::test]
async fn a_dry_run_stores_nothing_and_its_spec_is_that_of_the_job() {
    let server = scene().await;
    let table = "a,b,y\n".to_owned() + &"0,1,yes\n1,0,yes\n1,1,no\n".repeat(40);
    server.upload("t", table).await.expect(201);
    let words = json!({"name": "words", "inputs": 2, "loss": "cross_entropy", "preprocess": "standardize",
        "layers": [{"units": 2, "activation": "softmax"}]});
    server.create(words).await;
    let jobs = [
        xor_job(
            "xor",
            json!({"validation": {"inputs": [[0, 1]], "targets": [[1]]}}),
        ),
        json!({"model": "words", "data": {"dataset": "t", "target": "y"}, "validation": {"fraction": 0.25, "stratified": true}}),
        json!({"model": "words", "data": {"dataset": "t", "target": "y"}, "validation": {"dataset": "t"}, "class_weight": "balanced"}),
    ];
    for (job, parameters) in jobs.iter().zip([13, 6, 6]) {
        let before = server.get("/v1/jobs").await.text();
        let estimate = dry(&server, job).await;
        assert_eq!(server.get("/v1/jobs").await.text(), before);
        assert_eq!(estimate["parameter_count"], parameters);
        let seconds = number(&estimate["estimated_seconds"]);
        assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
        let real = server.post("/v1/jobs?dry_run=false", job.clone()).await;
        let real = real.expect(202);
        assert_eq!(real["spec"], estimate["spec"]);
        server.succeeded(real["id"].as_str().expect("an id")).await;
    }
}

#[tokio::test]
async fn a_dry_run_refuses_what_a_job_would_be_refused_for() {
    let server = scene().await;
    let bad = [
        xor_job("xor", json!({"epochs": 0, "batch_size": 0})),
        xor_job("none", json!({})),
        json!({"model": "xor", "data": {"dataset": "none", "target": "y"}}),
        json!({"model": "xor"}),
    ];
    let told = |answer: Answer| {
        let problem = answer.json();
        (answer.status, problem["detail"].clone(), pointers(&problem))
    };
    for job in bad {
        let real = told(server.post("/v1/jobs", job.clone()).await);
        assert_eq!(real.0, 422);
        assert_eq!(told(server.post(DRY, job).await), real);
    }
    for (query, detail) in [
        (
            "dry_run=1",
            "/dry_run must be one of true, false, got \"1\"",
        ),
        ("dry_run=", "/dry_run must be one of true, false, got \"\""),
        (
            "dry-run=true",
            "/dry-run is no parameter here: did you mean `dry_run`? known: dry_run",
        ),
    ] {
        let answer = server
            .post(&format!("/v1/jobs?{query}"), xor_job("xor", json!({})))
            .await;
        assert_eq!(answer.problem(422, "invalid-query")["detail"], detail);
    }
}

#[tokio::test]
async fn the_estimated_time_grows_with_the_epochs_and_the_memory_with_the_rows() {
    let server = scene().await;
    let job = |rows: usize, epochs: u64| {
        xor_job(
            "xor",
            json!({"data": xor_rows(rows), "epochs": epochs, "batch_size": 32}),
        )
    };
    let short = dry(&server, &job(1000, 10)).await;
    let long = dry(&server, &job(1000, 100_000)).await;
    let ratio = number(&long["estimated_seconds"]) / number(&short["estimated_seconds"]);
    assert!(ratio > 100.0, "{ratio}");
    assert_eq!(long["memory_bytes"], short["memory_bytes"]);
    let large = dry(&server, &job(100_000, 10)).await;
    let ratio = number(&large["memory_bytes"]) / number(&short["memory_bytes"]);
    assert!((20.0..=100.0).contains(&ratio), "{ratio}");
}
