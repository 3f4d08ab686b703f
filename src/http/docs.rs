//! The contract as it is served: `openapi.yaml` itself, the same as JSON, and a page that shows it to people.

use std::sync::LazyLock;

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::http::path::Path;
use crate::http::problem::{NOT_FOUND, Problem};

/// The contract, compiled in: what is served is what this program was tested against.
pub(crate) const CONTRACT: &str = include_str!("../../openapi.yaml");
const PAGE: &str = include_str!("docs/page.html");
/// What the page loads: name, media type, text.
const FILES: [(&str, &str, &str); 4] = [
    (
        "docs.css",
        "text/css; charset=utf-8",
        include_str!("docs/docs.css"),
    ),
    (
        "docs.js",
        "text/javascript; charset=utf-8",
        include_str!("docs/docs.js"),
    ),
    (
        "schema.js",
        "text/javascript; charset=utf-8",
        include_str!("docs/schema.js"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("docs/icon.svg")),
];
/// Browsers load nothing from elsewhere, run no script that stands in the page, and show it in no page of others.
const GUARDED: [(HeaderName, &str); 1] = [(
    header::CONTENT_SECURITY_POLICY,
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)];

/// `GET /openapi.yaml`: the contract as it was written.
pub(crate) async fn yaml() -> Response {
    ([(header::CONTENT_TYPE, "application/yaml")], CONTRACT).into_response()
}

/// `GET /openapi.json`: the same for programs that read no YAML, such as the page's script.
pub(crate) async fn json() -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, JSON.as_str()).into_response()
}

static JSON: LazyLock<String> = LazyLock::new(|| {
    let contract: Value = serde_saphyr::from_str(CONTRACT).expect("a test reads the contract");
    contract.to_string()
});

/// `GET /docs`: the reference.
pub(crate) async fn page() -> Response {
    let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (GUARDED, html, PAGE).into_response()
}

/// `GET /docs/{file}`: what the page loads.
pub(crate) async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = FILES.into_iter().find(|(known, ..)| *known == name);
    let (_, media_type, text) = found
        .ok_or_else(|| Problem::new(NOT_FOUND, format!("there is no file {name:?} of the page")))?;
    Ok((GUARDED, [(header::CONTENT_TYPE, media_type)], text).into_response())
}
