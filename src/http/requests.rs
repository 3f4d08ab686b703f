//! Around every request: its id, its log line, the rendering of problems, panics caught, and writes that run to their end.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header,
};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::cors::{AllowOrigin, CorsLayer};
use uuid::Uuid;

use crate::http::access::{Access, GUARDS, from_here, with_token};
use crate::http::admission::{Admission, refused_when_full};
use crate::http::body::is_csv;
use crate::http::format::PARQUET;
use crate::http::problem::{INTERNAL, INVALID_QUERY, Problem, REQUEST_ID, TOOK_TOO_LONG};

/// Headers that a page of another origin may send.
const READ_HEADERS: [HeaderName; 8] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    REQUEST_ID,
];
/// Headers that a page of another origin may read.
const TOLD_HEADERS: [HeaderName; 6] = [
    HeaderName::from_static("idempotent-replayed"),
    header::LOCATION,
    header::ETAG,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    REQUEST_ID,
];
/// How long a browser need not ask again whether it may send.
const PREFLIGHT: Duration = Duration::from_hours(1);
/// Ids that a client sends are taken over up to this length.
const LONGEST_ID: usize = 128;

/// Lays around the routes what every request goes through, outermost last.
pub(crate) fn around<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    longest: Duration,
    admission: &Arc<Admission>,
    access: Access,
) -> Router<S> {
    let access = Arc::new(access);
    let origins = &access.cors_origins;
    let routes = routes
        .layer(middleware::from_fn(to_its_end))
        .layer(middleware::from_fn_with_state(longest, in_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(access.clone(), with_token))
        .layer(middleware::from_fn_with_state(
            Arc::clone(admission),
            refused_when_full,
        ));
    // Around the token: a browser asks whether it may send one without sending it, and its page may read why it was refused.
    let routes = if origins.is_empty() {
        routes
    } else {
        routes.layer(cross_origin(origins))
    };
    routes
        .layer(middleware::from_fn_with_state(access, from_here))
        .layer(middleware::from_fn(with_id))
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Fastest)
                .compress_when(worth_compressing()),
        )
        .layer(middleware::from_fn(gzip_or_plain))
}

/// Bytes of an answer beyond which it is not compressed: that would take the thread which answers others milliseconds.
const MOST_COMPRESSED: u64 = 256 << 10;

/// Answers that are long enough to be worth it, and not too long; not those that are streamed, not numbers as they are in memory, and not what
/// is compressed by itself.
fn worth_compressing() -> impl Predicate {
    DefaultPredicate::new()
        .and(not_too_long)
        .and(NotForContentType::const_new("application/x-safetensors"))
        .and(NotForContentType::const_new(PARQUET))
}

fn not_too_long(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_none_or(|length| length <= MOST_COMPRESSED)
}

/// Takes no notice of who refuses every encoding: a plain answer serves better than 406 and none.
async fn gzip_or_plain(mut request: Request, next: Next) -> Response {
    let accepted = request.headers_mut().remove(header::ACCEPT_ENCODING);
    let accepted = accepted
        .as_ref()
        .and_then(|accepted| accepted.to_str().ok());
    if accepted.is_some_and(|list| list.contains("gzip") && !list.contains("q=0")) {
        let gzip = HeaderValue::from_static("gzip");
        request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
    }
    next.run(request).await
}

/// Lets pages of these origins, and of no others, read the answers.
fn cross_origin(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.to_vec()))
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
        ])
        .allow_headers(READ_HEADERS)
        .expose_headers(TOLD_HEADERS)
        .max_age(PREFLIGHT)
}

/// Ends a request that takes longer than any should. Tables take as long as their pieces come, and streams are answers
/// already. What changes something runs to its end all the same.
async fn in_time(State(longest): State<Duration>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("", MatchedPath::as_str);
    let takes_tables = ["/v1/datasets", "/v1/datasets/{name}/rows"].contains(&path)
        || (path.ends_with("/predict") && is_csv(request.headers()));
    if takes_tables && request.method() == Method::POST {
        return next.run(request).await;
    }
    let answered = tokio::time::timeout(longest, next.run(request)).await;
    answered.unwrap_or_else(|_| {
        let detail = format!("the request took more than {} s", longest.as_secs());
        let problem = Problem {
            retry_after_seconds: Some(1),
            ..Problem::new(TOOK_TOO_LONG, detail)
        };
        problem.into_response()
    })
}

/// Gives a request its id, renders a problem with it, and writes the one log line.
async fn with_id(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let mut carrier = std::mem::replace(&mut response, problem.render(&id));
        carrier.headers_mut().remove(header::CONTENT_LENGTH);
        let headers = std::mem::take(carrier.headers_mut());
        response.headers_mut().extend(headers);
    }
    for (name, value) in GUARDS {
        response.headers_mut().entry(name).or_insert(value);
    }
    let status = response.status().as_u16();
    let milliseconds = began.elapsed().as_secs_f64() * 1e3;
    tracing::info!(target: "gradientd::request", %method, path, status, milliseconds, id, "request");
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn request_id(request: &Request) -> String {
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let fits = |id: &&str| {
        (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given
        .filter(fits)
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Refuses a query where there is nothing to ask.
pub(crate) async fn without_query(request: Request, next: Next) -> Response {
    match request.uri().query() {
        Some(query) if !query.is_empty() => {
            let (method, path) = (request.method(), request.uri().path());
            let detail = format!("{method} {path} takes no query parameters, got {query:?}");
            Problem::new(INVALID_QUERY, detail).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Lets a request that changes something run to its end even if its client hangs up, so that what is committed and
/// what is in memory stay one. Reading requests, predictions, evaluations and verifications end with their client: what they are
/// is told by the route, for a model or an alias may be called `predict`.
async fn to_its_end(request: Request, next: Next) -> Response {
    let changes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("", MatchedPath::as_str);
    let computes = ["/predict", "/evaluate", "/verify"];
    let computes = computes.iter().any(|end| path.ends_with(end));
    if !changes || computes {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => panicked(
            error
                .try_into_panic()
                .unwrap_or_else(|error| Box::new(error.to_string())),
        ),
    }
}

/// The answer to a request whose handler panicked. The panic itself is logged where it happened.
fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    Problem::new(INTERNAL, "the request failed by a fault of this program").into_response()
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::AdmissionLimits;

    async fn faulty() -> &'static str {
        panic!("on purpose")
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_a_problem_and_the_next_request_is_answered() {
        let everybody = Access {
            token: None,
            hosts: None,
            cors_origins: Vec::new(),
        };
        let routes = Router::new()
            .route("/faulty", get(faulty).post(faulty))
            .route("/fine", get(async || "fine"));
        let admission = Arc::new(Admission::new(&AdmissionLimits {
            predictions: 1,
            inspections: 1,
            control: 1,
            uploads: 1,
            patience: Duration::ZERO,
        }));
        let routes = around(routes, Duration::from_mins(1), &admission, everybody);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(async { axum::serve(listener, routes).await });
        let client = reqwest::Client::builder().no_proxy().build();
        let client = client.expect("a client");
        for method in [Method::GET, Method::POST] {
            let answer = client.request(method, format!("{url}/faulty")).send().await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status(), 500);
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let body = answer.text().await.expect("a body");
            assert!(
                body.contains("/problems/internal") && !body.contains("on purpose"),
                "{body}"
            );
        }
        let answer = client.get(format!("{url}/fine")).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
        serving.abort();
    }
}
