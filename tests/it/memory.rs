//! Memory: what jobs, models and requests hold comes out of one budget, and what is beyond it waits, or is refused with its bytes.

use bytes::Bytes;
use futures_util::StreamExt;
use gradientd::config::{Config, Limits};
use reqwest::{Body, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::observe::scraped;
use crate::server::{Answer, TestServer, config, scratch, send, text, until};

/// The smallest budget, in bytes: jobs may have 41,943,040 of them, a version 16,777,216 and a request 25,165,824.
const LEAST: f64 = (64 << 20) as f64;

fn with_memory(job_slots: u16, memory_mib: u32) -> Config {
    Config {
        memory_mib,
        ..config(job_slots, Limits::default())
    }
}

async fn small(job_slots: u16) -> TestServer {
    TestServer::start_in(scratch(), with_memory(job_slots, 64)).await
}

/// A model of 1000 × `units` weights of four bytes.
fn wide(name: &str, units: u64) -> Value {
    json!({"name": name, "inputs": 1000, "layers": [{"units": units, "activation": "tanh"}]})
}

/// A short job for it.
fn job(model: &str, units: usize) -> Value {
    let rows = |width| vec![vec![0.5; width]; 2];
    json!({"model": model, "epochs": 1, "data": {"inputs": rows(1000), "targets": rows(units)}})
}

async fn reserved(server: &TestServer) -> f64 {
    scraped(server).await["gradientd_memory_reserved_bytes"]
}

#[tokio::test]
async fn a_job_or_model_that_can_never_fit_is_refused_with_the_bytes_that_it_needs_and_may_have() {
    let server = small(1).await;
    server.create(wide("large", 1000)).await;
    let mut job = job("large", 1000);
    job["optimizer"] = json!({"type": "adam"});
    for path in ["/v1/jobs?dry_run=true", "/v1/jobs"] {
        let problem = server.post(path, job.clone()).await;
        let problem = problem.problem(422, "too-large");
        let detail = text(&problem["detail"]);
        let (needed, rest) = detail
            .strip_prefix("a job needs ")
            .and_then(|rest| rest.split_once(' '))
            .expect("what it needs");
        // The network, it before a step and after an epoch, two slots of adam, a gradient, and three of those in a checkpoint, three times.
        let needed: u64 = needed.parse().expect("a number");
        assert!(
            (15 * 4_004_000..17 * 4_004_000).contains(&needed),
            "{detail}"
        );
        assert_eq!(
            rest,
            "bytes of memory and may have at most 41943040: ask for less at once, or give the server more (--memory-mib)"
        );
    }
    let problem = server.post("/v1/models", wide("larger", 1600)).await;
    let problem = problem.problem(422, "too-large");
    let detail = "a request needs 25625600 bytes of memory and may have at most 25165824";
    assert!(text(&problem["detail"]).starts_with(detail), "{problem}");
    server
        .get("/v1/models/larger")
        .await
        .problem(404, "not-found");
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_can_never_fit_is_refused_before_it_comes_or_as_it_comes() {
    let server = small(1).await;
    server.create(wide("m", 1)).await;
    let rows = vec![vec![0.123_456; 1000]; 500];
    let body = json!({ "inputs": rows }).to_string();
    let pieces: Vec<_> = body.as_bytes().chunks(60_000).map(<[u8]>::to_vec).collect();
    let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    for body in [Body::from(body), Body::wrap_stream(pieces)] {
        let request = server.request(Method::POST, "/v1/models/m/predict");
        let request = request.header("Content-Type", "application/json");
        let problem = send(request.body(body)).await;
        let problem = problem.problem(413, "body-too-large");
        // A sixth of what a request may have.
        assert_eq!(
            problem["detail"],
            "the body must have at most 4194304 bytes"
        );
    }
    let few = json!({ "inputs": rows[..100] });
    server.post("/v1/models/m/predict", few).await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn sixty_four_jobs_that_exceed_the_budget_together_all_end_and_never_hold_more_than_it() {
    let server = small(8).await;
    server.create(wide("m", 750)).await;
    let mut ids = Vec::new();
    for _ in 0..64 {
        ids.push(server.submit(job("m", 750)).await);
    }
    let (mut most, mut running, mut waited) = (0.0_f64, 0.0_f64, false);
    let progress = async || {
        let found = scraped(&server).await;
        assert_eq!(found["gradientd_memory_budget_bytes"], LEAST);
        let jobs = |status| found[&format!("gradientd_jobs{{status=\"{status}\"}}")];
        (
            found["gradientd_memory_reserved_bytes"],
            jobs("running"),
            jobs("succeeded"),
        )
    };
    loop {
        let (held, now, ended) = progress().await;
        (most, running) = (most.max(held), running.max(now));
        let next = server
            .get("/v1/jobs?status=queued&order=asc&limit=1")
            .await
            .expect(200);
        waited |= next["data"][0]["waiting_for"] == "memory";
        if ended == 64.0 {
            break;
        }
    }
    assert!(most <= LEAST, "{most}");
    // Of two of 21 MB one has room, and seven slots wait.
    assert_eq!(running, 1.0);
    assert!(waited, "no job was seen to wait for memory");
    for id in ids {
        let job = server.succeeded(&id).await;
        assert_eq!(job["waiting_for"], Value::Null);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_job_that_a_server_with_more_memory_took_fails_where_it_can_never_fit() {
    let server = TestServer::start_in(scratch(), with_memory(1, 256)).await;
    server.create(wide("m", 2000)).await;
    let mut long = job("m", 2000);
    long["epochs"] = json!(100_000);
    let id = server.submit(long).await;
    server
        .tell(&format!("/v1/jobs/{id}/pause"))
        .await
        .expect(200);
    server.job_once(&id, |job| job["status"] == "paused").await;
    let server = TestServer::start_in(server.stop().await, with_memory(1, 64)).await;
    server
        .tell(&format!("/v1/jobs/{id}/resume"))
        .await
        .expect(200);
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "failed");
    assert_eq!(job["error"]["code"], "insufficient_memory");
    let detail = text(&job["error"]["detail"]);
    assert!(detail.contains("may have at most 41943040"), "{detail}");
    server.stop().await;
}

#[tokio::test]
async fn more_versions_than_fit_into_memory_answer_as_if_all_of_them_were_there() {
    let server = small(1).await;
    let rows = json!({"inputs": [vec![0.25; 1000]]});
    let mut answers = Vec::new();
    for number in 0..20 {
        let name = format!("m{number}");
        server.create(wide(&name, 1000)).await;
        answers.push(predicted(&server, &name, &rows).await);
        assert!(reserved(&server).await <= LEAST);
    }
    assert!(scraped(&server).await["gradientd_models_loaded"] < 17.0);
    let server = server.restart().await;
    for _ in 0..2 {
        for (number, answer) in answers.iter().enumerate() {
            let again = predicted(&server, &format!("m{number}"), &rows).await;
            assert!(again == *answer, "m{number} answers otherwise");
            assert!(reserved(&server).await <= LEAST);
        }
    }
    // A job has its memory though versions would fill it.
    server.train(job("m3", 1000)).await;
    assert!(scraped(&server).await["gradientd_models_loaded"] >= 4.0);
    server.stop().await;
}

async fn predicted(server: &TestServer, model: &str, rows: &Value) -> Vec<u8> {
    let path = format!("/v1/models/{model}/predict");
    let answer = server.post(&path, rows.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.bytes
}

#[tokio::test]
async fn what_does_not_fit_now_is_told_to_come_again_and_is_taken_once_others_have_ended() {
    let server = small(1).await;
    let before = reserved(&server).await;
    let (first, held) = (open_upload(&server, "a"), before + f64::from(24 << 20));
    until("the first upload", async || at_least(&server, held).await).await;
    let (second, held) = (open_upload(&server, "b"), held + f64::from(24 << 20));
    until("the second upload", async || at_least(&server, held).await).await;
    let refused = server.upload("c", "x\n1\n").await;
    assert_eq!(refused.header("retry-after"), "1");
    let problem = refused.problem(503, "insufficient-memory");
    let detail = text(&problem["detail"]);
    assert!(
        detail.starts_with("a request needs 25165824 bytes of memory and "),
        "{detail}"
    );
    assert!(
        detail.ends_with(" are free now: try again in a moment"),
        "{detail}"
    );
    for (end, answer) in [first, second] {
        drop(end);
        answer.await.expect("no panic").expect(201);
    }
    server.upload("c", "x\n1\n").await.expect(201);
    assert_eq!(reserved(&server).await, before);
    server.stop().await;
}

#[tokio::test]
async fn bodies_that_stop_short_hold_a_quarter_and_others_are_answered_meanwhile() {
    let server = small(1).await;
    server.create(wide("m", 1)).await;
    let before = reserved(&server).await;
    let spaces = Bytes::from(vec![b' '; 3 << 20]);
    let (mut ends, mut stalled) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let request = server.request(Method::POST, "/v1/jobs");
        let request = request.header("Content-Type", "application/json");
        let (end, answer) = open_body(request, spaces.clone());
        ends.push(end);
        stalled.push(answer);
    }
    // Two bytes for each that has come: two of them have room in 16 MiB, and the others are told to come again.
    until("four are refused", async || {
        let ended = stalled.iter().filter(|one| one.is_finished()).count();
        if ended == 4 { Ok(()) } else { Err(ended) }
    })
    .await;
    while let Some(at) = stalled
        .iter()
        .position(tokio::task::JoinHandle::is_finished)
    {
        let problem = stalled.remove(at).await.expect("no panic");
        let problem = problem.problem(503, "insufficient-memory");
        let detail = text(&problem["detail"]);
        assert!(detail.starts_with("a body needs "), "{detail}");
    }
    let held = reserved(&server).await - before;
    assert!(
        (f64::from(11 << 20)..=f64::from(16 << 20)).contains(&held),
        "{held}"
    );
    let rows = json!({"inputs": vec![vec![0.5; 1000]; 20]});
    predicted(&server, "m", &rows).await;
    server.train(job("m", 1)).await;
    drop(ends);
    for answer in stalled {
        let answer = answer.await.expect("no panic");
        answer.problem(400, "invalid-json");
    }
    until("all is given back", async || {
        // But for the version that was trained.
        let left = reserved(&server).await - before;
        if left <= f64::from(64 << 10) {
            Ok(())
        } else {
            Err(left)
        }
    })
    .await;
    server.stop().await;
}

async fn at_least(server: &TestServer, bytes: f64) -> Result<(), f64> {
    let held = reserved(server).await;
    if held >= bytes { Ok(()) } else { Err(held) }
}

/// An upload whose body goes on until the sender is dropped.
fn open_upload(
    server: &TestServer,
    name: &str,
) -> (mpsc::Sender<Bytes>, tokio::task::JoinHandle<Answer>) {
    let request = server.request(Method::POST, &format!("/v1/datasets?name={name}"));
    let request = request.header("Content-Type", "text/csv");
    open_body(request, Bytes::from_static(b"x\n1\n"))
}

/// A request whose body begins so, and goes on until the sender is dropped.
fn open_body(
    request: RequestBuilder,
    first: Bytes,
) -> (mpsc::Sender<Bytes>, tokio::task::JoinHandle<Answer>) {
    let (pieces, more) = mpsc::channel::<Bytes>(1);
    pieces.try_send(first).expect("room");
    let more = futures_util::stream::unfold(more, async |mut more| {
        more.recv()
            .await
            .map(|piece| (Ok::<_, std::io::Error>(piece), more))
    });
    let request = request.body(Body::wrap_stream(more.boxed()));
    (pieces, tokio::spawn(send(request)))
}
