//! Answers that may be long: written off the threads that answer the other requests.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::errors::internal;
use crate::http::problem::Problem;

/// Numbers above which an answer is written, or bytes above which a body is read, elsewhere: about a millisecond.
pub(crate) const LONG: usize = 64 << 10;

/// Whether the client names a media type among those that it accepts.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).into_iter();
    let named = values.filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|range| {
        let name = range.split(';').next().unwrap_or(range);
        name.trim().eq_ignore_ascii_case(media_type)
    })
}

/// JSON with so many numbers in it.
pub(crate) async fn json<T: Serialize>(
    numbers: usize,
    answer: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, Problem> {
    bytes(numbers, "application/json", move || {
        serde_json::to_vec(&answer()).map_err(|error| internal(&error))
    })
    .await
}

/// The bytes of a media type, made of so many numbers.
pub(crate) async fn bytes(
    numbers: usize,
    media_type: &'static str,
    write: impl FnOnce() -> Result<Vec<u8>, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let written = off_thread(numbers, write).await?;
    Ok(([(header::CONTENT_TYPE, media_type)], written).into_response())
}

/// Does work of so many numbers or bytes at once where they are few, else on the blocking pool.
pub(crate) async fn off_thread<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if size <= LONG {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(internal(&error)))
}
