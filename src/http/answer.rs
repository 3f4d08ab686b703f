//! Answers that may be long: written off the threads that answer the other requests.

use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::errors::internal;
use crate::http::kept::Reserved;
use crate::http::problem::Problem;
use crate::machine::{Budget, Reservation, Use};

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

/// Bytes that are reserved for a number of a long answer.
const NUMBER_BYTES: u64 = 16;

/// A long answer, and its memory until all of it is sent.
struct Written {
    bytes: Vec<u8>,
    _room: Reservation,
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// JSON with so many numbers in it.
///
/// Errors: there is no memory for it.
pub(crate) async fn json<T: Serialize>(
    memory: &Budget,
    numbers: usize,
    answer: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, Problem> {
    bytes(memory, numbers, "application/json", move || {
        serde_json::to_vec(&answer()).map_err(|error| internal(&error))
    })
    .await
}

/// The bytes of a media type, made of so many numbers.
///
/// Errors: there is no memory for them.
pub(crate) async fn bytes(
    memory: &Budget,
    numbers: usize,
    media_type: &'static str,
    write: impl FnOnce() -> Result<Vec<u8>, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let content_type = [(header::CONTENT_TYPE, media_type)];
    if numbers <= LONG {
        return Ok((content_type, write()?).into_response());
    }
    let room = (numbers as u64).saturating_mul(NUMBER_BYTES);
    let room = memory.try_reserve(Use::Requests, room)?;
    let written = off_thread(numbers, move || {
        let bytes = write()?;
        Ok(Written { bytes, _room: room })
    });
    let written = Bytes::from_owner(written.await?);
    Ok((Extension(Reserved), content_type, written).into_response())
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
