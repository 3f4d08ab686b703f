//! Kept answers: what waits whole in memory until its client has taken it has its bytes reserved so long.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};

use crate::http::App;
use crate::http::problem::Problem;
use crate::machine::Use;

/// Bytes up to which an answer is not worth it: as much as a connection takes anyway.
const SMALL: u64 = 64 << 10;

/// Says of an answer that its bytes are reserved already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserved;

/// An answer's body, and what is held until it has left.
pub(crate) struct Kept<T> {
    body: Body,
    _held: T,
}

impl<T> Kept<T> {
    pub(crate) fn new(body: Body, held: T) -> Self {
        Self { body, _held: held }
    }
}

/// Reserves the bytes of an answer. One that tells what was changed is told all the same, whether there is room or not.
pub(crate) async fn kept(State(app): State<App>, request: Request, next: Next) -> Response {
    let changes = !request.method().is_safe();
    let response = next.run(request).await;
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    if bytes <= SMALL || response.extensions().get::<Reserved>().is_some() {
        return response;
    }
    match app.memory.try_reserve(Use::Requests, bytes) {
        Ok(room) => response.map(|body| Body::new(Kept::new(body, room))),
        Err(_) if changes => response,
        Err(short) => Problem::from(short).into_response(),
    }
}

impl<T: Unpin> HttpBody for Kept<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
