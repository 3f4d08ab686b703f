//! More than can be carried out: refused at once, told when to come again, and nobody else notices.

use gradientd::config::Limits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::connections::measured;
use crate::raw::{body, post, said, status};
use crate::server::{Answer, TestServer, send};

/// Rows that take a while to predict: 256 million multiply-adds.
async fn costly(server: &TestServer) -> Value {
    let wide = json!({"name": "wide", "inputs": 64, "layers": [
        {"units": 1000, "activation": "tanh"}, {"units": 1000, "activation": "tanh"}, {"units": 1, "activation": "tanh"}]});
    server.create(wide).await;
    json!({"inputs": vec![vec![0.5; 64]; 256]})
}

/// Answers to the same request, asked by so many at once.
async fn asked_at_once(server: &TestServer, path: &str, body: &Value, count: usize) -> Vec<Answer> {
    let requests = (0..count).map(|_| {
        let request = server.request(Method::POST, path).json(body);
        tokio::spawn(send(request))
    });
    let mut answers = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        answers.push(request.await.expect("an answer"));
    }
    answers
}

#[tokio::test]
async fn predictions_beyond_those_that_can_be_carried_out_are_refused_and_told_when_to_come_again()
{
    let limits = Limits {
        predictions: 2,
        ..Limits::default()
    };
    let server = TestServer::start_with(1, limits).await;
    let rows = costly(&server).await;
    let path = "/v1/models/wide/predict";
    let alone = server.post(path, rows.clone()).await.expect(200);
    let refused = "gradientd_requests_refused_total{class=\"predict\"} ";
    assert_eq!(measured(&server, refused).await, 0);
    let (mut answered, mut turned_away) = (0, 0);
    for answer in asked_at_once(&server, path, &rows, 64).await {
        if answer.status == 200 {
            answered += 1;
            assert_eq!(answer.json(), alone);
        } else {
            turned_away += 1;
            assert_eq!(answer.header("retry-after"), "1");
            let problem = answer.problem(503, "busy");
            assert_eq!(problem["detail"], "at most 2 predictions at once");
        }
    }
    assert!(answered >= 2 && turned_away > 0, "{answered} {turned_away}");
    assert_eq!(measured(&server, refused).await, turned_away);
    let in_flight = "gradientd_requests_in_flight{class=\"predict\"} ";
    assert_eq!(measured(&server, in_flight).await, 0);
    assert_eq!(server.post(path, rows).await.expect(200), alone);
}

#[tokio::test]
async fn a_class_that_is_full_leaves_the_others_alone() {
    let limits = Limits {
        inspections: 1,
        ..Limits::default()
    };
    let server = TestServer::start_with(1, limits).await;
    let rows = costly(&server).await;
    let mut inspected = rows.clone();
    inspected["targets"] = json!(vec![[0.0]; 256]);
    inspected["include"] = json!(["statistics"]);
    let path = "/v1/models/wide/gradients";
    let inspections = asked_at_once(&server, path, &inspected, 16);
    let predictions = async {
        let mut statuses = Vec::new();
        for _ in 0..8 {
            let answer = server.post("/v1/models/wide/predict", rows.clone()).await;
            statuses.push(answer.status.as_u16());
        }
        statuses
    };
    let (inspections, predictions) = tokio::join!(inspections, predictions);
    assert_eq!(predictions, [200; 8]);
    let busy = inspections.iter().filter(|answer| answer.status == 503);
    assert!(busy.count() > 0);
    assert!(inspections.iter().any(|answer| answer.status == 200));
}

#[tokio::test]
async fn heads_that_are_too_much_and_bodies_that_are_compressed_are_refused_by_name() {
    let server = TestServer::start().await;
    let long = format!("/v1/models?after={}", "a".repeat(8192));
    let problem = server.get(&long).await.problem(414, "uri-too-long");
    let told = "the path and query must have at most 8192 bytes, got 8209";
    assert_eq!(problem["detail"], told);
    let many = "a: b\r\n".repeat(64);
    let head =
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{many}\r\n");
    let answer = said(&server, head.as_bytes()).await;
    assert_eq!(status(&answer), 431);
    let told = "a request must have at most 64 headers, got 66";
    assert_eq!(body(&answer)["detail"], told);
    let request = server.request(Method::POST, "/v1/models").json(&json!({}));
    let answer = send(request.header("Content-Encoding", "gzip")).await;
    let problem = answer.problem(415, "unsupported-media-type");
    let told = "a body must not be compressed, got Content-Encoding \"gzip\"";
    assert_eq!(problem["detail"], told);
    for codings in [
        "gzip, chunked",
        "chunked, chunked",
        "chunked\r\nTransfer-Encoding: chunked",
    ] {
        let head = "Content-Type: application/json\r\nTransfer-Encoding: ";
        let head = post("/v1/models", &format!("{head}{codings}\r\n"), "0\r\n\r\n");
        let answer = said(&server, head.as_bytes()).await;
        assert_eq!(status(&answer), 400, "{codings}: {answer}");
        let told = "Transfer-Encoding must be chunked, and be there once";
        assert_eq!(body(&answer)["detail"], told);
    }
    let bare = said(
        &server,
        b"GET /healthz HTTP/1.1\r\nHost: localhost\nA: b\r\n\r\n",
    )
    .await;
    assert_eq!(status(&bare), 400, "{bare}");
    let request = server.request(Method::POST, "/v1/models").json(&json!({}));
    let answer = send(request.header("Content-Encoding", "identity")).await;
    answer.problem(422, "invalid-body");
}
