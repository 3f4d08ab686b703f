//! Labels: jobs found by the metadata that their users gave them.

use serde_json::{Value, json};

use crate::server::{TestServer, pointers, xor_job, xor_model};

/// A text as it stands in a query.
fn encoded(text: &str) -> String {
    let bytes: Vec<_> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    bytes.concat()
}

#[tokio::test]
async fn jobs_are_found_by_all_of_their_labels() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let keys = [
        "team",
        "a.b",
        "it's",
        "\"quoted\"",
        "$[0]",
        "a]b[c",
        "größe",
        "%_",
        "back\\slash",
    ];
    for key in keys {
        let labels = json!({"metadata": {key: "x & y", "run": "1"}});
        server.train(xor_job("xor", labels)).await;
    }
    server
        .train(xor_job(
            "xor",
            json!({"metadata": {"team": "b", "run": "2"}}),
        ))
        .await;
    let found = async |labels: &[(&str, &str)]| {
        let parameter = |(key, value): &(&str, &str)| {
            format!(
                "{}={}",
                encoded(&format!("metadata[{key}]")),
                encoded(value)
            )
        };
        let query: Vec<_> = labels.iter().map(parameter).collect();
        let page = server
            .get(&format!("/v1/jobs?{}", query.join("&")))
            .await
            .expect(200);
        let jobs = page["data"].as_array().expect("a list");
        jobs.iter()
            .map(|job| job["metadata"].clone())
            .collect::<Vec<_>>()
    };
    for key in keys {
        let labels = [json!({key: "x & y", "run": "1"})];
        assert_eq!(found(&[(key, "x & y")]).await, labels, "{key}");
        assert_eq!(
            found(&[(key, "x & y"), ("run", "1")]).await,
            labels,
            "{key}"
        );
        let none = found(&[(key, "x & y"), ("run", "2")]).await;
        assert_eq!(none, Vec::<Value>::new(), "{key}");
    }
    assert_eq!(found(&[("run", "1")]).await.len(), keys.len());
    assert_eq!(found(&[("team", "x")]).await, Vec::<Value>::new());
    let plain = server
        .get("/v1/jobs?metadata[team]=b&status=succeeded&limit=1")
        .await
        .expect(200);
    assert_eq!(
        plain["data"][0]["metadata"],
        json!({"team": "b", "run": "2"})
    );
    let twice = server
        .get("/v1/jobs?metadata[a/b]=1&metadata%5Ba/b%5D=2")
        .await;
    assert_eq!(
        pointers(&twice.problem(422, "invalid-query")),
        ["/metadata[a~1b]"]
    );
    let nameless = server.get("/v1/jobs?metadata[]=1").await;
    assert_eq!(
        pointers(&nameless.problem(422, "invalid-query")),
        ["/metadata[]"]
    );
    server.stop().await;
}
