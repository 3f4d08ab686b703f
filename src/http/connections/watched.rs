//! A connection's bytes, in and out, each within its time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use uuid::Uuid;

use crate::http::connections::clock::Clock;
use crate::http::connections::feeds::Lines;
use crate::http::connections::progress::{Phase, Progress};
use crate::http::connections::{ConnectionLimits, SLOWEST_ANSWER};
use crate::http::problem::{Problem, TIMEOUT};

/// How long a connection that is closed takes in what its client still sends, and how much of it: else the kernel would
/// answer it by a reset, and the client might never read its answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 8 << 20;
/// What answers a head that nobody else would read as we do.
const BARE_FEED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// Bytes that are thrown away at a time.
const THROWN: usize = 16 << 10;

pub(super) struct Watched {
    stream: TcpStream,
    progress: Arc<Progress>,
    limits: ConnectionLimits,
    reading: Clock,
    writing: Clock,
    backlog: Backlog,
    head: Lines,
    linger: Option<Linger>,
}

/// An answer that waits for its client.
#[derive(Default)]
struct Backlog {
    /// Since when it has waited for the client to take more.
    since: Option<Instant>,
    /// How long it waited before, and the bytes that were taken meanwhile.
    waited: Duration,
    taken: u64,
}

/// A connection that is closed, and whose client still sends.
struct Linger {
    deadline: Instant,
    left: usize,
}

impl Watched {
    pub(super) fn new(
        stream: TcpStream,
        progress: Arc<Progress>,
        limits: ConnectionLimits,
    ) -> Self {
        Self {
            stream,
            progress,
            limits,
            reading: Clock::default(),
            writing: Clock::default(),
            backlog: Backlog::default(),
            head: Lines::default(),
            linger: None,
        }
    }

    /// Tells a client whose request did not come in time, where it has begun one and takes what it is told at once.
    fn tell(&self) {
        if self.progress.phase() != Phase::Head {
            return;
        }
        let seconds = self.limits.head.as_secs();
        let detail = format!("the head of the request did not come within {seconds} s");
        let problem = Problem::new(TIMEOUT, detail);
        let body = problem.text(&Uuid::now_v7().to_string());
        let status = StatusCode::REQUEST_TIMEOUT;
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = self.stream.try_write(answer.as_bytes());
    }

    /// Notes what came.
    ///
    /// Errors: a line of a head ends with a line feed alone.
    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let phase = self.progress.phase();
        self.progress.came();
        match phase {
            Phase::Answering | Phase::Body | Phase::Leaving => return Ok(()),
            Phase::First | Phase::Idle => self.head = Lines::default(),
            Phase::Head => {}
        }
        if !self.head.end_bare(bytes) {
            return Ok(());
        }
        let _ = self.stream.try_write(BARE_FEED);
        let error = "a line of the head ends with a line feed alone";
        Err(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Errors: the client has taken too little for too long.
    fn poll_taken(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(count)) => self.backlog.take(count),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.progress.leaves(true);
                let deadline = self.backlog.wait(self.limits.stall);
                ready!(self.writing.poll(deadline, context));
                // Else the kernel keeps what was not taken, for minutes.
                let _ = self.stream.set_zero_linger();
                let error = "the client does not take its answer";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, error)));
            }
        }
        written
    }
}

impl Backlog {
    /// The client has taken so many bytes.
    fn take(&mut self, count: usize) {
        let Some(since) = self.since.take() else {
            return;
        };
        self.waited += since.elapsed();
        self.taken += count as u64;
        // Fast enough so far: it begins anew.
        if self.taken >= SLOWEST_ANSWER * (self.waited.as_secs() + 1) {
            *self = Self::default();
        }
    }

    /// Until when the client may take nothing.
    fn wait(&mut self, stall: Duration) -> Instant {
        let since = *self.since.get_or_insert_with(Instant::now);
        since + stall.saturating_sub(self.waited)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            let came = &buffer.filled()[before..];
            return Poll::Ready(read.and_then(|()| this.came(came)));
        }
        let deadline = match this.progress.deadline(&this.limits) {
            Some(deadline) if this.backlog.since.is_none() => deadline,
            // It is looked again: nobody else wakes this when the answer has left.
            _ => Instant::now() + this.limits.idle,
        };
        ready!(this.reading.poll(deadline, context));
        this.tell();
        let error = "the client sends nothing";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, error)))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.poll_taken(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.poll_taken(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress.leaves(false);
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let linger = this.linger.get_or_insert_with(|| Linger {
            deadline: Instant::now() + LINGER,
            left: LINGER_BYTES,
        });
        let mut thrown = [0; THROWN];
        while linger.left > 0 {
            let mut buffer = ReadBuf::new(&mut thrown);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    linger.left = linger.left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => break,
                // Who has sent nothing since is not waited for.
                Poll::Pending if linger.left == LINGER_BYTES => break,
                Poll::Pending => {
                    ready!(this.reading.poll(linger.deadline, context));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    /// How long a client may still take nothing that has kept the answer waiting so long and took so many bytes meanwhile.
    fn left(waited: u64, taken: usize) -> Duration {
        let ago = Instant::now().checked_sub(Duration::from_secs(waited));
        let mut backlog = Backlog {
            since: ago,
            ..Backlog::default()
        };
        backlog.take(taken);
        let now = Instant::now();
        let left = backlog.wait(STALL).saturating_duration_since(now);
        Duration::from_secs(left.as_secs_f64().round() as u64)
    }

    #[test]
    fn a_client_that_takes_less_than_a_kibibyte_a_second_uses_up_its_time() {
        assert_eq!(left(0, 1), STALL);
        assert_eq!(left(10, 1000), Duration::from_secs(20));
        assert_eq!(left(10, 10 * 1024), Duration::from_secs(20));
        assert_eq!(left(10, 11 * 1024), STALL);
        assert_eq!(left(31, 1), Duration::ZERO);
    }

    #[test]
    fn what_is_taken_at_once_counts_for_nothing() {
        let mut backlog = Backlog::default();
        backlog.take(1);
        assert_eq!((backlog.since, backlog.taken), (None, 0));
    }
}
