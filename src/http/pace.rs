//! Pace: how fast a body must come. Only what the client makes the server wait counts, not how long the server takes for a piece.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};

use crate::http::problem::{BROKEN_BODY, Problem, TIMEOUT};

/// How slowly a body may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowest {
    /// Bytes in a second, once [`Slowest::grace`] is over.
    pub bytes_per_second: u64,
    /// How long it may come at any pace.
    pub grace: Duration,
    /// Between two pieces.
    pub idle: Duration,
    /// In all, where that is bounded.
    pub whole: Option<Duration>,
}

/// A body that comes at a pace.
pub(crate) struct Paced {
    body: Body,
    slowest: Slowest,
    received: u64,
    waited: Duration,
}

impl Paced {
    pub(crate) fn new(body: Body, slowest: Slowest) -> Self {
        Self {
            body,
            slowest,
            received: 0,
            waited: Duration::ZERO,
        }
    }

    /// The next piece, none at the end.
    ///
    /// Errors: it does not come in time; the connection broke off.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let asked = Instant::now();
            let came = timeout(self.left(), self.body.frame()).await;
            self.waited += asked.elapsed();
            let Some(piece) = came.map_err(|_| self.too_slow())? else {
                return Ok(None);
            };
            let piece = piece.map_err(|_| {
                let detail = "the connection broke off before the end of the body";
                Problem::new(BROKEN_BODY, detail)
            })?;
            // Trailers are none of the body.
            if let Ok(piece) = piece.into_data() {
                self.received += piece.len() as u64;
                return Ok(Some(piece));
            }
        }
    }

    /// How long the next piece may take.
    fn left(&self) -> Duration {
        let Slowest { idle, whole, .. } = self.slowest;
        let whole = whole.unwrap_or(Duration::MAX);
        let left = self.by_pace().min(whole).saturating_sub(self.waited);
        left.min(idle)
    }

    /// How long what was received may have taken.
    fn by_pace(&self) -> Duration {
        let seconds = self.received as f64 / self.slowest.bytes_per_second as f64;
        self.slowest.grace.max(Duration::from_secs_f64(seconds))
    }

    fn too_slow(&self) -> Problem {
        let Slowest {
            bytes_per_second,
            grace,
            idle,
            whole,
        } = self.slowest;
        let detail = if whole.is_some_and(|whole| self.waited >= whole) {
            let whole = whole.unwrap_or_default().as_secs();
            format!("the body did not come within {whole} s")
        } else if self.waited >= self.by_pace() {
            format!(
                "the body must come at {bytes_per_second} bytes per second at least once {} s are over, got {} bytes in {:.0} s",
                grace.as_secs(),
                self.received,
                self.waited.as_secs_f64()
            )
        } else {
            format!("nothing came for {} s", idle.as_secs())
        };
        Problem::new(TIMEOUT, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of which so many bytes have come in so many seconds: how long its next piece may take, and what it is told after that.
    fn paced(received: u64, waited: u64, whole: Option<u64>) -> (Duration, String) {
        let slowest = Slowest {
            bytes_per_second: 100,
            grace: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            whole: whole.map(Duration::from_secs),
        };
        let mut paced = Paced::new(Body::empty(), slowest);
        (paced.received, paced.waited) = (received, Duration::from_secs(waited));
        let left = paced.left();
        paced.waited += left;
        (left, paced.too_slow().detail)
    }

    #[test]
    fn a_body_may_come_at_any_pace_for_a_while_and_then_at_a_pace_and_never_stand_still() {
        let slow = |received: u64, seconds: u64| {
            format!(
                "the body must come at 100 bytes per second at least once 10 s are over, got {received} bytes in {seconds} s"
            )
        };
        let seconds = Duration::from_secs;
        assert_eq!(paced(0, 0, None), (seconds(10), slow(0, 10)));
        assert_eq!(paced(9, 9, None), (seconds(1), slow(9, 10)));
        assert_eq!(paced(2000, 15, None), (seconds(5), slow(2000, 20)));
        assert_eq!(
            paced(1_000_000, 15, None),
            (seconds(30), "nothing came for 30 s".to_owned())
        );
        assert_eq!(
            paced(1_000_000, 55, Some(60)),
            (seconds(5), "the body did not come within 60 s".to_owned())
        );
        assert_eq!(paced(100, 70, Some(60)).0, Duration::ZERO);
    }

    #[tokio::test]
    async fn a_body_comes_piece_by_piece_and_ends() {
        let slowest = Slowest {
            bytes_per_second: 1,
            grace: Duration::from_mins(1),
            idle: Duration::from_mins(1),
            whole: None,
        };
        let mut body = Paced::new(Body::from("rows"), slowest);
        assert_eq!(body.next().await.expect("a piece"), Some("rows".into()));
        assert_eq!(body.next().await.expect("an end"), None);
        assert_eq!(body.received, 4);
    }
}
