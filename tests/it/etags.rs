//! `ETag`, `If-None-Match` and `If-Match`: nothing is sent twice, and nobody overwrites what they have not seen.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::server::{Answer, Api, TestServer, send, text, xor_job, xor_model};

const ALIAS: &str = "/v1/models/xor/aliases/best";

async fn scene() -> TestServer {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    server
}

/// The tag of the model `xor` as it is.
async fn tag(server: &Api) -> String {
    let answer = server.get("/v1/models/xor").await;
    let tag = answer.header("etag").to_owned();
    assert!(
        tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'),
        "{tag:?}"
    );
    answer.expect(200);
    tag
}

fn set(server: &Api, version: u64) -> RequestBuilder {
    let request = server.request(Method::PUT, ALIAS);
    request.json(&json!({ "version": version }))
}

async fn expecting(request: RequestBuilder, tags: &str) -> Answer {
    send(request.header("If-Match", tags)).await
}

async fn unless(server: &Api, tags: &str) -> Answer {
    let request = server.request(Method::GET, "/v1/models/xor");
    send(request.header("If-None-Match", tags)).await
}

async fn aliases(server: &Api) -> Value {
    server.get("/v1/models/xor").await.expect(200)["aliases"].take()
}

#[tokio::test]
async fn a_tag_changes_with_every_change_of_what_is_shown_and_with_nothing_else() {
    let server = scene().await;
    let mut seen = vec![tag(&server).await];
    assert_eq!(tag(&server).await, seen[0]);
    server.train(xor_job("xor", json!({}))).await;
    seen.push(tag(&server).await);
    for version in [1, 2] {
        let answer = send(set(&server, version)).await;
        seen.push(answer.header("etag").to_owned());
        answer.expect(200);
        assert_eq!(&tag(&server).await, seen.last().expect("a tag"));
    }
    let same = send(set(&server, 2)).await;
    assert_eq!(same.header("etag"), seen.last().expect("a tag"));
    server.delete(ALIAS).await.expect(204);
    seen.push(tag(&server).await);
    server.delete("/v1/models/xor/versions/1").await.expect(204);
    assert_eq!(&tag(&server).await, seen.last().expect("a tag"));
    let server = server.restart().await;
    assert_eq!(&tag(&server).await, seen.last().expect("a tag"));
    server.delete("/v1/models/xor").await.expect(204);
    server.create(xor_model("xor")).await;
    seen.push(tag(&server).await);
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "{seen:?}");
}

#[tokio::test]
async fn a_model_that_the_client_has_is_not_sent_again() {
    let server = scene().await;
    let tag = tag(&server).await;
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"a,b\", {tag}"),
        "*".to_owned(),
    ] {
        let answer = unless(&server, &known).await;
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(
            (answer.status.as_u16(), answer.bytes.len()),
            (304, 0),
            "{known}"
        );
    }
    for other in ["\"a\"", "\"1-0\", W/\"01-1\""] {
        assert_eq!(unless(&server, other).await.expect(200)["name"], "xor");
    }
    server.put(ALIAS, json!({"version": 1})).await.expect(200);
    unless(&server, &tag).await.expect(200);
}

#[tokio::test]
async fn a_write_that_expects_another_state_changes_nothing_and_is_told_the_present_one() {
    let server = scene().await;
    let old = tag(&server).await;
    expecting(set(&server, 1), &old).await.expect(200);
    let now = tag(&server).await;
    let strangers = [
        old.clone(),
        format!("W/{now}"),
        "\"a\"".to_owned(),
        format!("\"0-0\", {old}"),
    ];
    for stale in &strangers {
        let delete = |path| server.request(Method::DELETE, path);
        for request in [set(&server, 1), delete(ALIAS), delete("/v1/models/xor")] {
            let refused = expecting(request, stale).await;
            assert_eq!(refused.header("etag"), now, "{stale}");
            let problem = refused.problem(412, "precondition-failed");
            let revision = now.trim_matches('"');
            let detail = format!("model \"xor\" has changed: it is now at revision {revision}");
            assert_eq!(problem["detail"], detail);
        }
    }
    assert_eq!(aliases(&server).await, json!({"best": 1}));
    assert_eq!(tag(&server).await, now);
    expecting(server.request(Method::DELETE, ALIAS), "*")
        .await
        .expect(204);
    let now = tag(&server).await;
    let listed = format!("\"a,b\", {now}");
    let request = server.request(Method::DELETE, "/v1/models/xor");
    expecting(request, &listed).await.expect(204);
    let gone = server.request(Method::DELETE, "/v1/models/xor");
    expecting(gone, &now).await.problem(404, "not-found");
}

#[tokio::test]
async fn of_writers_who_expect_the_same_state_one_wins() {
    let server = scene().await;
    server.train(xor_job("xor", json!({}))).await;
    for _ in 0..5 {
        let tag = tag(&server).await;
        let sent: Vec<_> = ["a", "b", "c", "d", "e", "f"]
            .map(|alias| {
                let path = format!("/v1/models/xor/aliases/{alias}");
                let request = server
                    .request(Method::PUT, &path)
                    .json(&json!({"version": 2}));
                tokio::spawn(send(request.header("If-Match", &tag)))
            })
            .into();
        let mut statuses = Vec::new();
        for answer in sent {
            let answer = answer.await.expect("an answer");
            if answer.status == 200 {
                let alias = text(&answer.json()["alias"]);
                assert_eq!(aliases(&server).await, json!({alias.clone(): 2}));
                statuses.push(200);
                let path = format!("/v1/models/xor/aliases/{alias}");
                expecting(server.request(Method::DELETE, &path), answer.header("etag"))
                    .await
                    .expect(204);
            } else {
                answer.problem(412, "precondition-failed");
                statuses.push(412);
            }
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412]);
    }
}

#[tokio::test]
async fn tags_that_are_none_are_refused() {
    let server = scene().await;
    for wrong in ["", "7-3", "\"a", "*, \"a\"", "\"a\" \"b\""] {
        let detail = |name: &str| {
            format!("{name} must be * or a list of tags in double quotes, got {wrong:?}")
        };
        let problem = unless(&server, wrong).await.problem(422, "invalid-header");
        assert_eq!(problem["detail"], detail("if-none-match"));
        let problem = expecting(set(&server, 1), wrong)
            .await
            .problem(422, "invalid-header");
        assert_eq!(problem["detail"], detail("if-match"));
    }
    assert_eq!(aliases(&server).await, json!({}));
}
