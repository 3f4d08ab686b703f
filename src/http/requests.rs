//! Around every request: its id, its log line, the rendering of problems, panics caught, and writes that run to their end.

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use uuid::Uuid;

use crate::http::problem::{INTERNAL, INVALID_QUERY, Problem, REQUEST_ID};
use crate::http::{App, metrics};

/// Ids that a client sends are taken over up to this length.
const LONGEST_ID: usize = 128;

/// Lays around the routes what every request goes through, outermost last.
pub(crate) fn around(routes: Router<App>, app: &App) -> Router<App> {
    routes
        .layer(middleware::from_fn(to_its_end))
        .layer(middleware::from_fn(without_query))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(with_id))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::count))
}

/// Gives a request its id, renders a problem with it, and writes the one log line.
async fn with_id(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let rendered = problem.render(&id);
        let allow = response.headers().get(axum::http::header::ALLOW).cloned();
        response = rendered;
        if let Some(allow) = allow {
            response
                .headers_mut()
                .insert(axum::http::header::ALLOW, allow);
        }
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
async fn without_query(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let bare = path.is_some_and(|path| !takes_query(request.method(), path.as_str()));
    match request.uri().query() {
        Some(query) if bare && !query.is_empty() => {
            let (method, path) = (request.method(), request.uri().path());
            let detail = format!("{method} {path} takes no query parameters, got {query:?}");
            Problem::new(INVALID_QUERY, detail).into_response()
        }
        _ => next.run(request).await,
    }
}

/// The operations whose handlers read their query, and refuse unknown parameters themselves.
fn takes_query(method: &Method, path: &str) -> bool {
    match path {
        // Probes add what no cache has seen.
        "/v1/datasets" | "/v1/jobs" | "/healthz" | "/readyz" => true,
        "/v1/models"
        | "/v1/models/{name}/versions"
        | "/v1/jobs/{id}/loss"
        | "/v1/jobs/{id}/events"
        | "/v1/jobs/{id}/gradients" => matches!(*method, Method::GET | Method::HEAD),
        _ => false,
    }
}

/// Lets a request that changes something run to its end even if its client hangs up, so that what is committed and
/// what is in memory stay one. Reading requests, predictions and evaluations end with
/// their client.
async fn to_its_end(request: Request, next: Next) -> Response {
    let changes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let path = request.uri().path();
    let computes = path.ends_with("/predict") || path.ends_with("/evaluate");
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
