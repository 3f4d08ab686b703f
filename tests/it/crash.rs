//! Crashes: the program itself, killed at any moment, loses nothing it has acknowledged and ends jobs with the same bits.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::events::{log, moves, of_type};
use crate::prediction_runs::begun;
use crate::predictions::{result, submit, succeeded};
use crate::server::{Api, long_job, text, until, xor_job, xor_model, xor_rows};

/// How long a process may take to end once it is told to.
const END: Duration = Duration::from_secs(8);
/// The words by which it serves on a free port.
const SERVE: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// A process of the program on a free port, and a client for it. Dropped, it is killed.
pub(crate) struct Daemon {
    api: Api,
    child: Child,
    log: Option<JoinHandle<String>>,
}

impl Deref for Daemon {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    pub(crate) async fn start(data_dir: &Path) -> Self {
        let mut child = command(data_dir, &SERVE).spawn().expect("a process");
        let errors = child.stderr.take().expect("its log");
        let (ready, address) = oneshot::channel();
        let log = std::thread::spawn(move || read_log(errors, ready));
        let address = tokio::time::timeout(Duration::from_mins(1), address).await;
        let address = address
            .expect("it is ready in time")
            .expect("it gets ready");
        let (api, log) = (Api::of(address), Some(log));
        Self { api, child, log }
    }

    /// Ends the process as nothing but a power failure could do it more suddenly: `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a process to kill");
        let status = self.child.wait().expect("a status");
        assert_eq!(status.code(), None, "it ended by a signal");
    }

    /// Ends the process with SIGTERM and gives its exit code, how long it took and its log.
    async fn terminate(mut self) -> (Option<i32>, Duration, String) {
        let began = Instant::now();
        let told = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(told.expect("kill").success());
        let child = std::cell::RefCell::new(&mut self.child);
        let status = until("the end of the process", async || {
            let status = child.borrow_mut().try_wait().expect("a status");
            status.ok_or("still running")
        })
        .await;
        let took = began.elapsed();
        let log = self.log.take().expect("a log").join().expect("a log");
        (status.code(), took, log)
    }
}

/// The program on a data directory, with these words before that.
pub(crate) fn command(data_dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gradientd"));
    command.args(words).arg("--data-dir").arg(data_dir);
    for variable in ["LOG", "LISTEN", "DATA_DIR", "JOB_SLOTS", "TRAINING_THREADS"] {
        command.env_remove(format!("GRADIENTD_{variable}"));
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Reads the log to its end and tells the address from the line that says `ready`.
fn read_log(errors: ChildStderr, ready: oneshot::Sender<SocketAddr>) -> String {
    let (mut log, mut ready) = (String::new(), Some(ready));
    for line in BufReader::new(errors).lines().map_while(Result::ok) {
        let fields = serde_json::from_str(&line).map(|mut line: Value| line["fields"].take());
        if let Ok(fields) = fields
            && text(&fields["message"]).starts_with("ready")
            && let Some(ready) = ready.take()
        {
            let _ = ready.send(text(&fields["address"]).parse().expect("an address"));
        }
        log.push_str(&line);
        log.push('\n');
    }
    log
}

/// A job of 3,000 epochs of so many rows.
pub(crate) fn job(model: &str, rows: usize) -> Value {
    let more = json!({
        "data": xor_rows(rows), "epochs": 3000, "batch_size": 5, "validation": {"fraction": 0.1}, "seed": 9,
    });
    xor_job(model, more)
}

fn epoch(job: &Value) -> u64 {
    job["progress"]["epoch"].as_u64().expect("a number")
}

/// The history of a job, but for how long its epochs took.
async fn history(server: &Api, id: &str) -> Vec<Value> {
    let mut losses = server.losses(id).await;
    for row in &mut losses {
        row["seconds"].take();
    }
    losses
}

async fn checkpoints(server: &Api, id: &str) -> Vec<Value> {
    let page = server.get(&format!("/v1/jobs/{id}/checkpoints")).await;
    serde_json::from_value(page.expect(200)["data"].take()).expect("a list")
}

/// The bytes of everything that the server shows under these paths.
pub(crate) async fn shown(server: &Api, paths: &[String]) -> Vec<(String, String)> {
    let mut shown = Vec::new();
    for path in paths {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        shown.push((path.clone(), answer.text()));
    }
    shown
}

/// A server that takes up, for the second time, a job whose process was killed: once before there was a checkpoint, so
/// that it began anew; once after. None where this machine finished the job before a checkpoint was due.
async fn killed_twice(data_dir: &Path, rows: usize) -> Option<(Daemon, String)> {
    let server = Daemon::start(data_dir).await;
    for name in ["undisturbed", "killed"] {
        server.create(xor_model(name)).await;
    }
    let id = server.submit(job("killed", rows)).await;
    server.job_once(&id, |job| epoch(job) > 0).await;
    server.kill();

    let server = Daemon::start(data_dir).await;
    let path = format!("/v1/jobs/{id}");
    let kept = until("a checkpoint or the end", async || {
        let kept = checkpoints(&server, &id).await;
        let job = server.get(&path).await.expect(200);
        if kept.is_empty() && job["status"] != "succeeded" {
            return Err(job);
        }
        Ok(kept.first().cloned())
    })
    .await?;
    server.kill();

    let server = Daemon::start(data_dir).await;
    let taken = server
        .job_once(&id, |job| job["status"] != "queued" && epoch(job) > 0)
        .await;
    if taken["attempt"] == 2 {
        assert_eq!(taken["status"], "succeeded");
        return None;
    }
    assert!(
        epoch(&taken) >= kept["epoch"].as_u64().expect("a number"),
        "{taken} {kept}"
    );
    Some((server, id))
}

#[tokio::test]
async fn a_job_whose_process_is_killed_is_taken_up_and_ends_with_the_same_bits() {
    let mut rows = 8192;
    let (_data_dir, server, id) = loop {
        let data_dir = TempDir::new().expect("a scratch folder");
        if let Some((server, id)) = killed_twice(data_dir.path(), rows).await {
            break (data_dir, server, id);
        }
        rows *= 2;
    };
    let ended = server.succeeded(&id).await;
    assert_eq!(
        (&ended["attempt"], &ended["version"]),
        (&json!(3), &json!(2))
    );

    let undisturbed = server.train(job("undisturbed", rows)).await;
    assert_eq!(undisturbed["attempt"], 1);
    let (found, expected) = (
        history(&server, &id).await,
        history(&server, &text(&undisturbed["id"])).await,
    );
    assert_eq!(found.len(), 3000);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    let expected = server.parameters("undisturbed", "2").await;
    assert!(
        server.parameters("killed", "2").await == expected,
        "other bits"
    );
    assert_eq!(ended["metrics"], undisturbed["metrics"]);
    let report = async |job: &Value| {
        let path = format!("/v1/jobs/{}/report", text(&job["id"]));
        let mut report = server.get(&path).await.expect(200);
        assert_eq!(report["job"].take(), job["id"]);
        report
    };
    assert_eq!(report(&ended).await, report(&undisturbed).await);
}

#[tokio::test]
async fn the_log_of_a_job_whose_process_is_killed_goes_on_with_a_warning() {
    let data_dir = TempDir::new().expect("a scratch folder");
    let server = Daemon::start(data_dir.path()).await;
    server.create(xor_model("xor")).await;
    let id = server.submit(long_job("xor")).await;
    let kept = until("a checkpoint", async || {
        let kept = checkpoints(&server, &id).await;
        kept.first().cloned().ok_or(kept)
    })
    .await;
    let before = log(&server, &id).await;
    server.kill();

    let server = Daemon::start(data_dir.path()).await;
    let taken = server.job_once(&id, |job| job["attempt"] == 2).await;
    server.cancel(&id).await;
    let after = log(&server, &id).await;
    assert_eq!(before, after[..before.len()]);
    let warnings = of_type(&after, "warning");
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    assert_eq!(warning["code"], "process_ended");
    let set_back = warning["epoch"].as_u64().expect("a number");
    assert!(kept["epoch"].as_u64() <= Some(set_back), "{kept} {warning}");
    assert!(set_back <= epoch(&taken), "{warning} {taken}");
    let detail = format!(
        "the process that ran the job ended without a checkpoint of where it stood; epochs after {set_back} are made again"
    );
    assert_eq!(warning["detail"], detail);
    let statuses: Vec<_> = moves(&after)
        .into_iter()
        .map(|(status, _)| status)
        .collect();
    assert_eq!(
        statuses,
        ["queued", "running", "queued", "running", "cancelled"]
    );
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let data_dir = TempDir::new().expect("a scratch folder");
    let server = Daemon::start(data_dir.path()).await;
    server.create(xor_model("gone")).await;
    server.create(xor_model("xor")).await;
    server.upload("words", "w,x\na,1\nb,\n").await.expect(201);
    let trained = text(&server.train(xor_job("xor", json!({"epochs": 100}))).await["id"]);
    let deleted = server.submit(long_job("xor")).await;
    server.cancel(&deleted).await;
    server
        .delete(&format!("/v1/jobs/{deleted}"))
        .await
        .expect(204);
    let cancelled = server.submit(long_job("xor")).await;
    server.job_once(&cancelled, |job| epoch(job) > 0).await;
    server.cancel(&cancelled).await;
    let paused = server.submit(long_job("xor")).await;
    server.job_once(&paused, |job| epoch(job) > 0).await;
    server
        .tell(&format!("/v1/jobs/{paused}/pause"))
        .await
        .expect(200);
    let rows = json!({"inputs": [[0, 1], [1, 1]]});
    let predicted = server.post("/v1/models/xor/predict", rows.clone()).await;
    server
        .put("/v1/models/xor/aliases/champion", json!({"version": 1}))
        .await
        .expect(200);
    let mut paths: Vec<String> = [
        "models",
        "models/xor/versions",
        "models/xor/versions/champion",
        "models/xor/versions/2/parameters",
        "datasets",
        "datasets/words/summary",
        "jobs",
    ]
    .iter()
    .map(|path| format!("/v1/{path}"))
    .collect();
    paths.push(format!("/v1/jobs/{trained}/report"));
    for id in [&trained, &cancelled, &paused] {
        for part in ["loss?limit=10000", "events", "gradients", "checkpoints"] {
            paths.push(format!("/v1/jobs/{id}/{part}"));
        }
    }
    server.delete("/v1/models/gone").await.expect(204);
    let before = shown(&server, &paths).await;
    server.create(xor_model("last")).await;
    let last = text(&server.train(xor_job("last", json!({}))).await["id"]);
    server.kill();

    let server = Daemon::start(data_dir.path()).await;
    let model = server.get("/v1/models/last").await.expect(200);
    assert_eq!(model["latest_version"], 2);
    let job = server.get(&format!("/v1/jobs/{last}")).await.expect(200);
    assert_eq!(
        (&job["status"], &job["version"]),
        (&json!("succeeded"), &json!(2))
    );
    server.delete("/v1/models/last").await.expect(204);
    server.delete(&format!("/v1/jobs/{last}")).await.expect(204);
    for (found, expected) in shown(&server, &paths).await.iter().zip(&before) {
        assert_eq!(found, expected);
    }
    let again = server.post("/v1/models/xor/predict", rows).await;
    assert_eq!(again.text(), predicted.text());
    server
        .get("/v1/models/gone")
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn a_data_directory_belongs_to_one_process_at_a_time() {
    let data_dir = TempDir::new().expect("a scratch folder");
    let first = Daemon::start(data_dir.path()).await;
    first.create(xor_model("xor")).await;
    let path = data_dir.path().to_owned();
    let second = tokio::task::spawn_blocking(move || command(&path, &SERVE).output());
    let second = second.await.expect("a process").expect("its end");
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let expected = format!(
        "gradientd: the data directory {} is in use by another process: stop that first, or give another with --data-dir",
        data_dir.path().display()
    );
    assert_eq!(said.trim_end(), expected);
    first.get("/v1/models/xor").await.expect(200);
    first.kill();
    let next = Daemon::start(data_dir.path()).await;
    next.get("/v1/models/xor").await.expect(200);
}

#[tokio::test]
async fn sigterm_ends_the_process_in_order_with_a_checkpoint_of_the_running_job() {
    let data_dir = TempDir::new().expect("a scratch folder");
    let server = Daemon::start(data_dir.path()).await;
    server.create(xor_model("xor")).await;
    let id = server.submit(long_job("xor")).await;
    let reached = epoch(&server.job_once(&id, |job| epoch(job) > 0).await);
    let (code, took, log) = server.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(took < END, "{took:?}");
    let last = log.lines().last().expect("a line");
    assert!(last.contains("\"ended\""), "{log}");

    let server = Daemon::start(data_dir.path()).await;
    let kept = &checkpoints(&server, &id).await[0];
    assert!(kept["epoch"].as_u64() >= Some(reached), "{kept}");
    let taken = server.job_once(&id, |job| job["attempt"] == 2).await;
    assert!(epoch(&taken) >= reached, "{taken}");
    server.cancel(&id).await;
}

#[tokio::test]
async fn a_batch_prediction_whose_process_is_killed_begins_anew_and_ends_with_the_same_bytes() {
    let mut rows = 20_000;
    let (data_dir, server, path) = loop {
        let data_dir = TempDir::new().expect("a scratch folder");
        let server = Daemon::start(data_dir.path()).await;
        if let Some(path) = begun(&server, rows).await {
            break (data_dir, server, path);
        }
        rows *= 2;
    };
    server.kill();

    let server = Daemon::start(data_dir.path()).await;
    let ended = succeeded(&server, &path).await;
    assert_eq!(ended["progress"]["rows_done"], rows);
    let undisturbed = submit(&server, "slow", json!({"dataset": "many"})).await;
    succeeded(&server, &undisturbed).await;
    let killed = result(&server, &path).await.bytes;
    assert!(killed == result(&server, &undisturbed).await.bytes);
    server.kill();
}
