//! `Idempotency-Key`: a request that makes something is carried out once, whatever happens to it or its client.

use std::collections::BTreeSet;

use gradientd::config::Limits;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::crash::Daemon;
use crate::server::{Answer, Api, TestServer, number, send, text, xor_job, xor_model};

const TABLE: &str = "w,x\na,1\nb,2\n";

fn keyed(server: &Api, path: &str, key: &str, body: &Value) -> RequestBuilder {
    let request = server.request(Method::POST, path).json(body);
    request.header("Idempotency-Key", key)
}

async fn post(server: &Api, path: &str, key: &str, body: &Value) -> Answer {
    send(keyed(server, path, key, body)).await
}

fn uploading(server: &Api, name: &str, key: &str, table: &str) -> RequestBuilder {
    let path = format!("/v1/datasets?name={name}");
    let request = server.request(Method::POST, &path).body(table.to_owned());
    let request = request.header("Content-Type", "text/csv");
    request.header("Idempotency-Key", key)
}

async fn upload(server: &Api, name: &str, key: &str, table: &str) -> Answer {
    send(uploading(server, name, key, table)).await
}

async fn count(server: &Api, list: &str) -> usize {
    let page = server.get(&format!("/v1/{list}?limit=100")).await;
    let page = page.expect(200);
    page["data"].as_array().expect("a list").len()
}

/// Fails unless the second answer is the first one again, to the byte.
#[track_caller]
fn assert_replayed(first: &Answer, again: &Answer) {
    assert_eq!(first.header("idempotent-replayed"), "", "{}", first.text());
    assert_eq!(
        again.header("idempotent-replayed"),
        "true",
        "{}",
        again.text()
    );
    assert_eq!(first.status, again.status);
    assert!(!first.header("location").is_empty());
    for header in ["location", "content-type"] {
        assert_eq!(first.header(header), again.header(header), "{header}");
    }
    assert_eq!(first.text(), again.text());
}

/// One of each thing that can be made, asked for with its own key.
async fn make_all(server: &Api) -> Vec<Answer> {
    vec![
        post(server, "/v1/models", "a-model", &xor_model("xor")).await,
        post(server, "/v1/jobs", "a-job", &xor_job("xor", json!({}))).await,
        upload(server, "words", "a-table", TABLE).await,
    ]
}

#[tokio::test]
async fn the_same_request_gets_the_same_bytes_again_even_after_a_restart_and_when_the_thing_is_gone()
 {
    let server = TestServer::start().await;
    let first = make_all(&server).await;
    assert_eq!(
        first
            .iter()
            .map(|answer| answer.status.as_u16())
            .collect::<Vec<_>>(),
        [201, 202, 201]
    );
    let id = text(&first[1].json()["id"]);
    server.succeeded(&id).await;
    for (first, again) in first.iter().zip(&make_all(&server).await) {
        assert_replayed(first, again);
    }
    let server = server.restart().await;
    server.delete("/v1/models/xor").await.expect(204);
    server.delete("/v1/datasets/words").await.expect(204);
    for (first, again) in first.iter().zip(&make_all(&server).await) {
        assert_replayed(first, again);
    }
    let counts = [
        count(&server, "models").await,
        count(&server, "jobs").await,
        count(&server, "datasets").await,
    ];
    assert_eq!(counts, [0, 1, 0]);
}

#[tokio::test]
async fn a_key_with_another_body_path_or_query_is_refused_and_makes_nothing() {
    let server = TestServer::start().await;
    post(&server, "/v1/models", "k", &xor_model("xor"))
        .await
        .expect(201);
    upload(&server, "words", "t", TABLE).await.expect(201);
    let refused = [
        post(&server, "/v1/models", "k", &xor_model("other")).await,
        post(&server, "/v1/jobs", "k", &xor_job("xor", json!({}))).await,
        post(&server, "/v1/jobs", "t", &xor_job("xor", json!({}))).await,
        upload(&server, "words", "t", "w,x\na,1\nb,3\n").await,
        upload(&server, "others", "t", TABLE).await,
        upload(&server, "others", "k", TABLE).await,
    ];
    for refused in refused {
        let problem = refused.problem(422, "idempotency-key-reused");
        let detail = text(&problem["detail"]);
        assert!(
            detail.ends_with("was used for a request with another path, query or body"),
            "{detail}"
        );
    }
    let counts = [
        count(&server, "models").await,
        count(&server, "jobs").await,
        count(&server, "datasets").await,
    ];
    assert_eq!(counts, [1, 0, 1]);
}

#[tokio::test]
async fn the_key_of_a_request_that_failed_is_free() {
    let server = TestServer::start().await;
    let early = post(&server, "/v1/jobs", "j", &xor_job("xor", json!({}))).await;
    early.problem(422, "invalid-spec");
    server.create(xor_model("xor")).await;
    let taken = post(&server, "/v1/models", "m", &xor_model("xor")).await;
    taken.problem(409, "already-exists");
    upload(&server, "t", "d", "w\n\"")
        .await
        .problem(422, "invalid-dataset");
    let now = post(&server, "/v1/jobs", "j", &xor_job("xor", json!({}))).await;
    assert_eq!(
        (now.status.as_u16(), now.header("idempotent-replayed")),
        (202, "")
    );
    post(&server, "/v1/models", "m", &xor_model("other"))
        .await
        .expect(201);
    upload(&server, "t", "d", TABLE).await.expect(201);
}

#[tokio::test]
async fn a_key_that_is_no_key_is_refused() {
    let server = TestServer::start().await;
    let body = xor_model("xor");
    for key in ["", "a b", "ä", &"k".repeat(129)] {
        let problem = post(&server, "/v1/models", key, &body)
            .await
            .problem(422, "invalid-header");
        let detail = text(&problem["detail"]);
        let rule = "Idempotency-Key must be given once and have 1 to 128 visible ASCII characters";
        assert_eq!(detail, format!("{rule}, got {} bytes", key.len()));
    }
    let twice = keyed(&server, "/v1/models", "a", &body).header("Idempotency-Key", "b");
    send(twice).await.problem(422, "invalid-header");
    post(&server, "/v1/models", &"~".repeat(128), &body)
        .await
        .expect(201);
}

#[tokio::test]
async fn of_many_requests_with_one_key_at_once_one_makes_and_the_others_replay() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let (model, job) = (xor_model("one"), xor_job("xor", json!({})));
    let table = format!("a,b\n{}", "1,2\n".repeat(20_000));
    let requests: [&dyn Fn() -> RequestBuilder; 3] = [
        &|| keyed(&server, "/v1/models", "m", &model),
        &|| keyed(&server, "/v1/jobs", "j", &job),
        &|| uploading(&server, "t", "d", &table),
    ];
    for request in requests {
        let sent: Vec<_> = (0..12).map(|_| tokio::spawn(send(request()))).collect();
        let mut made = 0;
        let mut answers = BTreeSet::new();
        for answer in sent {
            let answer = answer.await.expect("an answer");
            assert!(answer.status.is_success(), "{}", answer.text());
            made += usize::from(answer.header("idempotent-replayed").is_empty());
            answers.insert((answer.header("location").to_owned(), answer.text()));
        }
        assert_eq!((made, answers.len()), (1, 1));
    }
    let counts = [
        count(&server, "models").await,
        count(&server, "jobs").await,
        count(&server, "datasets").await,
    ];
    assert_eq!(counts, [2, 1, 1]);
}

#[tokio::test]
async fn a_key_is_forgotten_when_its_time_is_over() {
    let limits = Limits {
        idempotency_hours: 0,
        ..Limits::default()
    };
    let server = TestServer::start_with(1, limits).await;
    server.create(xor_model("xor")).await;
    let job = xor_job("xor", json!({}));
    let first = post(&server, "/v1/jobs", "j", &job).await.expect(202);
    // Kept since this very millisecond: it is forgotten with the next.
    crate::server::until("another job", async || {
        let again = post(&server, "/v1/jobs", "j", &job).await.expect(202);
        if again["id"] == first["id"] {
            Err(())
        } else {
            Ok(())
        }
    })
    .await;
}

/// Sends requests, all at once, until the process is killed under them. The answers that came.
async fn made_before_the_kill(server: Daemon, keys: usize) -> Vec<Option<Answer>> {
    let mut sent: Vec<_> = (0..keys)
        .map(|index| {
            let key = format!("key-{index}");
            let request = match index % 3 {
                0 => keyed(&server, "/v1/models", &key, &xor_model(&key)),
                1 => keyed(
                    &server,
                    "/v1/jobs",
                    &key,
                    &xor_job("xor", json!({"seed": index})),
                ),
                _ => uploading(&server, &key, &key, TABLE),
            };
            tokio::spawn(async move {
                let response = request.send().await.ok()?;
                let (status, headers) = (response.status(), response.headers().clone());
                let bytes = response.bytes().await.ok()?.to_vec();
                Some(Answer {
                    status,
                    headers,
                    bytes,
                })
            })
        })
        .collect();
    // The kill falls among the requests: some are answered by then, others are on their way.
    let mut answers = Vec::new();
    for request in sent.drain(..keys / 4) {
        answers.push(request.await.expect("a request"));
    }
    server.kill();
    for request in sent {
        answers.push(request.await.expect("a request"));
    }
    answers
}

#[tokio::test]
async fn after_a_kill_a_retry_neither_repeats_nor_loses() {
    const KEYS: usize = 60;
    let data_dir = TempDir::new().expect("a scratch folder");
    let server = Daemon::start(data_dir.path()).await;
    server.create(xor_model("xor")).await;
    let before = made_before_the_kill(server, KEYS).await;
    assert!(
        before.iter().any(Option::is_some),
        "the kill came too early"
    );

    let server = Daemon::start(data_dir.path()).await;
    for (index, before) in before.iter().enumerate() {
        let key = format!("key-{index}");
        let again = match index % 3 {
            0 => post(&server, "/v1/models", &key, &xor_model(&key)).await,
            1 => {
                post(
                    &server,
                    "/v1/jobs",
                    &key,
                    &xor_job("xor", json!({"seed": index})),
                )
                .await
            }
            _ => upload(&server, &key, &key, TABLE).await,
        };
        assert!(again.status.is_success(), "{key}: {}", again.text());
        // A place among the uploads is not everybody's at once: who was refused has made nothing.
        if let Some(before) = before
            && before.status.is_success()
        {
            assert_replayed(before, &again);
        }
    }
    let seeds = server.get("/v1/jobs?limit=100").await.expect(200);
    let seeds = seeds["data"].as_array().expect("a list").iter();
    let mut seeds: Vec<_> = seeds
        .map(|job| number(&job["spec"]["seed"]) as usize)
        .collect();
    seeds.sort_unstable();
    assert_eq!(seeds, (1..KEYS).step_by(3).collect::<Vec<_>>());
    assert_eq!(count(&server, "models").await, 1 + KEYS / 3);
    assert_eq!(count(&server, "datasets").await, KEYS / 3);
}
