//! Heads: what the path, query and headers of every request must be, before anything else of it is looked at.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::App;
use crate::http::problem::{
    BROKEN_BODY, HEADERS_TOO_MANY, Problem, UNSUPPORTED_MEDIA_TYPE, URI_TOO_LONG,
};

/// Refuses a request whose head is too much, or whose body is compressed: what it would be is not known before it is there.
pub(crate) async fn checked(State(app): State<App>, request: Request, next: Next) -> Response {
    match check(&app, &request) {
        Ok(()) => next.run(request).await,
        // Where its head is not as it should be, the rest of a connection is not trusted.
        Err(problem) if problem.kind == BROKEN_BODY => {
            ([(header::CONNECTION, "close")], problem).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

fn check(app: &App, request: &Request) -> Result<(), Problem> {
    let uri = request.uri().path_and_query();
    let uri = uri.map_or(0, |uri| uri.as_str().len());
    if uri > app.limits.uri_bytes {
        let most = app.limits.uri_bytes;
        let detail = format!("the path and query must have at most {most} bytes, got {uri}");
        return Err(Problem::new(URI_TOO_LONG, detail));
    }
    let headers = request.headers().len();
    if headers > app.limits.headers {
        let most = app.limits.headers;
        let detail = format!("a request must have at most {most} headers, got {headers}");
        return Err(Problem::new(HEADERS_TOO_MANY, detail));
    }
    let codings = request.headers().get_all(header::TRANSFER_ENCODING);
    let mut codings = codings.iter().map(HeaderValue::as_bytes);
    let coding = codings.next().unwrap_or(b"chunked");
    if !coding.eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
        let detail = "Transfer-Encoding must be chunked, and be there once";
        return Err(Problem::new(BROKEN_BODY, detail));
    }
    let encodings = request.headers().get_all(header::CONTENT_ENCODING);
    let encoded = encodings
        .iter()
        .find(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let Some(encoded) = encoded else {
        return Ok(());
    };
    let detail = format!("a body must not be compressed, got Content-Encoding {encoded:?}");
    Err(Problem::new(UNSUPPORTED_MEDIA_TYPE, detail))
}
