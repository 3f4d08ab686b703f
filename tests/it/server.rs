//! A server for a test: on a free port of the loopback, with a data directory of its own, and a client for it.

use std::future::Future;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gradientd::access::AccessFlags;
use gradientd::config::{Config, Kept, Limits, TRAINING_DATA_MIB};
use gradientd::server;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::conformance;

/// How long a test waits for what it has asked for, where nothing moves meanwhile.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a server may take to end.
const END: Duration = Duration::from_secs(8);

/// A client of a server.
pub(crate) struct Api {
    address: SocketAddr,
    client: Client,
}

/// A running server, and a client for it.
pub(crate) struct TestServer {
    api: Api,
    data_dir: TempDir,
    config: Config,
    end: oneshot::Sender<()>,
    running: JoinHandle<Result<(), server::Error>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Deref for TestServer {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl TestServer {
    /// A server with an empty data directory.
    pub(crate) async fn start() -> Self {
        Self::start_with(1, Limits::default()).await
    }

    /// A server with an empty data directory, so many job slots, and its own limits.
    pub(crate) async fn start_with(job_slots: u16, limits: Limits) -> Self {
        Self::start_in(scratch(), config(job_slots, limits)).await
    }

    /// A server with an empty data directory and so many job slots that keeps so much.
    pub(crate) async fn start_keeping(job_slots: u16, kept: Kept) -> Self {
        let config = Config {
            kept,
            ..config(job_slots, Limits::default())
        };
        Self::start_in(scratch(), config).await
    }

    /// A server with an empty data directory, on which a job trains with so many threads.
    pub(crate) async fn start_threaded(training_threads: u16) -> Self {
        let config = Config {
            training_threads,
            ..config(1, Limits::default())
        };
        Self::start_in(scratch(), config).await
    }

    pub(crate) async fn start_in(data_dir: TempDir, config: Config) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let config = Config {
            listen: address,
            data_dir: data_dir.path().to_owned(),
            ..config
        };
        let (end, ended) = oneshot::channel::<()>();
        let running = tokio::spawn(server::run(listener, config.clone(), async {
            let _ = ended.await;
        }));
        let server = Self {
            api: Api::of(address),
            data_dir,
            config,
            end,
            running,
        };
        // The listener takes the connection before the server is there to answer it: one request is enough.
        server.get("/readyz").await.expect(200);
        server
    }

    /// A server on the same data with something else in it, which is sealed as if a program had written it.
    pub(crate) async fn restart_changed(self, statements: &[&'static str]) -> Self {
        let config = self.config.clone();
        let data_dir = self.stop().await;
        let options = SqliteConnectOptions::new().filename(data_dir.path().join("gradientd.db"));
        let mut database = options.connect().await.expect("the database");
        for statement in statements {
            let changed = sqlx::query(*statement).execute(&mut database).await;
            let changed = changed.expect("a statement").rows_affected();
            assert!(changed > 0, "{statement}");
        }
        let unsealed = sqlx::query("PRAGMA user_version = 0");
        unsealed.execute(&mut database).await.expect("set");
        database.close().await.expect("it closes");
        Self::start_in(data_dir, config).await
    }

    /// Ends the server as SIGTERM does and starts another on the same data directory.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_| ()).await
    }

    /// The same, with something done to the data directory in between.
    pub(crate) async fn restart_after(self, between: impl FnOnce(&Path)) -> Self {
        let config = self.config.clone();
        let data_dir = self.stop().await;
        between(data_dir.path());
        Self::start_in(data_dir, config).await
    }

    /// Ends the server as SIGTERM does; its data directory is left.
    pub(crate) async fn stop(self) -> TempDir {
        let Self {
            data_dir,
            api,
            end,
            running,
            ..
        } = self;
        drop(api);
        let _ = end.send(());
        let ended = tokio::time::timeout(END, running).await;
        ended
            .expect("the server ends in time")
            .expect("the server does not panic")
            .expect("the server ends in order");
        data_dir
    }
}

impl Api {
    /// A client of the server at an address.
    pub(crate) fn of(address: SocketAddr) -> Self {
        let client = Client::builder().no_proxy().build().expect("a client");
        Self { address, client }
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A request that is not sent yet.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
            .timeout(PATIENCE)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PUT, path).json(&body)).await
    }

    /// A POST without a body, such as `cancel`.
    pub(crate) async fn tell(&self, path: &str) -> Answer {
        send(self.request(Method::POST, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// Uploads a table as `text/csv`.
    pub(crate) async fn upload(&self, name: &str, csv: impl Into<reqwest::Body>) -> Answer {
        let request = self.request(Method::POST, &format!("/v1/datasets?name={name}"));
        send(request.header("Content-Type", "text/csv").body(csv)).await
    }

    /// The outputs of the latest version for these rows.
    pub(crate) async fn predict(&self, model: &str, rows: Value) -> Value {
        let path = format!("/v1/models/{model}/predict");
        let answer = self.post(&path, json!({ "inputs": rows })).await;
        answer.expect(200)["outputs"].take()
    }

    /// Declares a model and gives it as it is answered.
    pub(crate) async fn create(&self, model: Value) -> Value {
        self.post("/v1/models", model).await.expect(201)
    }

    /// Submits a job and gives its id.
    pub(crate) async fn submit(&self, spec: Value) -> String {
        let job = self.post("/v1/jobs", spec).await.expect(202);
        text(&job["id"])
    }

    /// Submits a job and waits until it has succeeded.
    pub(crate) async fn train(&self, spec: Value) -> Value {
        let id = self.submit(spec).await;
        self.succeeded(&id).await
    }

    /// The job once it has succeeded.
    pub(crate) async fn succeeded(&self, id: &str) -> Value {
        let job = self.ended(id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        job
    }

    /// The job once it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        let ended = |job: &Value| {
            ["succeeded", "failed", "cancelled"].contains(&job["status"].as_str().unwrap_or(""))
        };
        self.job_once(id, ended).await
    }

    /// The job once it trains.
    pub(crate) async fn running(&self, id: &str) -> Value {
        self.job_once(id, |job| job["status"] == "running").await
    }

    /// Cancels a job.
    pub(crate) async fn cancel(&self, id: &str) -> Value {
        self.tell(&format!("/v1/jobs/{id}/cancel"))
            .await
            .expect(200)
    }

    /// The job once `reached` says so.
    pub(crate) async fn job_once(&self, id: &str, reached: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/jobs/{id}");
        until(&format!("job {id}"), async || {
            let job = self.get(&path).await.expect(200);
            if reached(&job) { Ok(job) } else { Err(job) }
        })
        .await
    }

    /// The loss history of a job, from the first epoch to the last.
    pub(crate) async fn losses(&self, id: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/jobs/{id}/loss?limit=10000")).await;
        let mut page = answer.expect(200);
        serde_json::from_value(page["data"].take()).expect("a list")
    }

    /// The bytes of a version's parameters, to compare to the last bit.
    pub(crate) async fn parameters(&self, model: &str, version: &str) -> Vec<u8> {
        let path = format!("/v1/models/{model}/versions/{version}/parameters");
        let request = self.request(Method::GET, &path);
        let answer = send(request.header("Accept", "application/x-safetensors")).await;
        assert_eq!(answer.status, 200);
        answer.bytes
    }
}

impl Answer {
    /// The JSON of an answer with this status; any other fails the test and shows the answer. Null where it is empty.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.bytes.is_empty() {
            return Value::Null;
        }
        self.json()
    }

    /// The problem of an answer with this status and type.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, slug: &str) -> Value {
        let media_type = self.header("content-type").to_owned();
        let problem = self.expect(status);
        assert_eq!(media_type, "application/problem+json", "{problem}");
        assert_eq!(problem["type"], format!("/problems/{slug}"), "{problem}");
        problem
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// A header's value, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or("")
    }
}

pub(crate) fn scratch() -> TempDir {
    TempDir::new().expect("a scratch folder")
}

/// A configuration without the address and the data directory, which each server has of its own.
pub(crate) fn config(job_slots: u16, limits: Limits) -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        data_dir: PathBuf::new(),
        access: AccessFlags::default(),
        job_slots,
        training_threads: 1,
        training_data_mib: TRAINING_DATA_MIB,
        memory_mib: 4096,
        max_attempts: 3,
        kept: Kept::default(),
        settings: Vec::new(),
        limits,
    }
}

/// A server with its own limits, whose answers pages of these origins may read: a client, and its data directory.
pub(crate) async fn serve(limits: Limits, origins: &[&str]) -> (Api, TempDir) {
    let data_dir = scratch();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.expect("a free port");
    let listen = listener.local_addr().expect("an address");
    let origins = origins.iter().map(|origin| origin.parse());
    let config = Config {
        listen,
        data_dir: data_dir.path().to_owned(),
        access: AccessFlags {
            cors_origins: origins.collect::<Result<_, _>>().expect("origins"),
            ..AccessFlags::default()
        },
        ..config(1, limits)
    };
    tokio::spawn(server::run(listener, config, std::future::pending()));
    (Api::of(listen), data_dir)
}

/// Sends a request and reads its answer, which must be one that the contract describes.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.expect("an answer");
    let answer = Answer {
        status: response.status(),
        headers: response.headers().clone(),
        bytes: response.bytes().await.expect("a whole answer").to_vec(),
    };
    let faults = conformance::faults(&method, &path, &answer);
    assert!(
        faults.is_empty(),
        "{method} {path}: {} is not what openapi.yaml says:\n{}\n{}",
        answer.status,
        faults.join("\n"),
        answer.text()
    );
    answer
}

/// Asks again and again until the answer is `Ok`. A test that waits too long fails and shows the last `Err`; as long as
/// that changes, as a job does that trains slowly on a busy machine, it goes on waiting, but not for ever.
pub(crate) async fn until<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let began = tokio::time::Instant::now();
    let mut changed = began;
    let mut before = String::new();
    loop {
        let last = match ask().await {
            Ok(found) => return found,
            Err(last) => format!("{last:?}"),
        };
        assert!(
            changed.elapsed() < PATIENCE && began.elapsed() < 5 * PATIENCE,
            "waited too long for {what}: {last}"
        );
        if last != before {
            (before, changed) = (last, tokio::time::Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The text of a JSON string.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// The number of a JSON number.
#[track_caller]
pub(crate) fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// The number of each pointer and detail of a problem's list of violations.
pub(crate) fn pointers(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    errors.iter().map(|error| text(&error["pointer"])).collect()
}

/// The exclusive-or network: two inputs, three sigmoid units, one sigmoid output.
pub(crate) fn xor_model(name: &str) -> Value {
    json!({
        "name": name, "inputs": 2, "dtype": "float64", "seed": 7,
        "layers": [{"units": 3, "activation": "sigmoid"}, {"units": 1, "activation": "sigmoid"}],
    })
}

/// A job that trains it with full batches; `more` is laid over it.
pub(crate) fn xor_job(model: &str, more: Value) -> Value {
    let mut job = json!({
        "model": model,
        "data": {"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]]},
        "optimizer": {"type": "gradient_descent", "learning_rate": 2.0},
        "epochs": 10, "batch_size": "full", "seed": 1,
    });
    if let (Some(job), Value::Object(more)) = (job.as_object_mut(), more) {
        job.extend(more);
    }
    job
}

/// So many rows of two inputs whose target is their exclusive or.
pub(crate) fn xor_rows(rows: usize) -> Value {
    let bits = |row: usize| [row / 2 % 2, row % 2];
    let inputs: Vec<_> = (0..rows).map(bits).collect();
    let targets: Vec<_> = inputs.iter().map(|[a, b]| [a ^ b]).collect();
    json!({"inputs": inputs, "targets": targets})
}

/// A job that would train for minutes: epochs of about a millisecond, 100,000 of them.
pub(crate) fn long_job(model: &str) -> Value {
    let more = json!({"data": xor_rows(4096), "epochs": 100_000, "batch_size": 4});
    xor_job(model, more)
}
