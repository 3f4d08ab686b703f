//! What makes the server easy to live with: HEAD, compression, and faults at the start that say what to do.

use std::path::Path;
use std::process::{Command, Output};

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::server::{Answer, TestServer, send, xor_model};

async fn zipped(server: &TestServer, path: &str, accept: &str) -> Answer {
    let request = server.request(Method::GET, path);
    let request = request.header("Accept-Encoding", "gzip");
    send(request.header("Accept", accept)).await
}

#[tokio::test]
async fn head_is_answered_as_get_is_but_without_a_body() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let paths = [
        "/healthz",
        "/readyz",
        "/problems/invalid-json",
        "/v1/models",
        "/v1/models?limit=1",
        "/v1/models/xor",
        "/v1/models/none",
        "/v1/models/xor/versions/1/parameters",
        "/v1/jobs",
        "/v1/datasets",
        "/nowhere",
    ];
    for path in paths {
        let get = server.get(path).await;
        let head = send(server.request(Method::HEAD, path)).await;
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.bytes.is_empty(), "{path}");
        for name in ["content-type", "content-length"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn a_path_says_which_methods_it_has() {
    let server = TestServer::start().await;
    for (path, allowed) in [
        ("/v1/models", ["GET", "HEAD", "POST"].as_slice()),
        ("/v1/models/xor", &["DELETE", "GET", "HEAD"]),
        ("/v1/models/xor/predict", &["POST"]),
        ("/v1/models/xor/aliases/best", &["DELETE", "PUT"]),
    ] {
        let answer = send(server.request(Method::PATCH, path)).await;
        let mut methods: Vec<_> = answer.header("allow").split(',').collect();
        methods.sort_unstable();
        assert_eq!(methods, allowed, "{path}");
        answer.problem(405, "method-not-allowed");
    }
}

#[tokio::test]
async fn long_answers_are_compressed_where_the_client_takes_it() {
    let server = TestServer::start().await;
    let layers = json!([{"units": 64, "activation": "tanh"}]);
    server
        .create(json!({"name": "wide", "inputs": 64, "layers": layers}))
        .await;
    let path = "/v1/models/wide/versions/1/parameters";
    let plain = server.get(path).await;
    assert_eq!(plain.header("content-encoding"), "");
    let json = zipped(&server, path, "application/json").await;
    assert_eq!(json.header("content-encoding"), "gzip");
    assert!(
        json.header("vary")
            .to_lowercase()
            .contains("accept-encoding")
    );
    assert!(json.bytes.starts_with(&[0x1f, 0x8b]));
    assert!(json.bytes.len() < plain.bytes.len() / 2);
    let bytes = zipped(&server, path, "application/x-safetensors").await;
    assert_eq!(bytes.status, 200);
    assert_eq!(bytes.header("content-encoding"), "");
    for refused in ["identity;q=0", "*;q=0", "gzip;q=0, identity;q=0"] {
        let request = server.request(Method::GET, path);
        let answer = send(request.header("Accept-Encoding", refused)).await;
        assert_eq!(
            (answer.status, answer.header("content-encoding")),
            (plain.status, "")
        );
    }
    let small = zipped(&server, "/healthz", "application/json").await;
    assert_eq!(small.header("content-encoding"), "");
}

/// What the program says where it cannot start.
fn fault(data_dir: &Path, flags: &[&str]) -> String {
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_gradientd"))
        .args(["--listen", "localhost:0", "--data-dir"])
        .arg(data_dir)
        .args(flags)
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(2), "{said}");
    said
}

#[test]
fn threads_that_training_cannot_have_are_refused_with_the_range() {
    let scratch = TempDir::new().expect("a scratch folder");
    for threads in ["0", "1025"] {
        let said = fault(scratch.path(), &["--training-threads", threads]);
        let expected = format!(
            "invalid value '{threads}' for '--training-threads <N>': {threads} is not in 1..=1024"
        );
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named_with_the_cure() {
    let scratch = TempDir::new().expect("a scratch folder");
    let file = scratch.path().join("file");
    std::fs::write(&file, "no directory").expect("a file");
    let said = fault(&file, &[]);
    let expected = format!("cannot use the data directory {}: ", file.display());
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains("give another with --data-dir"), "{said}");
}

#[test]
fn a_database_that_is_none_is_named_with_the_cure() {
    let scratch = TempDir::new().expect("a scratch folder");
    let database = scratch.path().join("gradientd.db");
    std::fs::write(database, "no database ".repeat(1000)).expect("a file");
    let said = fault(scratch.path(), &[]);
    let expected = format!(
        "the database {}/gradientd.db cannot be used: ",
        scratch.path().display()
    );
    assert!(said.contains(&expected), "{said}");
    assert!(
        said.contains("restore a backup with gradientd restore"),
        "{said}"
    );
}

#[test]
fn a_flag_that_is_wrong_is_answered_with_an_example() {
    let scratch = TempDir::new().expect("a scratch folder");
    let said = fault(scratch.path(), &["--cors-origin", "*"]);
    assert!(
        said.contains("such as https://example.org or http://localhost:3000"),
        "{said}"
    );
}
