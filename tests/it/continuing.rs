//! Jobs that go on from a checkpoint of another: to the same bits with the optimizer's state, and what cannot be taken over.

use serde_json::{Value, json};

use crate::server::{TestServer, long_job, pointers, text, xor_job, xor_model};

/// A job whose batches are in the same order in each epoch, so that it does not matter which number an epoch has.
fn ordered(epochs: u64, optimizer: &Value, more: Value) -> Value {
    let mut job = xor_job("xor", more);
    let fields =
        json!({"epochs": epochs, "optimizer": optimizer, "batch_size": 3, "shuffle": false});
    let Value::Object(fields) = fields else {
        unreachable!("an object")
    };
    let job_fields = job.as_object_mut().expect("an object");
    job_fields.extend(fields);
    if optimizer["type"] == "lbfgs" {
        job_fields.insert("batch_size".to_owned(), json!("full"));
    }
    job
}

#[tokio::test]
async fn with_the_state_of_the_optimizer_two_jobs_are_one_longer_one_to_the_last_bit() {
    for (optimizer, has_memory) in [
        (json!({"type": "adam", "learning_rate": 0.05}), true),
        (json!({"type": "nadam", "learning_rate": 0.05}), true),
        (
            json!({"type": "gradient_descent", "momentum": 0.9, "nesterov": true}),
            true,
        ),
        (json!({"type": "lbfgs", "history_size": 4}), true),
        (json!({"type": "gradient_descent"}), false),
    ] {
        let server = TestServer::start().await;
        server.create(xor_model("xor")).await;
        let parameters = async |job: &Value| {
            let version = job["version"].to_string();
            server.parameters("xor", &version).await
        };
        let first = server.train(ordered(6, &optimizer, json!({}))).await;
        let from = |state| json!({"from": {"job": first["id"], "optimizer_state": state}});
        let with = server.train(ordered(4, &optimizer, from(true))).await;
        let without = server.train(ordered(4, &optimizer, from(false))).await;
        let initial = json!({"from": {"initial": true}});
        let whole = server.train(ordered(10, &optimizer, initial)).await;
        let expected = parameters(&whole).await;
        assert!(parameters(&with).await == expected, "{optimizer}");
        assert_eq!(
            parameters(&without).await == expected,
            !has_memory,
            "{optimizer}"
        );
        assert_eq!(
            with["spec"]["from"],
            json!({"version": 1, "job": first["id"], "epoch": 6, "optimizer_state": true})
        );
        // Its epochs are counted from 1, and its losses are those of the longer one's last epochs.
        let losses = async |job: &Value| server.losses(&text(&job["id"])).await;
        let (with, whole) = (losses(&with).await, losses(&whole).await);
        assert_eq!(with.len(), 4);
        for (with, whole) in with.iter().zip(&whole[6..]) {
            assert_eq!(with["train"], whole["train"], "{optimizer}");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_job_has_what_it_starts_from_whatever_becomes_of_the_other() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let adam = json!({"type": "adam", "learning_rate": 0.05});
    let first = server.train(ordered(6, &adam, json!({}))).await;
    let more = json!({"from": {"job": first["id"], "optimizer_state": true}});
    let straight = server.train(ordered(4000, &adam, more.clone())).await;
    let expected = server
        .parameters("xor", &straight["version"].to_string())
        .await;

    let id = server.submit(ordered(4000, &adam, more)).await;
    server.tell(&format!("/v1/jobs/{id}/pause")).await;
    let path = format!("/v1/jobs/{}", text(&first["id"]));
    assert_eq!(server.delete(&path).await.status, 204);
    let server = server.restart().await;
    let job = server.get(&format!("/v1/jobs/{id}")).await.expect(200);
    if job["status"] == "paused" {
        server
            .tell(&format!("/v1/jobs/{id}/resume"))
            .await
            .expect(200);
    }
    let job = server.succeeded(&id).await;
    let found = server.parameters("xor", &job["version"].to_string()).await;
    assert!(found == expected);
    // What is taken over is dropped with the rows once the job has ended, and nothing else needs it.
    assert_eq!(server.delete(&format!("/v1/jobs/{id}")).await.status, 204);
    server.stop().await;
}

#[tokio::test]
async fn a_cancelled_job_is_gone_on_from_without_its_state() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let mut long = long_job("xor");
    long["optimizer"] = json!("adam");
    let id = server.submit(long).await;
    server
        .job_once(&id, |job| job["progress"]["epoch"].as_u64() > Some(3))
        .await;
    let cancelled = server.cancel(&id).await;
    let epoch = &cancelled["progress"]["epoch"];
    let more = json!({"from": {"job": id}, "optimizer": "adam"});
    let job = server.train(xor_job("xor", more)).await;
    assert_eq!(
        job["spec"]["from"],
        json!({"version": 1, "job": id, "epoch": epoch, "optimizer_state": false})
    );
    let more = json!({"from": {"job": id, "epoch": epoch}, "optimizer": "adam", "epochs": 1});
    let dry = server
        .post("/v1/jobs?dry_run=true", xor_job("xor", more))
        .await;
    assert_eq!(dry.expect(200)["spec"]["from"]["epoch"], *epoch);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_taken_over_is_refused_with_what_is_there() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    server.create(xor_model("other")).await;
    let adam = server
        .train(xor_job("xor", json!({"optimizer": "adam"})))
        .await;
    let (adam, unknown) = (&adam["id"], "01a20adb-7748-7577-ba20-38b559553eb2");
    let other = server.train(xor_job("other", json!({}))).await;
    let queued = server.submit(long_job("xor")).await;
    server.tell(&format!("/v1/jobs/{queued}/pause")).await;
    let with = |from: Value, optimizer: Value| json!({"from": from, "optimizer": optimizer});
    let state = |job: &Value| json!({"job": job, "optimizer_state": true});
    let both = json!({"job": adam, "version": 1});
    let kind = "must be {\"version\":n}, {\"initial\":true} or {\"job\":id}";
    let named = |optimizer: &str, got: &str| {
        format!(
            "must be \"{optimizer}\", as in the job whose optimizer_state is taken over, got \"{got}\""
        )
    };
    let cases = [
        (with(both, json!("adam")), "/from", kind.to_owned()),
        (
            with(json!({"job": unknown}), json!("adam")),
            "/from/job",
            format!("must be the id of a job, got \"{unknown}\", and there is none of that id"),
        ),
        (
            with(json!({"job": "X"}), json!("adam")),
            "/from/job",
            "must be the id of a job, got \"X\", and there is none of that id".to_owned(),
        ),
        (
            with(json!({"job": other["id"]}), json!("adam")),
            "/from/job",
            "must be a job of model \"xor\", got one of model \"other\"".to_owned(),
        ),
        (
            with(json!({"job": adam, "epoch": 7}), json!("adam")),
            "/from/epoch",
            "must be an epoch whose end is kept, got 7, and there are 10".to_owned(),
        ),
        (
            with(json!({"version": 1, "epoch": 7}), json!("adam")),
            "/from/epoch",
            "must be left out without job, got 7".to_owned(),
        ),
        (
            with(json!({"version": 1, "optimizer_state": true}), json!("adam")),
            "/from/optimizer_state",
            "must be false without job: a version has no optimizer's state, a checkpoint may have it"
                .to_owned(),
        ),
        (
            with(state(adam), json!("lion")),
            "/optimizer",
            named("adam", "lion"),
        ),
    ];
    for (more, pointer, detail) in cases {
        let refused = server.post("/v1/jobs", xor_job("xor", more)).await;
        let problem = refused.problem(422, "invalid-spec");
        assert_eq!(pointers(&problem), [pointer]);
        assert_eq!(problem["errors"][0]["detail"], json!(detail));
    }
    let more = with(
        state(&other["id"]),
        json!({"type": "gradient_descent", "momentum": 0.9}),
    );
    let refused = server.post("/v1/jobs", xor_job("other", more)).await;
    let problem = refused.problem(422, "invalid-spec");
    let said = "must remember 0 numbers of each parameter, as in the job whose optimizer_state is taken over, got 1";
    assert_eq!(problem["errors"][0]["detail"], said);
    // All at once, with what else is wrong.
    let more = json!({"from": state(adam), "optimizer": "lion", "epochs": 0});
    let refused = server.post("/v1/jobs", xor_job("xor", more)).await;
    let problem = refused.problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/epochs", "/optimizer"]);
    let more = json!({"from": {"job": unknown}, "epochs": 0});
    let refused = server.post("/v1/jobs", xor_job("xor", more)).await;
    let problem = refused.problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/from/job", "/epochs"]);
    // A model of the same name that came later is another one.
    server.cancel(&queued).await;
    let made = server.get("/v1/models/xor").await;
    let revision = made.header("etag").to_owned();
    assert!(!revision.is_empty());
    assert_eq!(server.delete("/v1/models/xor").await.status, 204);
    server.create(xor_model("xor")).await;
    let more = with(json!({"job": adam}), json!("adam"));
    let refused = server.post("/v1/jobs", xor_job("xor", more)).await;
    let problem = refused.problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/from/job"]);
    server.stop().await;
}
