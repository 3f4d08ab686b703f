//! Interruptions: a job paused, stopped with its server or cancelled, and what it ends with all the same.

use std::time::{Duration, Instant};

use gradientd::config::Limits;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::server::{TestServer, long_job, number, text, xor_job, xor_model, xor_rows};

const EPOCHS: u64 = 3000;

/// What a job has come to.
struct Ending {
    metrics: Value,
    history: Vec<Value>,
    parameters: Vec<u8>,
}

/// What the job comes to that nobody disturbs. Run once for all tests.
static UNDISTURBED: OnceCell<Ending> = OnceCell::const_new();

/// A job of some seconds: shuffled batches of which the last is shorter, and a validation after each epoch.
fn job() -> Value {
    let more = json!({
        "data": xor_rows(4096), "epochs": EPOCHS, "batch_size": 5, "validation": {"fraction": 0.1}, "seed": 9,
        "metrics": ["loss", "accuracy"],
    });
    xor_job("xor", more)
}

/// A server with one slot and the model that the job trains.
async fn prepared() -> TestServer {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    server
}

async fn undisturbed() -> Ending {
    let server = prepared().await;
    let id = server.submit(job()).await;
    let ending = ending(&server, &id, 1).await;
    server.stop().await;
    ending
}

/// What the job has come to in so many attempts, but for how long its epochs took.
async fn ending(server: &TestServer, id: &str, attempts: u64) -> Ending {
    let mut ended = server.succeeded(id).await;
    assert_eq!(ended["attempt"], attempts);
    assert_eq!(ended["progress"]["epoch"], EPOCHS);
    let mut history = server.losses(id).await;
    for row in &mut history {
        row["seconds"].take();
    }
    let page = server.get(&format!("/v1/jobs/{id}/gradients")).await;
    history.push(page.expect(200)["data"].take());
    let report = server.get(&format!("/v1/jobs/{id}/report")).await;
    let mut report = report.expect(200);
    report["job"].take();
    history.push(report);
    Ending {
        metrics: ended["metrics"].take(),
        history,
        parameters: server.parameters("xor", "2").await,
    }
}

/// The disturbed job has ended as the undisturbed one: the same bytes, the same history.
async fn assert_undisturbed(server: &TestServer, id: &str, attempts: u64) {
    let found = ending(server, id, attempts).await;
    let expected = UNDISTURBED.get_or_init(undisturbed).await;
    assert_eq!(found.history.len() as u64, EPOCHS + 2);
    for (found, expected) in found.history.iter().zip(&expected.history) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.metrics, expected.metrics);
    assert!(found.parameters == expected.parameters, "other bits");
}

/// Waits until the job has got beyond an epoch in this attempt, and gives the epoch it has reached.
async fn beyond(server: &TestServer, id: &str, epoch: u64) -> u64 {
    let beyond = |job: &Value| {
        let running = job["status"] == "running";
        running && job["progress"]["epoch"].as_u64() > Some(epoch)
    };
    let job = server.job_once(id, beyond).await;
    let reached = job["progress"]["epoch"].as_u64().expect("a number");
    assert!(
        reached < EPOCHS,
        "the job was over before it could be disturbed"
    );
    reached
}

async fn tell(server: &TestServer, id: &str, asked: &str) -> Value {
    server
        .tell(&format!("/v1/jobs/{id}/{asked}"))
        .await
        .expect(200)
}

async fn checkpoints(server: &TestServer, id: &str) -> Vec<Value> {
    let page = server.get(&format!("/v1/jobs/{id}/checkpoints")).await;
    serde_json::from_value(page.expect(200)["data"].take()).expect("a list")
}

#[tokio::test]
async fn a_job_paused_again_and_again_ends_with_the_bits_of_an_undisturbed_one() {
    let server = prepared().await;
    server.create(xor_model("other")).await;
    let id = server.submit(job()).await;
    let (mut epoch, mut steps) = (0, 0);
    for attempt in 1..=3 {
        beyond(&server, &id, epoch).await;
        let paused = tell(&server, &id, "pause").await;
        assert_eq!(
            (&paused["status"], &paused["attempt"]),
            (&json!("paused"), &json!(attempt))
        );
        assert_eq!(
            tell(&server, &id, "pause").await,
            paused,
            "asked twice, it is paused once"
        );
        epoch = paused["progress"]["epoch"].as_u64().expect("a number");
        assert_eq!(server.losses(&id).await.len() as u64, epoch);
        let newest = &checkpoints(&server, &id).await[0];
        assert_eq!(newest["epoch"], epoch, "it goes on from where it stood");
        steps += newest["step"].as_u64().expect("a number");
        // Its slot is free, and it stands still meanwhile.
        server.train(xor_job("other", json!({}))).await;
        let still = server.get(&format!("/v1/jobs/{id}")).await.expect(200);
        assert_eq!(still, paused);
        let resumed = tell(&server, &id, "resume").await;
        assert!(
            ["queued", "running"].contains(&text(&resumed["status"]).as_str()),
            "{resumed}"
        );
    }
    assert!(
        steps > 0,
        "three times out of three at the very end of an epoch"
    );
    assert_undisturbed(&server, &id, 4).await;
    server.stop().await;
}

#[tokio::test]
async fn a_paused_job_stays_paused_over_a_restart_and_ends_with_the_same_bits() {
    let server = prepared().await;
    let id = server.submit(job()).await;
    beyond(&server, &id, 0).await;
    let paused = tell(&server, &id, "pause").await;
    assert_eq!(paused["status"], "paused");
    let server = server.restart().await;
    // A job that came later has its turn, so a slot has looked for work and left this one alone.
    server.create(xor_model("other")).await;
    server.train(xor_job("other", json!({}))).await;
    let still = server.get(&format!("/v1/jobs/{id}")).await.expect(200);
    assert_eq!(still, paused);
    tell(&server, &id, "resume").await;
    assert_undisturbed(&server, &id, 2).await;
    server.stop().await;
}

#[tokio::test]
async fn a_running_job_is_taken_up_after_a_restart_and_ends_with_the_same_bits() {
    let mut server = prepared().await;
    let id = server.submit(job()).await;
    let mut epoch = 0;
    for _ in 0..2 {
        epoch = beyond(&server, &id, epoch).await;
        server = server.restart().await;
        let taken = server.get(&format!("/v1/jobs/{id}")).await.expect(200);
        let kept = taken["progress"]["epoch"].as_u64().expect("a number");
        assert!(
            kept >= epoch,
            "an orderly end loses no epoch: {kept} of {epoch}"
        );
    }
    assert_undisturbed(&server, &id, 3).await;
    server.stop().await;
}

#[tokio::test]
async fn a_cancelled_job_keeps_its_last_epoch_and_publishes_nothing() {
    let server = TestServer::start().await;
    for name in ["cancelled", "whole"] {
        server.create(xor_model(name)).await;
    }
    let id = server.submit(long_job("cancelled")).await;
    beyond(&server, &id, 3).await;
    let cancelled = server.cancel(&id).await;
    assert_eq!(cancelled["status"], "cancelled");
    assert!(cancelled["version"].is_null() && cancelled["finished_at"].is_string());
    let epoch = cancelled["progress"]["epoch"].as_u64().expect("a number");
    let losses = server.losses(&id).await;
    assert_eq!(losses.len() as u64, epoch);
    let kept = checkpoints(&server, &id).await;
    assert_eq!(
        (&kept[0]["epoch"], &kept[0]["step"]),
        (&json!(epoch), &json!(0))
    );
    assert_eq!(
        kept[0]["metrics"]["train"],
        losses[losses.len() - 1]["train"]
    );
    assert!(
        kept.iter().all(|checkpoint| checkpoint["step"] == 0),
        "{kept:?}"
    );
    let model = server.get("/v1/models/cancelled").await.expect(200);
    assert_eq!(model["latest_version"], 1);

    // A job of just so many epochs publishes what the cancelled one has kept.
    let mut whole = long_job("whole");
    whole["epochs"] = json!(epoch);
    let whole = server.train(whole).await;
    assert_eq!(whole["metrics"], cancelled["metrics"]);
    let version = server.get("/v1/models/whole/versions/2").await.expect(200);
    assert_eq!(version["parameter_digest"], kept[0]["parameter_digest"]);
    server.stop().await;
}

/// A job whose one epoch takes well over ten seconds on any machine: two layers of 1,024 units, 262,144 rows, 1.6 · 10¹²
/// multiplications and additions. Whether to stop is asked every 64
/// rows, which is some milliseconds.
fn slow(model: &str, batch_size: &Value) -> (Value, Value) {
    let declared = json!({
        "name": model, "inputs": 2,
        "layers": [{"units": 1024, "activation": "tanh"}, {"units": 1024, "activation": "tanh"},
                   {"units": 1, "activation": "sigmoid"}],
    });
    let more = json!({"data": xor_rows(262_144), "epochs": 3, "batch_size": batch_size});
    (declared, xor_job(model, more))
}

/// Asks a running job to stop and gives it back; it may take a second.
async fn stopped(server: &TestServer, id: &str, asked: &str) -> Value {
    let began = Instant::now();
    let job = tell(server, id, asked).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(job["progress"]["epoch"], 0, "the epoch is not over");
    job
}

#[tokio::test]
async fn a_job_stops_within_a_second_in_the_middle_of_a_long_epoch_or_step() {
    let server = TestServer::start_with(2, Limits::default()).await;
    let mut ids = Vec::new();
    for (name, batch_size) in [("steps", json!(64)), ("step", json!("full"))] {
        let (model, job) = slow(name, &batch_size);
        server.create(model).await;
        ids.push(server.submit(job).await);
        server.running(&ids[ids.len() - 1]).await;
    }
    // A checkpoint is due after a second, and 5 s later it is made in mid-epoch: training is under way by then.
    let made = crate::server::until("a checkpoint in mid-epoch", async || {
        let made = checkpoints(&server, &ids[0]).await;
        made.first().cloned().ok_or(made)
    })
    .await;
    assert!(
        number(&made["step"]) > 0.0 && made["metrics"].is_null(),
        "{made}"
    );

    let cancelled = stopped(&server, &ids[1], "cancel").await;
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(
        checkpoints(&server, &ids[1]).await,
        Vec::<Value>::new(),
        "no epoch is finished"
    );
    let paused = stopped(&server, &ids[0], "pause").await;
    assert_eq!(paused["status"], "paused");
    let newest = &checkpoints(&server, &ids[0]).await[0];
    assert!(number(&newest["step"]) >= number(&made["step"]), "{newest}");
    tell(&server, &ids[0], "resume").await;
    server.running(&ids[0]).await;
    assert_eq!(
        stopped(&server, &ids[0], "cancel").await["status"],
        "cancelled"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_cancel_at_the_very_end_wins_or_is_refused_and_never_does_both() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let mut versions = 1;
    for doubled in 0..16 {
        let id = server
            .submit(xor_job("xor", json!({"epochs": 1 << doubled})))
            .await;
        let answer = server.tell(&format!("/v1/jobs/{id}/cancel")).await;
        let job = server.ended(&id).await;
        if answer.status == 200 {
            assert_eq!(answer.expect(200), job);
            assert_eq!(
                (&job["status"], &job["version"]),
                (&json!("cancelled"), &json!(null))
            );
        } else {
            answer.problem(409, "illegal-move");
            versions += 1;
            assert_eq!(
                (&job["status"], &job["version"]),
                (&json!("succeeded"), &json!(versions))
            );
        }
        let model = server.get("/v1/models/xor").await.expect(200);
        assert_eq!(model["latest_version"], versions);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_job_paused_between_two_epochs_goes_on_with_what_its_optimizer_remembers() {
    let server = prepared().await;
    // One chunk for each epoch: wherever it is paused, an epoch is done and none is begun.
    let mut wide = xor_model("wide");
    wide["layers"][0]["units"] = json!(512);
    server.create(wide).await;
    let more =
        json!({"data": xor_rows(64), "epochs": 100_000, "optimizer": "adam", "batch_size": "full"});
    let id = server.submit(xor_job("wide", more)).await;
    let mut epoch = 0;
    for _ in 0..3 {
        let beyond = |job: &Value| job["progress"]["epoch"].as_u64() > Some(epoch);
        server.job_once(&id, beyond).await;
        let paused = tell(&server, &id, "pause").await;
        epoch = paused["progress"]["epoch"].as_u64().expect("a number");
        tell(&server, &id, "resume").await;
    }
    let moved =
        |job: &Value| job["status"] != "queued" && job["progress"]["epoch"].as_u64() != Some(epoch);
    let job = server.job_once(&id, moved).await;
    assert_eq!(
        (&job["status"], &job["error"]),
        (&json!("running"), &Value::Null)
    );
    server.cancel(&id).await;
    server.stop().await;
}
