//! What the server tells of itself: its metrics and its limits.

use std::collections::BTreeMap;

use gradientd::config::Limits;
use reqwest::Method;
use serde_json::json;

use crate::server::{TestServer, send, xor_job, xor_model};

/// The samples of an OpenMetrics text by name and labels, once each line has the form of one.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("the mark of the end");
    let mut samples = BTreeMap::new();
    let mut family = "";
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            assert!(
                ["HELP", "TYPE", "UNIT"].contains(&words.next().unwrap_or("")),
                "{line}"
            );
            family = words.next().expect("a name");
            continue;
        }
        assert!(line.starts_with(family), "{line} is not of {family}");
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let value = value.parse().expect("a number");
        assert!(
            samples.insert(name.to_owned(), value).is_none(),
            "{name} twice"
        );
    }
    samples
}

pub(crate) async fn scraped(server: &TestServer) -> BTreeMap<String, f64> {
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), media_type);
    samples(&answer.text())
}

#[tokio::test]
async fn requests_are_counted_and_measured_by_method_route_and_status() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    for path in [
        "/v1/models/xor",
        "/v1/models/none",
        "/v1/models/nothing",
        "/nowhere",
        "/x",
    ] {
        server.get(path).await;
    }
    for method in ["BREW", "WHEN"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        send(server.request(method, "/v1/models/xor")).await;
    }
    let found = scraped(&server).await;
    let expected = [
        ("GET", "/v1/models/{name}", 200, 1.0),
        ("GET", "/v1/models/{name}", 404, 2.0),
        ("GET", "none", 404, 2.0),
        ("other", "/v1/models/{name}", 405, 2.0),
        ("POST", "/v1/models", 201, 1.0),
    ];
    for (method, route, status, count) in expected {
        let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
        let name = format!("gradientd_http_requests_total{{{labels}}}");
        assert_eq!(found.get(&name), Some(&count), "{name}: {found:?}");
    }
    let labels = "method=\"GET\",route=\"/v1/models/{name}\"";
    let duration = "gradientd_http_request_duration_seconds";
    assert_eq!(found[&format!("{duration}_count{{{labels}}}")], 3.0);
    assert!(found[&format!("{duration}_sum{{{labels}}}")] > 0.0);
    // A scrape is counted as well, once it is answered.
    let scrapes = "gradientd_http_requests_total{method=\"GET\",route=\"/metrics\",status=\"200\"}";
    assert_eq!(found.get(scrapes), None);
    assert_eq!(scraped(&server).await[scrapes], 1.0);
    server.stop().await;
}

#[tokio::test]
async fn jobs_and_versions_in_memory_are_those_there_are() {
    let server = TestServer::start().await;
    let figures = async || {
        let found = scraped(&server).await;
        let jobs = |status| found[&format!("gradientd_jobs{{status=\"{status}\"}}")];
        let uploads = found["gradientd_uploads"];
        (
            jobs("succeeded"),
            jobs("queued"),
            found["gradientd_models_loaded"],
            uploads,
        )
    };
    assert_eq!(figures().await, (0.0, 0.0, 0.0, 0.0));
    server.create(xor_model("xor")).await;
    assert_eq!(figures().await, (0.0, 0.0, 1.0, 0.0));
    server.train(xor_job("xor", json!({}))).await;
    // Version 1 stays beside the latest.
    assert_eq!(figures().await, (1.0, 0.0, 2.0, 0.0));
    let build = format!(
        "gradientd_build_info{{build=\"{}\"}}",
        gradientd::store::build()
    );
    assert_eq!(scraped(&server).await[&build], 1.0);
    server.stop().await;
}

#[tokio::test]
async fn the_limits_answered_are_those_of_the_configuration() {
    let limits = Limits {
        predict_rows: 17,
        ..Limits::default()
    };
    let server = TestServer::start_with(3, limits.clone()).await;
    let mut expected = serde_json::to_value(limits).expect("limits as JSON");
    expected["job_slots"] = json!(3);
    expected["training_threads"] = json!(1);
    expected["training_data_mib"] = json!(256);
    expected["memory_bytes"] = json!(4_u64 << 30);
    expected["max_attempts"] = json!(3);
    for (name, kept) in [
        ("jobs", 10_000),
        ("checkpoints", 100),
        ("versions", 10),
        ("predictions", 1000),
    ] {
        expected[format!("keep_{name}")] = json!(kept);
    }
    let answered = server.get("/v1/limits").await.expect(200);
    assert_eq!(answered, expected);
    assert_eq!(answered["predict_rows"], 17);
    server.stop().await;
}
