//! The contract as the server hands it out, and the page that shows it: from inside the binary, loading nothing from elsewhere.

use serde_json::Value;

use crate::contract::{Contract, text};
use crate::server::TestServer;

/// What a page or script loads: every `src`, `href` and imported or fetched name in it.
fn loaded(source: &str) -> Vec<&str> {
    let marks = [
        "src=\"", "href=\"", "from \"", "fetch(\"", "load(\"", "url(",
    ];
    let found = marks
        .into_iter()
        .flat_map(|mark| source.split(mark).skip(1));
    let names = found.filter_map(|rest| rest.split(['"', ')']).next());
    names.filter(|name| !name.starts_with('#')).collect()
}

#[tokio::test]
async fn the_contract_is_served_as_it_was_written_and_as_json_that_says_the_same() {
    let server = TestServer::start().await;
    let yaml = server.get("/openapi.yaml").await;
    assert_eq!(yaml.header("content-type"), "application/yaml");
    assert_eq!(yaml.text(), text("openapi.yaml"));
    let json = server.get("/openapi.json").await.expect(200);
    assert_eq!(json, Contract::read().0);
}

#[tokio::test]
async fn everything_that_the_page_loads_comes_from_the_server_itself() {
    let server = TestServer::start().await;
    let page = server.get("/docs").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let mut waiting: Vec<_> = loaded(&page.text())
        .into_iter()
        .map(|name| format!("/{name}"))
        .collect();
    let mut seen = Vec::new();
    while let Some(path) = waiting.pop() {
        assert!(!path.contains("//"), "{path} is elsewhere");
        if seen.contains(&path) {
            continue;
        }
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        if path.starts_with("/docs/") {
            let folder = |name: &str| format!("/docs/{}", name.trim_start_matches("./"));
            let is_module = |name: &&str| name.starts_with("./");
            let text = answer.text();
            let (modules, others): (Vec<_>, Vec<_>) =
                loaded(&text).into_iter().partition(is_module);
            waiting.extend(modules.into_iter().map(folder));
            waiting.extend(others.into_iter().map(|name| format!("/{name}")));
        }
        seen.push(path);
    }
    seen.sort_unstable();
    let expected = [
        "/docs/docs.css",
        "/docs/docs.js",
        "/docs/icon.svg",
        "/docs/schema.js",
        "/openapi.json",
        "/openapi.yaml",
        "/problems",
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn the_page_runs_no_script_of_its_own_and_lets_browsers_load_nothing_from_elsewhere() {
    let server = TestServer::start().await;
    for path in ["/docs", "/docs/docs.js", "/docs/docs.css"] {
        let answer = server.get(path).await;
        assert_eq!(
            answer.header("content-security-policy"),
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        for inline in ["<script>", "style=\"", "onclick", "innerHTML", "eval("] {
            assert!(!answer.text().contains(inline), "{path} has {inline}");
        }
    }
    let absent = server.get("/docs/docs.rs").await.problem(404, "not-found");
    assert_eq!(
        absent["detail"],
        Value::from("there is no file \"docs.rs\" of the page")
    );
}
