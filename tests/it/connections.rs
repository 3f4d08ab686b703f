//! Connections that are slow, silent, half open or too many: each is closed in its time, and none keeps another from its answer.

use gradientd::config::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::raw::{body, get, heard, post, status};
use crate::server::{TestServer, until, xor_model};

/// Times of a second where a client would wait for them.
fn short() -> Limits {
    Limits {
        head_seconds: 1,
        idle_seconds: 2,
        stall_seconds: 1,
        body_grace_seconds: 1,
        body_idle_seconds: 2,
        body_seconds: 3,
        ..Limits::default()
    }
}

async fn connected(server: &TestServer, bytes: &[u8]) -> TcpStream {
    let stream = TcpStream::connect(server.address()).await;
    let mut stream = stream.expect("a connection");
    stream.write_all(bytes).await.expect("the server listens");
    stream
}

/// The number of a gauge or counter.
pub(crate) async fn measured(server: &TestServer, name: &str) -> u64 {
    let text = server.get("/metrics").await.text();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let number = lines.next().expect("the metric").trim();
    number.parse().expect("a whole number")
}

#[tokio::test]
async fn a_connection_that_sends_nothing_is_closed_and_half_a_head_is_told_why() {
    let server = TestServer::start_with(1, short()).await;
    let began = Instant::now();
    assert_eq!(heard(connected(&server, b"").await).await, "");
    let half = heard(connected(&server, b"GET /healthz HT").await).await;
    assert_eq!(status(&half), 408, "{half}");
    assert_eq!(body(&half)["type"], "/problems/timeout");
    assert_eq!(
        body(&half)["detail"],
        "the head of the request did not come within 1 s"
    );
    assert!(began.elapsed().as_secs() >= 2);
    server.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn a_connection_is_kept_between_requests_for_a_while_and_then_closed() {
    let server = TestServer::start_with(1, short()).await;
    let kept = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut stream = connected(&server, kept).await;
    let mut answer = [0; 1024];
    // Longer than a head may take, and shorter than a connection may be idle.
    let mut silence = tokio::time::interval(std::time::Duration::from_millis(1200));
    silence.tick().await;
    for _ in 0..3 {
        let length = stream.read(&mut answer).await.expect("an answer");
        assert_eq!(status(&String::from_utf8_lossy(&answer[..length])), 200);
        silence.tick().await;
        stream.write_all(kept).await.expect("it is open");
    }
    let rest = heard(stream).await;
    assert_eq!(rest.matches("HTTP/1.1").count(), 1, "{rest}");
}

#[tokio::test]
async fn a_body_that_drips_is_a_408_and_an_upload_too() {
    let server = TestServer::start_with(1, short()).await;
    let json = "Content-Type: application/json\r\nContent-Length: 1000\r\n";
    let drip = heard(connected(&server, post("/v1/models", json, "{").as_bytes()).await).await;
    assert_eq!(status(&drip), 408, "{drip}");
    let told = "the body must come at 1024 bytes per second at least once 1 s are over, got 1 bytes in 1 s";
    assert_eq!(body(&drip)["detail"], told);
    let csv = "Content-Type: text/csv\r\nContent-Length: 1000\r\n";
    let upload = post("/v1/datasets?name=slow", csv, "a,b\n1,");
    let upload = heard(connected(&server, upload.as_bytes()).await).await;
    assert_eq!(status(&upload), 408, "{upload}");
    let told = "the body must come at 16384 bytes per second at least once 1 s are over, got 6 bytes in 1 s";
    assert_eq!(body(&upload)["detail"], told);
    server.get("/v1/datasets/slow").await.expect(404);
}

#[tokio::test]
async fn who_does_not_read_the_answer_is_dismissed() {
    let server = TestServer::start_with(1, short()).await;
    let wide =
        json!({"name": "wide", "inputs": 1000, "layers": [{"units": 1000, "activation": "tanh"}]});
    server.create(wide).await;
    // Some twenty megabytes of JSON, of which the kernel keeps a few.
    let asked = get("/v1/models/wide/versions/1/parameters");
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(connected(&server, asked.as_bytes()).await);
    }
    until("the connections to be closed", async || {
        match measured(&server, "gradientd_connections ").await {
            1 => Ok(()),
            more => Err(more),
        }
    })
    .await;
    // What the kernels kept comes, but not the whole.
    for mut stream in streams {
        let mut came = Vec::new();
        let _ = stream.read_to_end(&mut came).await;
        let head = String::from_utf8_lossy(&came[..300]).into_owned();
        let (_, length) = head.split_once("content-length: ").expect("a length");
        let length = length.split("\r\n").next().expect("a line");
        assert!(came.len() < length.parse().expect("a number"), "{length}");
    }
}

#[tokio::test]
async fn where_all_places_are_taken_the_one_that_is_silent_longest_goes() {
    let limits = Limits {
        connections: 4,
        ..Limits::default()
    };
    let server = TestServer::start_with(1, limits).await;
    let mut silent = Vec::new();
    for bytes in ["", "GET", "POST /v1/models HTTP/1.1\r\n", "", "", "G"] {
        silent.push(connected(&server, bytes.as_bytes()).await);
    }
    for _ in 0..3 {
        let one = heard(connected(&server, get("/healthz").as_bytes()).await).await;
        assert_eq!(status(&one), 200, "{one}");
    }
    // One after the other, while those that make room for them end.
    for _ in 0..20 {
        let one = heard(connected(&server, get("/healthz").as_bytes()).await).await;
        assert_eq!(status(&one), 200, "{one}");
    }
    assert!(measured(&server, "gradientd_connections ").await <= 4);
    assert_eq!(heard(silent.remove(0)).await, "");
}

#[tokio::test]
async fn half_sent_bodies_take_no_turn_and_the_end_does_not_wait_for_half_sent_heads() {
    let limits = Limits {
        control_requests: 1,
        predictions: 1,
        ..Limits::default()
    };
    let server = TestServer::start_with(1, limits).await;
    server.create(xor_model("xor")).await;
    let json = "Content-Type: application/json\r\nContent-Length: 1000\r\n";
    let mut half = Vec::new();
    for path in ["/v1/models", "/v1/models/xor/predict", "/v1/jobs"] {
        half.push(connected(&server, post(path, json, "{").as_bytes()).await);
    }
    server.predict("xor", json!([[0, 1]])).await;
    server.get("/v1/models").await.expect(200);
    drop(half);
    let heads = connected(&server, b"GET /v1/mod").await;
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed().as_secs() < 4);
    assert_eq!(heard(heads).await, "");
}
