//! Load: predictions while jobs train and publish, always of a whole version and never of an older one than before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gradientd::config::Kept;
use serde_json::{Value, json};

use crate::server::{TestServer, long_job, number, text, xor_job, xor_model, xor_rows};

/// What a client was answered: the version and its outputs.
type Seen = (u64, Value);

fn rows() -> Value {
    json!({"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]]})
}

async fn ask(server: &TestServer, path: &str) -> Seen {
    let mut answer = server.post(path, rows()).await.expect(200);
    let version = answer["version"].as_u64().expect("a number");
    (version, answer["outputs"].take())
}

/// Asks until it is told to stop, and then once more.
async fn ask_on(server: Arc<TestServer>, stop: Arc<AtomicBool>) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let last = stop.load(Ordering::SeqCst);
        seen.push(ask(&server, "/v1/models/xor/predict").await);
        if last {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predictions_answer_while_a_step_of_another_model_takes_a_minute() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let large = json!({
        "name": "large", "inputs": 2,
        "layers": [{"units": 1024, "activation": "tanh"}, {"units": 1024, "activation": "tanh"},
                   {"units": 1, "activation": "sigmoid"}],
    });
    server.create(large).await;
    let before = ask(&server, "/v1/models/xor/predict").await;
    // One step of 65,536 rows × a million weights.
    let more = json!({"data": xor_rows(65_536), "epochs": 1, "batch_size": "full"});
    let id = server.submit(xor_job("large", more)).await;
    server.running(&id).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let began = Instant::now();
        assert_eq!(ask(&server, "/v1/models/xor/predict").await, before);
        slowest = slowest.max(began.elapsed());
    }
    // The model that is trained answers too, by the version that it has.
    let own = ask(&server, "/v1/models/large/predict").await;
    assert_eq!(own.0, 1);
    let job = server.get(&format!("/v1/jobs/{id}")).await.expect(200);
    assert_eq!(
        (&job["status"], &job["progress"]["epoch"]),
        (&json!("running"), &json!(0))
    );
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    server.cancel(&id).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predictions_see_whole_versions_that_never_go_backwards_while_jobs_publish() {
    let kept = Kept {
        keep_versions: 0,
        ..Kept::default()
    };
    let server = Arc::new(TestServer::start_keeping(2, kept).await);
    server.create(xor_model("xor")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3)
        .map(|_| tokio::spawn(ask_on(Arc::clone(&server), Arc::clone(&stop))))
        .collect();
    // Two slots train the one model: versions are published in whatever order the jobs end.
    let mut ids = Vec::new();
    for epochs in (0..20).map(|number| 1 + number % 7) {
        ids.push(
            server
                .submit(xor_job("xor", json!({"epochs": epochs})))
                .await,
        );
    }
    let mut versions = Vec::new();
    for id in &ids {
        let job = server.succeeded(id).await;
        let version = job["version"].as_u64().expect("a number");
        assert!(ask(&server, "/v1/models/xor/predict").await.0 >= version);
        versions.push(version);
    }
    stop.store(true, Ordering::SeqCst);
    versions.sort_unstable();
    assert_eq!(versions, (2..=21).collect::<Vec<_>>());

    let mut seen: Vec<Seen> = Vec::new();
    for client in clients {
        let answers = client.await.expect("a client");
        assert!(answers.is_sorted_by_key(|(version, _)| *version));
        assert_eq!(answers.last().map(|(version, _)| *version), Some(21));
        seen.extend(answers);
    }
    let outputs = whole_versions(&server).await;
    for (version, answer) in &seen {
        assert_eq!(answer, &outputs[*version as usize - 1], "version {version}");
    }
    let between = seen.iter().any(|(version, _)| (2..21).contains(version));
    assert!(between, "nobody asked while versions changed");
    let server = Arc::into_inner(server).expect("the clients have ended");
    server.stop().await;
}

/// The outputs of each version, in order.
async fn whole_versions(server: &TestServer) -> Vec<Value> {
    let mut outputs = Vec::new();
    for version in 1..=21 {
        let path = format!("/v1/models/xor/versions/{version}/predict");
        outputs.push(ask(server, &path).await.1);
    }
    outputs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_while_clients_predict_without_a_pause() {
    let server = Arc::new(TestServer::start().await);
    server.create(xor_model("xor")).await;
    server.create(xor_model("trained")).await;
    let id = server.submit(long_job("trained")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| tokio::spawn(ask_on(Arc::clone(&server), Arc::clone(&stop))))
        .collect();
    // Training has the lowest priority and still its turn.
    let beyond = |job: &Value| number(&job["progress"]["epoch"]) > 100.0;
    let job = server.job_once(&id, beyond).await;
    assert_eq!(text(&job["status"]), "running");
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        let seen = client.await.expect("a client");
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    }
    server.cancel(&id).await;
    let server = Arc::into_inner(server).expect("the clients have ended");
    server.stop().await;
}
