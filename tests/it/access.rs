//! Who may ask: the whole matrix of operations and methods, by token, by host and by origin.

use std::collections::BTreeSet;

use gradientd::access::AccessFlags;
use gradientd::config::{Config, Limits};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::contract::Contract;
use crate::server::{Answer, TestServer, config, scratch, send, text, xor_model};

const TOKEN: &str = "fZ0yq5bq8c2kVnq1+Zl4mA==";
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW",
];
/// Paths that are none, beside those of the contract.
const NOWHERE: [&str; 4] = ["/", "/nowhere", "/v1/models/%zz", "/healthz/"];
const PAGE: &str = "https://pages.example";

/// A server with a token.
async fn guarded(flags: AccessFlags) -> TestServer {
    let data_dir = scratch();
    let file = data_dir.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("written");
    let access = AccessFlags {
        token_file: Some(file),
        ..flags
    };
    let config = Config {
        access,
        ..config(1, Limits::default())
    };
    TestServer::start_in(data_dir, config).await
}

/// A server without one.
async fn open(flags: AccessFlags) -> TestServer {
    let config = Config {
        access: flags,
        ..config(1, Limits::default())
    };
    TestServer::start_in(scratch(), config).await
}

/// Every method of every path, with nothing that exists in the gaps.
fn everything() -> Vec<(Method, String)> {
    let operations = Contract::read().operations();
    let paths = operations.iter().map(|operation| {
        let pieces = operation.path.split('/');
        let filled = pieces.map(|piece| {
            if piece.starts_with('{') {
                "nothing"
            } else {
                piece
            }
        });
        filled.collect::<Vec<_>>().join("/")
    });
    let paths: BTreeSet<_> = paths.chain(NOWHERE.map(str::to_owned)).collect();
    assert!(paths.len() > 45, "{paths:?}");
    let each = paths
        .iter()
        .flat_map(|path| METHODS.map(|method| (method.parse().expect("a method"), path.clone())));
    each.collect()
}

/// Whether it is one of the two that need no token.
fn is_probe(method: &Method, path: &str) -> bool {
    [Method::GET, Method::HEAD].contains(method) && ["/healthz", "/readyz"].contains(&path)
}

/// The problem that a request is refused with; an answer to HEAD has none, and is told by its status.
#[track_caller]
fn refused(asked: &str, answer: &Answer, status: u16, slug: &str) {
    assert_eq!(answer.status, status, "{asked}: {}", answer.text());
    if !asked.starts_with("HEAD ") {
        let problem = answer.json();
        assert_eq!(problem["type"], format!("/problems/{slug}"), "{asked}");
        assert!(!answer.text().contains(TOKEN), "{asked}: {problem}");
    }
}

/// What an answer has that only a refusal is to have.
fn is_refused(answer: &Answer) -> bool {
    [401, 403, 421].contains(&answer.status.as_u16())
}

fn with(request: RequestBuilder, headers: &[(&str, &str)]) -> RequestBuilder {
    let each = headers.iter();
    each.fold(request, |request, (name, value)| {
        request.header(*name, *value)
    })
}

#[tokio::test]
async fn no_operation_and_no_method_is_answered_without_the_token_but_the_probes() {
    let server = guarded(AccessFlags::default()).await;
    let right = format!("Bearer {TOKEN}");
    let longer = format!("Bearer {TOKEN}x");
    let wrong = [
        vec![],
        vec![("Authorization", "Bearer AAAAAAAAAAAAAAAAAAAAAA==")],
        vec![("Authorization", &right[..right.len() - 1])],
        vec![("Authorization", longer.as_str())],
        vec![("Authorization", "Bearer")],
        vec![("Authorization", TOKEN)],
        vec![("Authorization", &right[..]), ("Authorization", &right[..])],
        vec![("X-Authorization", &right[..])],
        vec![("Cookie", &right[..])],
    ];
    for (method, path) in everything() {
        let asked = format!("{method} {path}");
        let probe = is_probe(&method, &path);
        for headers in &wrong {
            let request = server.request(method.clone(), &path);
            let answer = send(with(request, headers)).await;
            assert_eq!(
                answer.header("x-content-type-options"),
                "nosniff",
                "{asked}"
            );
            if probe {
                assert_eq!(answer.status, 200, "{asked}");
            } else {
                refused(&asked, &answer, 401, "unauthorized");
                let challenge = answer.header("www-authenticate");
                assert_eq!(challenge, "Bearer realm=\"gradientd\"", "{asked}");
            }
        }
        for query in ["token", "access_token", "authorization"] {
            let request = server.request(method.clone(), &format!("{path}?{query}={TOKEN}"));
            let answer = send(request).await;
            if !probe {
                refused(&asked, &answer, 401, "unauthorized");
            }
        }
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let request = server.request(method.clone(), &path);
            let answer = send(request.header("Authorization", format!("{scheme} {TOKEN}"))).await;
            assert!(!is_refused(&answer), "{asked}: {}", answer.status);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_carry_the_token_learns_nothing_of_what_there_is() {
    let server = guarded(AccessFlags::default()).await;
    let authorized = server
        .request(Method::POST, "/v1/models")
        .bearer_auth(TOKEN);
    send(authorized.json(&xor_model("xor"))).await.expect(201);
    let mut said = BTreeSet::new();
    for path in [
        "/v1/models/xor",
        "/v1/models/none",
        "/nowhere",
        "/docs",
        "/openapi.json",
    ] {
        for method in [Method::GET, Method::DELETE, Method::OPTIONS] {
            let mut problem = send(server.request(method, path))
                .await
                .problem(401, "unauthorized");
            problem["instance"].take();
            said.insert(problem.to_string());
        }
    }
    assert_eq!(said.len(), 1, "{said:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_a_token_is_asked_by_no_name_but_its_own() {
    let flags = AccessFlags {
        allowed_hosts: vec!["shop.example".parse().expect("a host")],
        ..AccessFlags::default()
    };
    let server = open(flags).await;
    let port = server.address().port();
    for (method, path) in everything() {
        for host in [
            "evil.example".to_owned(),
            format!("evil.example:{port}"),
            "192.0.2.7".to_owned(),
        ] {
            let asked = format!("{method} {path} of {host}");
            let answer = send(server.request(method.clone(), &path).header("Host", &host)).await;
            refused(&asked, &answer, 421, "misdirected-request");
        }
        for host in [
            format!("localhost:{port}"),
            "[::1]".to_owned(),
            "SHOP.example:443".to_owned(),
        ] {
            let answer = send(server.request(method.clone(), &path).header("Host", &host)).await;
            assert!(
                !is_refused(&answer),
                "{method} {path} of {host}: {}",
                answer.status
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_a_token_is_asked_by_no_page_but_its_own_and_those_that_are_named() {
    let flags = AccessFlags {
        cors_origins: vec![PAGE.parse().expect("an origin")],
        ..AccessFlags::default()
    };
    let server = open(flags).await;
    let own = format!("http://{}", server.address());
    let neighbour = format!("http://127.0.0.1:{}", server.address().port() ^ 1);
    for (method, path) in everything() {
        for page in [
            "https://evil.example",
            "null",
            "",
            "http://localhost",
            &neighbour,
        ] {
            let asked = format!("{method} {path} from {page:?}");
            let request = server.request(method.clone(), &path).header("Origin", page);
            let answer = send(request.header("Content-Type", "text/plain")).await;
            refused(&asked, &answer, 403, "foreign-origin");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{asked}");
        }
        for page in [own.as_str(), PAGE] {
            let answer = send(server.request(method.clone(), &path).header("Origin", page)).await;
            assert!(
                !is_refused(&answer),
                "{method} {path} from {page}: {}",
                answer.status
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_page_that_knows_the_token_may_ask_from_anywhere_and_only_a_named_one_may_read() {
    let flags = AccessFlags {
        cors_origins: vec![PAGE.parse().expect("an origin")],
        ..AccessFlags::default()
    };
    let server = guarded(flags).await;
    for (page, read) in [(PAGE, PAGE), ("https://others.example", "")] {
        let asked = server
            .request(Method::OPTIONS, "/v1/models")
            .header("Origin", page);
        let asked = asked.header("Access-Control-Request-Method", "GET");
        let asked = send(asked.header("Access-Control-Request-Headers", "authorization")).await;
        assert_eq!(asked.status, 200);
        assert_eq!(asked.header("access-control-allow-origin"), read);
        let names = asked.header("access-control-allow-headers");
        assert!(names.contains("authorization"), "{names}");
        for (token, status) in [(TOKEN, 200), ("AAAAAAAAAAAAAAAAAAAAAA==", 401)] {
            let request = server
                .request(Method::GET, "/v1/models")
                .header("Origin", page);
            let answer = send(request.bearer_auth(token)).await;
            assert_eq!(answer.header("access-control-allow-origin"), read);
            assert_eq!(answer.status, status, "{page}");
        }
    }
    let elsewhere = server
        .request(Method::GET, "/v1/models")
        .header("Host", "any.example");
    send(elsewhere.bearer_auth(TOKEN)).await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn a_server_with_a_token_looks_at_hosts_once_some_are_named() {
    let flags = AccessFlags {
        allowed_hosts: vec!["shop.example".parse().expect("a host")],
        ..AccessFlags::default()
    };
    let server = guarded(flags).await;
    for (host, status) in [
        ("shop.example", 200),
        ("localhost", 200),
        ("any.example", 421),
    ] {
        let request = server
            .request(Method::GET, "/v1/models")
            .header("Host", host);
        let answer = send(request.bearer_auth(TOKEN)).await;
        assert_eq!(answer.status, status, "{host}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_page_can_send_without_asking_first_is_no_json_and_comes_from_nowhere() {
    let server = open(AccessFlags::default()).await;
    let body = xor_model("made").to_string();
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
    ] {
        let request = server
            .request(Method::POST, "/v1/models")
            .header("Content-Type", media_type);
        let answer = send(request.body(body.clone())).await;
        answer.problem(415, "unsupported-media-type");
    }
    server
        .get("/v1/models/made")
        .await
        .problem(404, "not-found");
    server.stop().await;
}

#[tokio::test]
async fn every_answer_tells_browsers_that_it_is_no_page_and_guesses_no_media_type() {
    let server = open(AccessFlags::default()).await;
    for (method, path) in everything() {
        let answer = send(server.request(method.clone(), &path)).await;
        let asked = format!("{method} {path}");
        assert_eq!(
            answer.header("x-content-type-options"),
            "nosniff",
            "{asked}"
        );
        let policy = answer.header("content-security-policy");
        let of_docs = path == "/docs" && answer.status == 200;
        let expected = if of_docs {
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        } else {
            "default-src 'none'; frame-ancestors 'none'"
        };
        assert_eq!(policy, expected, "{asked}");
    }
    server.stop().await;
}

#[tokio::test]
async fn nothing_that_users_name_is_in_a_label_of_a_metric_or_in_html() {
    let server = open(AccessFlags::default()).await;
    let script = "<script>alert(1)</script>";
    let table = format!("{script},named_class\n1,{script}\n2,b\n3,{script}\n4,b\n");
    server.upload("named-dataset", table).await.expect(201);
    let model = json!({"name": "named-model", "dataset": "named-dataset", "target": "named_class", "hidden": []});
    server.create(model).await;
    let spec = json!({"model": "named-model", "epochs": 1});
    let id = text(&server.train(spec).await["id"]);
    let mut html = BTreeSet::new();
    let paths = everything().into_iter().flat_map(|(method, path)| {
        let names = [
            "named-model",
            "named-dataset",
            id.as_str(),
            "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        ];
        names.map(|name| (method.clone(), path.replace("nothing", name)))
    });
    for (method, path) in paths.filter(|(method, _)| *method == Method::GET) {
        let answer = send(server.request(method, &path)).await;
        if answer.header("content-type").contains("html") {
            assert!(!answer.text().contains("alert"), "{path}");
            html.insert(path);
        }
    }
    assert_eq!(html.into_iter().collect::<Vec<_>>(), ["/docs"]);
    let metrics = server.get("/metrics").await.text();
    for name in ["named", "script", "alert", id.as_str()] {
        assert!(!metrics.contains(name), "{name}: {metrics}");
    }
    let contract = Contract::read();
    let routes = metrics.split("route=\"").skip(1);
    let routes: BTreeSet<_> = routes.filter_map(|rest| rest.split('"').next()).collect();
    assert!(routes.len() > 20, "{routes:?}");
    for route in routes {
        assert!(
            route == "none" || contract.0["paths"].get(route).is_some(),
            "{route}"
        );
    }
    server.stop().await;
}
