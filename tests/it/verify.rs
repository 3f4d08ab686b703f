//! Verification: epochs of a job trained once more, to the bits of its history or to the first that differs.

use std::cell::RefCell;

use gradientd::config::Limits;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::server::{
    Answer, Api, TestServer, long_job, number, pointers, text, until, xor_job, xor_model, xor_rows,
};

/// What a verification of the job answers.
async fn verify(api: &Api, id: &str, span: Value) -> Value {
    let path = format!("/v1/jobs/{id}/verify");
    api.post(&path, span).await.expect(200)
}

/// The job verifies from an epoch to its last.
async fn assert_identical(api: &Api, id: &str, from: u64, span: Value) {
    let last = api.losses(id).await.len() as u64;
    let mut found = verify(api, id, span).await;
    assert!(number(&found["seconds"].take()) > 0.0);
    let expected = json!({
        "job": id, "from_epoch": from, "to_epoch": last, "epochs": last - from, "identical": true,
        "first_difference": null, "seconds": null,
    });
    assert_eq!(found, expected);
}

async fn prepared() -> TestServer {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    server
}

/// A job with all that draws at random: shuffled batches, dropout, noise, and Adam's memory.
fn noisy(more: Value) -> Value {
    let mut job = json!({
        "data": xor_rows(60), "epochs": 12, "batch_size": 7, "optimizer": {"type": "adam", "learning_rate": 0.05},
        "regularization": {"dropout": 0.2, "input_noise": 0.1}, "seed": 9, "schedule": "cosine",
    });
    if let (Some(job), Value::Object(more)) = (job.as_object_mut(), more) {
        job.extend(more);
    }
    xor_job("xor", job)
}

#[tokio::test]
async fn a_job_verifies_whatever_it_is_trained_by() {
    let server = prepared().await;
    let rows = json!({"inputs": [[0, 1], [1, 1]], "targets": [[1], [0]]});
    for more in [
        json!({"validation": {"fraction": 0.2}}),
        json!({"validation": rows, "optimizer": "lion", "schedule": {"type": "reduce_on_plateau", "patience": 1}}),
        json!({"optimizer": "rmsprop", "early_stopping": {"patience": 2, "min_delta": 0.05}}),
        json!({"optimizer": {"type": "gradient_descent", "momentum": 0.9, "nesterov": true}}),
        json!({"optimizer": "lbfgs", "batch_size": "full", "regularization": {}, "schedule": "constant"}),
        json!({"cross_validation": {"folds": 3}, "from": {"initial": true}}),
        json!({"from": {"version": 2}, "epochs": 3}),
    ] {
        let job = server.train(noisy(more)).await;
        assert_identical(&server, &text(&job["id"]), 0, json!({})).await;
    }
    // With other threads, and after a restart.
    let job = server.train(noisy(json!({}))).await;
    let server = server.restart().await;
    let id = text(&job["id"]);
    assert_identical(&server, &id, 0, json!({"from_epoch": 0})).await;
    let part = verify(&server, &id, json!({"to_epoch": 5})).await;
    assert_eq!(
        (&part["to_epoch"], &part["epochs"], &part["identical"]),
        (&json!(5), &json!(5), &json!(true))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_job_on_a_table_verifies_as_long_as_its_revision_is_there() {
    let server = TestServer::start().await;
    let rows = (0..40).map(|row| format!("{},{},{}", row % 7, row % 3, row % 2));
    let table = format!("a,b,c\n{}\n", rows.collect::<Vec<_>>().join("\n"));
    server.upload("t", table.clone()).await.expect(201);
    let model = json!({"name": "m", "dataset": "t", "target": "c", "hidden": [{"units": 4, "activation": "tanh"}]});
    server.create(model).await;
    let job = json!({"model": "m", "epochs": 6, "optimizer": "adam", "refit": true, "validation": {"fraction": 0.25}});
    let id = text(&server.train(job).await["id"]);
    assert_identical(&server, &id, 0, json!({})).await;
    assert_eq!(server.delete("/v1/datasets/t").await.status, 204);
    let refused = server
        .post(&format!("/v1/jobs/{id}/verify"), json!({}))
        .await;
    let detail = text(&refused.problem(409, "not-verifiable")["detail"]);
    assert!(
        detail.ends_with("the dataset \"t\", or the revision of it that the job read, is gone: upload the same rows under that name"),
        "{detail}"
    );
    server.upload("t", table).await.expect(201);
    assert_identical(&server, &id, 0, json!({})).await;
    server.stop().await;
}

#[tokio::test]
async fn a_job_that_was_paused_and_resumed_verifies_while_it_trains_and_from_its_checkpoints() {
    let server = prepared().await;
    let mut long = long_job("xor");
    long["optimizer"] = json!("adam");
    let id = server.submit(long).await;
    let mut epoch = 0;
    for _ in 0..2 {
        let beyond = |job: &Value| {
            job["status"] == "running" && job["progress"]["epoch"].as_u64() > Some(epoch + 20)
        };
        server.job_once(&id, beyond).await;
        let paused = server
            .tell(&format!("/v1/jobs/{id}/pause"))
            .await
            .expect(200);
        epoch = paused["progress"]["epoch"].as_u64().expect("a number");
        assert_identical(&server, &id, 0, json!({"from_epoch": 0})).await;
        server
            .tell(&format!("/v1/jobs/{id}/resume"))
            .await
            .expect(200);
    }
    // It stores a checkpoint of an epoch's end once a second, and goes on. The pause may have come at the end of an epoch itself.
    let found = until("a checkpoint to start from", async || {
        let found = verify(&server, &id, json!({})).await;
        let from = found["from_epoch"].as_u64().expect("a number");
        if from > epoch {
            Ok(found)
        } else {
            Err(found["to_epoch"].clone())
        }
    })
    .await;
    assert_eq!(found["identical"], true, "{found}");
    // One before the last epoch that is asked for: there is none before the first, and one before that which comes after it.
    server.cancel(&id).await;
    let kept = found["from_epoch"].as_u64().expect("a number");
    let path = format!("/v1/jobs/{id}/checkpoints/{kept}");
    let is_kept = server.get(&path).await.status == 200;
    for (to, from) in [(1, Some(0)), (kept + 1, is_kept.then_some(kept))] {
        let found = verify(&server, &id, json!({"to_epoch": to})).await;
        let begun = found["from_epoch"].as_u64();
        assert!(
            from.is_none_or(|from| begun == Some(from)) && begun < Some(to),
            "{found}"
        );
        assert_eq!(found["identical"], true, "{found}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_first_epoch_that_differs_is_told_with_what_differs() {
    let server = prepared().await;
    let job = noisy(json!({"validation": {"fraction": 0.2}}));
    let id = text(&server.train(job).await["id"]);
    let losses = server.losses(&id).await;
    let digest = |epoch: usize| losses[epoch - 1]["parameter_digest"].clone();
    let mut server = server;
    for (change, expected) in [
        (
            "UPDATE history SET learning_rate = 0.125 WHERE epoch = 9",
            json!({"epoch": 9, "field": "learning_rate", "stored": 0.125, "found": losses[8]["learning_rate"]}),
        ),
        (
            "UPDATE history SET validation = json_set(validation, '$.loss', 0.5) WHERE epoch = 7",
            json!({"epoch": 7, "field": "validation", "stored": {"loss": 0.5}, "found": losses[6]["validation"]}),
        ),
        (
            "UPDATE history SET parameter_digest = (SELECT h.parameter_digest FROM history h WHERE h.epoch = 4) WHERE epoch = 3",
            json!({"epoch": 3, "field": "parameter_digest", "stored": digest(4), "found": digest(3)}),
        ),
    ] {
        server = server.restart_changed(&[change]).await;
        let found = verify(&server, &id, json!({})).await;
        assert_eq!(found["identical"], false);
        assert_eq!(found["first_difference"], expected);
        assert_eq!(found["epochs"], expected["epoch"]);
    }
    let damage =
        "UPDATE history SET parameter_digest = substr(parameter_digest, 2) || 'x' WHERE epoch = 2";
    let server = server.restart_changed(&[damage]).await;
    let path = format!("/v1/jobs/{id}/verify");
    server.post(&path, json!({})).await.problem(500, "damaged");
    server.stop().await;
}

#[tokio::test]
async fn a_job_that_did_something_else_than_its_spec_says_is_found_out() {
    let mut server = prepared().await;
    let mut line = xor_model("line");
    line["layers"] = json!([{"units": 1, "activation": "identity"}]);
    server.create(line).await;
    for (model, change, epoch, field) in [
        (
            "xor",
            "UPDATE jobs SET spec = json_set(spec, '$.seed', 10)",
            1,
            "parameter_digest",
        ),
        (
            "xor",
            "UPDATE jobs SET spec = json_set(spec, '$.target_metric', json('{\"metric\":\"loss\",\"value\":100}'))",
            2,
            "epoch",
        ),
        (
            "line",
            "UPDATE jobs SET spec = json_set(spec, '$.optimizer', json('{\"type\":\"gradient_descent\",\"learning_rate\":1e300,\"momentum\":0.0,\"nesterov\":false}'))",
            1,
            "error",
        ),
    ] {
        let id = text(&server.train(noisy(json!({"model": model}))).await["id"]);
        assert_identical(&server, &id, 0, json!({})).await;
        server = server.restart_changed(&[change]).await;
        let found = verify(&server, &id, json!({})).await;
        let difference = &found["first_difference"];
        assert_eq!(
            (&difference["epoch"], &difference["field"]),
            (&json!(epoch), &json!(field)),
            "{found}"
        );
        assert_eq!(server.delete(&format!("/v1/jobs/{id}")).await.status, 204);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_verified_is_refused_with_what_to_do() {
    let limits = Limits {
        verify_seconds: 1,
        ..Limits::default()
    };
    let server = TestServer::start_with(1, limits).await;
    server.create(xor_model("xor")).await;
    let refused = async |server: &TestServer, id: &str, span: Value| {
        let answer = server.post(&format!("/v1/jobs/{id}/verify"), span).await;
        answer.problem(409, "not-verifiable")
    };
    let broken = async |server: &TestServer, id: &str, span: Value| {
        let answer = server.post(&format!("/v1/jobs/{id}/verify"), span).await;
        answer.problem(422, "invalid-spec")
    };
    let long = server.submit(long_job("xor")).await;
    server.running(&long).await;
    let queued = server.submit(xor_job("xor", json!({}))).await;
    let problem = refused(&server, &queued, json!({})).await;
    assert_eq!(
        problem["detail"],
        format!(
            "job {queued} cannot be verified: it has no history yet: ask once an epoch is in it"
        )
    );
    server.cancel(&long).await;
    server.succeeded(&queued).await;
    let problem = broken(&server, &queued, json!({"from_epoch": 10, "to_epoch": 11})).await;
    assert_eq!(pointers(&problem), ["/from_epoch", "/to_epoch"]);
    let problem = broken(&server, &queued, json!({"from_epoch": 4})).await;
    assert_eq!(
        problem["detail"],
        "/from_epoch must be 0 or an epoch whose end is kept, got 4, and there are 10"
    );

    // Epochs that took 0.3 s each, of which the first two are from before digests.
    let server = server
        .restart_changed(&["UPDATE history SET seconds = 0.3"])
        .await;
    assert_eq!(verify(&server, &queued, json!({})).await["to_epoch"], 3);
    let problem = broken(&server, &queued, json!({"to_epoch": 4})).await;
    assert_eq!(
        problem["detail"],
        "/to_epoch must be at most 3, got 4: epochs 1 to 3 are those that took at most 1 s together"
    );
    let server = server
        .restart_changed(&["UPDATE history SET parameter_digest = NULL WHERE epoch <= 2"])
        .await;
    let problem = refused(&server, &queued, json!({})).await;
    let detail = text(&problem["detail"]);
    assert!(
        detail.ends_with(": from_epoch must be at least 2"),
        "{detail}"
    );

    // The copy of a checkpoint goes with the job's end.
    let from = json!({"from": {"job": queued}});
    let id = text(&server.train(xor_job("xor", from)).await["id"]);
    let detail = text(&refused(&server, &id, json!({})).await["detail"]);
    assert!(
        detail.contains("its copy of the checkpoint that it started from was dropped"),
        "{detail}"
    );

    // Rows of more than 1 MiB, too.
    let rows = json!({"data": xor_rows(50_000), "epochs": 1});
    let id = text(&server.train(xor_job("xor", rows)).await["id"]);
    let detail = text(&refused(&server, &id, json!({})).await["detail"]);
    assert!(
        detail.contains("its rows were dropped when it ended"),
        "{detail}"
    );

    // And the version that it started from.
    let id = text(&server.train(xor_job("xor", json!({}))).await["id"]);
    let version = server.get(&format!("/v1/jobs/{id}")).await.expect(200)["base_version"].clone();
    let path = format!("/v1/models/xor/versions/{version}");
    assert_eq!(server.delete(&path).await.status, 204);
    let detail = text(&refused(&server, &id, json!({})).await["detail"]);
    assert!(detail.contains("that it started from is gone"), "{detail}");
    assert_eq!(server.delete("/v1/models/xor").await.status, 204);
    server.create(xor_model("xor")).await;
    let detail = text(&refused(&server, &id, json!({})).await["detail"]);
    assert!(
        detail.ends_with("the model \"xor\" that it trained was deleted"),
        "{detail}"
    );
    server.stop().await;
}

#[tokio::test]
async fn one_verification_runs_at_a_time_and_stops_with_its_client_or_the_server() {
    let server = prepared().await;
    let id = server.submit(long_job("xor")).await;
    let enough = |job: &Value| job["progress"]["epoch"].as_u64() > Some(1000);
    server.job_once(&id, enough).await;
    server.cancel(&id).await;
    let path = format!("/v1/jobs/{id}/verify");
    let short = json!({"to_epoch": 1});
    let (first, refused) = begun(&server, &path, &short).await;
    assert_eq!(refused.header("retry-after"), "1");
    let problem = refused.problem(503, "busy");
    assert_eq!(problem["detail"], "at most 1 verification at once");
    first.abort();
    // Its client has gone: the next has its turn.
    let next = until("the next turn", async || {
        let answer = server.post(&path, short.clone()).await;
        if answer.status == 200 {
            Ok(answer)
        } else {
            Err(answer.problem(503, "busy")["detail"].clone())
        }
    });
    let next = next.await;
    assert_eq!(next.expect(200)["identical"], true);
    let (last, _) = begun(&server, &path, &short).await;
    server.stop().await;
    let answer = last.await.expect("a task").expect("an answer");
    assert_eq!(answer.status(), 503);
}

/// A verification of all epochs that runs, and the answer to another meanwhile.
async fn begun(
    server: &TestServer,
    path: &str,
    short: &Value,
) -> (JoinHandle<reqwest::Result<reqwest::Response>>, Answer) {
    let begin = || {
        let whole = json!({"from_epoch": 0});
        let request = server.request(Method::POST, path).json(&whole);
        tokio::spawn(request.send())
    };
    let running = RefCell::new(begin());
    let refused = until("a verification that runs", async || {
        let answer = server.post(path, short.clone()).await;
        // The short one may have had its turn before it.
        if running.borrow().is_finished() {
            running.replace(begin());
        } else if answer.status == 503 {
            return Ok(answer);
        }
        Err(())
    })
    .await;
    (running.into_inner(), refused)
}
