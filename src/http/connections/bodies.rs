//! Bodies on their way in, which tell the connection's progress.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::http::connections::progress::{Phase, Progress};

/// A request's body.
pub(super) struct Arriving {
    body: Incoming,
    progress: Arc<Progress>,
}

impl Arriving {
    pub(super) fn new(body: Incoming, progress: Arc<Progress>) -> Self {
        Self { body, progress }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match (&polled, self.progress.phase()) {
            (Poll::Pending, Phase::Answering) => self.progress.enter(Phase::Body),
            (Poll::Ready(_), Phase::Body) => self.progress.enter(Phase::Answering),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
