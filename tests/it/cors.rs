//! Pages of other origins: those that the operator names may read the answers, and no others.

use gradientd::config::Limits;
use reqwest::Method;
use tempfile::TempDir;

use crate::server::{Answer, Api, TestServer, send, serve, xor_model};

const ORIGIN: &str = "https://pages.example";

async fn open() -> (Api, TempDir) {
    serve(Limits::default(), &[ORIGIN]).await
}

async fn preflight(api: &Api, origin: &str) -> Answer {
    let request = api.request(Method::OPTIONS, "/v1/models");
    let request = request.header("Origin", origin);
    let request = request.header("Access-Control-Request-Method", "POST");
    send(request.header("Access-Control-Request-Headers", "content-type")).await
}

#[tokio::test]
async fn a_page_of_a_named_origin_may_ask_and_read() {
    let (api, _data_dir) = open().await;
    let asked = preflight(&api, ORIGIN).await;
    assert_eq!(asked.status, 200);
    assert_eq!(asked.header("access-control-allow-origin"), ORIGIN);
    assert_eq!(
        asked.header("access-control-allow-methods"),
        "GET,HEAD,POST,PUT,DELETE"
    );
    assert!(
        asked
            .header("access-control-allow-headers")
            .contains("content-type")
    );
    let request = api
        .request(Method::POST, "/v1/models")
        .header("Origin", ORIGIN);
    let made = send(request.json(&xor_model("xor"))).await;
    assert_eq!(made.header("access-control-allow-origin"), ORIGIN);
    let varies = made.headers.get_all("vary");
    assert!(varies.iter().any(|by| by.as_bytes().starts_with(b"origin")));
    let exposed = made.header("access-control-expose-headers");
    for name in ["location", "etag", "retry-after", "x-request-id"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    made.expect(201);
    let missing = send(
        api.request(Method::GET, "/v1/models/none")
            .header("Origin", ORIGIN),
    )
    .await;
    assert_eq!(missing.header("access-control-allow-origin"), ORIGIN);
    missing.problem(404, "not-found");
}

#[tokio::test]
async fn a_page_of_another_origin_may_neither_ask_nor_read() {
    let (api, _data_dir) = open().await;
    for origin in [
        "https://pages.example.org",
        "http://pages.example",
        "https://pages.example:8443",
        "null",
    ] {
        let asked = preflight(&api, origin).await;
        assert_eq!(asked.header("access-control-allow-origin"), "", "{origin}");
        let read = send(
            api.request(Method::GET, "/v1/models")
                .header("Origin", origin),
        )
        .await;
        assert_eq!(read.header("access-control-allow-origin"), "", "{origin}");
        asked.problem(403, "foreign-origin");
        read.problem(403, "foreign-origin");
    }
}

#[tokio::test]
async fn no_page_may_ask_or_read_unless_the_operator_names_its_origin() {
    let server = TestServer::start().await;
    let read = send(
        server
            .request(Method::GET, "/v1/models")
            .header("Origin", ORIGIN),
    )
    .await;
    assert_eq!(read.header("access-control-allow-origin"), "");
    read.problem(403, "foreign-origin");
    let asked = preflight(&server, ORIGIN).await;
    assert_eq!(asked.header("access-control-allow-origin"), "");
    asked.problem(403, "foreign-origin");
}
