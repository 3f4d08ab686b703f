//! Requests that a client library does not send: broken paths, heads and bodies, written byte by byte.

use std::time::Duration;

use gradientd::config::Limits;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{TestServer, xor_model};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that the server says to these bytes until it closes the connection.
pub(crate) async fn said(server: &TestServer, bytes: &[u8]) -> String {
    let stream = TcpStream::connect(server.address()).await;
    let mut stream = stream.expect("a connection");
    stream.write_all(bytes).await.expect("the server listens");
    heard(stream).await
}

/// The same where the client has nothing more to send, whatever it has promised.
async fn said_and_left(server: &TestServer, bytes: &[u8]) -> String {
    let stream = TcpStream::connect(server.address()).await;
    let mut stream = stream.expect("a connection");
    // The server may refuse a long head before it is sent whole.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    heard(stream).await
}

pub(crate) async fn heard(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // A connection that is reset has said what it had to say.
    let _ = read.expect("the server answers or closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer; 0 where there is none.
pub(crate) fn status(answer: &str) -> u16 {
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| answer.strip_prefix("HTTP/1.0 "));
    status.map_or(0, |rest| rest[..3].parse().expect("a status"))
}

/// The body of an answer, as JSON.
pub(crate) fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

pub(crate) fn post(path: &str, head: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n{body}")
}

#[tokio::test]
async fn a_path_with_a_broken_escape_is_a_404_problem() {
    let server = TestServer::start().await;
    for path in [
        "/v1/models/%",
        "/v1/models/%f",
        "/v1/models/%zz",
        "/v1/models/%ff",
        "/%",
        "/v1/jobs/%f/loss",
        "/v1/datasets/%%",
    ] {
        let answer = said(&server, get(path).as_bytes()).await;
        assert_eq!(status(&answer), 404, "{path}: {answer}");
        assert!(
            answer.contains("application/problem+json"),
            "{path}: {answer}"
        );
        assert_eq!(body(&answer)["status"], 404);
    }
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_harms_nobody() {
    let server = TestServer::start().await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n",
        "a".repeat(1 << 20)
    );
    let garbage: [(&[u8], &[u16]); 7] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[0, 400]),
        (b"hello\r\n\r\n", &[0, 400]),
        (b"GET\r\n\r\n", &[0, 400]),
        (b"GET / HTTP/9.9\r\n\r\n", &[0, 400]),
        (b"GET /v1/models HTTP/1.1\r\nHost a\r\n\r\n", &[400]),
        (
            b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            &[400, 404],
        ),
        (long.as_bytes(), &[0, 431]),
    ];
    for (bytes, expected) in garbage {
        let answer = said_and_left(&server, bytes).await;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        assert!(expected.contains(&status(&answer)), "{shown}: {answer}");
    }
    server.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn a_body_that_breaks_off_creates_nothing() {
    let server = TestServer::start().await;
    let model = xor_model("cut").to_string();
    let json = "Content-Type: application/json\r\n";
    let csv = "Content-Type: text/csv\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let whole_chunk = format!("{:x}\r\n{model}\r\n", model.len());
    let broken = [
        post(
            "/v1/models",
            &format!("{json}Content-Length: {}\r\n", model.len() + 1),
            &model,
        ),
        post("/v1/models", &format!("{json}{chunked}"), &whole_chunk),
        post(
            "/v1/models",
            &format!("{json}{chunked}"),
            &format!("{whole_chunk}zz\r\n"),
        ),
        post(
            "/v1/models",
            &format!("{json}{chunked}"),
            "ffffffffffffffffffff\r\n{",
        ),
        post(
            "/v1/datasets?name=cut",
            &format!("{csv}Content-Length: 100\r\n"),
            "a\n1\n2\n",
        ),
        post(
            "/v1/datasets?name=cut",
            &format!("{csv}{chunked}"),
            "4\r\na\n1\n\r\n",
        ),
    ];
    for request in broken {
        let answer = said_and_left(&server, request.as_bytes()).await;
        assert!([0, 400].contains(&status(&answer)), "{request}: {answer}");
        if answer.contains("problem+json") {
            assert_eq!(body(&answer)["type"], "/problems/broken-body", "{answer}");
        }
    }
    server.get("/v1/models/cut").await.problem(404, "not-found");
    server
        .get("/v1/datasets/cut")
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn a_chunked_body_is_read_like_any_other() {
    let server = TestServer::start().await;
    let model = xor_model("chunked").to_string();
    let (first, second) = model.split_at(20);
    let chunks = format!(
        "14\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        second.len()
    );
    let head = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let answer = said(&server, post("/v1/models", head, &chunks).as_bytes()).await;
    assert_eq!(status(&answer), 201, "{answer}");
    server.get("/v1/models/chunked").await.expect(200);
}

#[tokio::test]
async fn two_requests_written_at_once_are_answered_in_turn_with_ids_of_their_own() {
    let server = TestServer::start().await;
    let first = "GET /v1/models/first HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let both = format!("{first}{}", get("/v1/models/second"));
    let answer = said(&server, both.as_bytes()).await;
    let (first, second) = (answer.find("\\\"first\\\""), answer.find("\\\"second\\\""));
    assert!(first.is_some() && first < second, "{answer}");
    let ids: Vec<&str> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("x-request-id: "))
        .collect();
    assert_eq!(ids.len(), 2, "{answer}");
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_before_it_comes() {
    let server = TestServer::start().await;
    for (path, media_type, most) in [
        ("/v1/models", "application/json", 32u64 << 20),
        ("/v1/models/none/predict", "application/json", 8 << 20),
        ("/v1/datasets?name=t", "text/csv", 4 << 30),
    ] {
        let head = format!(
            "Content-Type: {media_type}\r\nContent-Length: {}\r\n",
            most + 1
        );
        let answer = said(&server, post(path, &head, "").as_bytes()).await;
        assert_eq!(status(&answer), 413, "{path}: {answer}");
        let detail = format!("the body must have at most {most} bytes");
        assert_eq!(body(&answer)["detail"], detail);
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_and_leaves_nothing() {
    let limits = Limits {
        request_seconds: 1,
        ..Limits::default()
    };
    let server = TestServer::start_with(1, limits).await;
    let model = xor_model("late").to_string();
    let length = model.len() + 1;
    let head = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
    let stream = TcpStream::connect(server.address()).await;
    let mut stream = stream.expect("a connection");
    let request = post("/v1/models", &head, &model);
    stream
        .write_all(request.as_bytes())
        .await
        .expect("the server listens");
    let mut answer = String::new();
    while !answer.ends_with('}') {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await;
        let count = read.expect("the server answers").expect("a connection");
        assert!(count > 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert_eq!(status(&answer), 503, "{answer}");
    assert_eq!(body(&answer)["type"], "/problems/took-too-long");
    assert_eq!(body(&answer)["detail"], "the request took more than 1 s");
    drop(stream);
    server
        .get("/v1/models/late")
        .await
        .problem(404, "not-found");
}
