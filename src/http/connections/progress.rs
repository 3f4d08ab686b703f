//! What a connection is doing and since when, in one word that is read and written without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::http::connections::ConnectionLimits;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come yet.
    First,
    /// The head of a request is coming.
    Head,
    /// A request is being answered.
    Answering,
    /// The next piece of a request's body is waited for.
    Body,
    /// The last request was answered, and no other has begun.
    Idle,
    /// What was answered waits for the client to take it.
    Leaving,
}

const PHASES: [Phase; 6] = [
    Phase::First,
    Phase::Head,
    Phase::Answering,
    Phase::Body,
    Phase::Idle,
    Phase::Leaving,
];
/// Bits of a phase.
const BITS: u32 = 3;

/// What a connection is doing, and since when.
#[derive(Debug)]
pub(super) struct Progress {
    accepted: Instant,
    /// Milliseconds since then, and the phase in the last bits.
    word: AtomicU64,
    /// The same of what was answered and waits, whatever else goes on; 0 where nothing does.
    unsent: AtomicU64,
    dismissal: Notify,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            accepted: Instant::now(),
            word: AtomicU64::new(Phase::First as u64),
            unsent: AtomicU64::new(0),
            dismissal: Notify::new(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.read(&self.word).0
    }

    /// The phase, and how long it has lasted; where an answer waits for its client, that is the phase.
    pub(super) fn lasting(&self) -> (Phase, Duration) {
        let waits = self.unsent.load(Ordering::Relaxed) != 0;
        let word = if waits { &self.unsent } else { &self.word };
        let (phase, since) = self.read(word);
        (phase, since.elapsed())
    }

    fn read(&self, word: &AtomicU64) -> (Phase, Instant) {
        let word = word.load(Ordering::Relaxed);
        let phase = PHASES[(word & ((1 << BITS) - 1)) as usize];
        (phase, self.accepted + Duration::from_millis(word >> BITS))
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.word.store(self.word_of(phase), Ordering::Relaxed);
    }

    /// The phase as a word, from now on.
    fn word_of(&self, phase: Phase) -> u64 {
        let milliseconds = self.accepted.elapsed().as_millis() as u64;
        milliseconds << BITS | phase as u64
    }

    /// Notes that what was answered waits for the client, or has been taken.
    pub(super) fn leaves(&self, waits: bool) {
        let waited = self.unsent.load(Ordering::Relaxed) != 0;
        if waits != waited {
            let word = if waits {
                self.word_of(Phase::Leaving)
            } else {
                0
            };
            self.unsent.store(word, Ordering::Relaxed);
        }
    }

    /// Notes that something came. The time of a first request counts from the connection.
    pub(super) fn came(&self) {
        match self.phase() {
            Phase::First => self.word.store(Phase::Head as u64, Ordering::Relaxed),
            Phase::Idle => self.enter(Phase::Head),
            Phase::Head | Phase::Answering | Phase::Body | Phase::Leaving => {}
        }
    }

    /// When the client must have sent more, unless it is its answer that is waited for.
    pub(super) fn deadline(&self, limits: &ConnectionLimits) -> Option<Instant> {
        let (phase, since) = self.read(&self.word);
        match phase {
            Phase::First | Phase::Head => Some(since + limits.head),
            Phase::Idle => Some(since + limits.idle),
            Phase::Answering | Phase::Body | Phase::Leaving => None,
        }
    }

    /// Asks the connection to end, whatever it is doing.
    pub(super) fn dismiss(&self) {
        self.dismissal.notify_one();
    }

    pub(super) async fn dismissed(&self) {
        self.dismissal.notified().await;
    }

    /// What is idle once it is dropped.
    pub(super) fn leaving(self: &Arc<Self>) -> Answered {
        Answered(Arc::clone(self))
    }
}

/// The answer of a connection, which is idle once the answer has left.
#[derive(Debug)]
pub(super) struct Answered(Arc<Progress>);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        connections: 1,
        head: Duration::from_secs(10),
        head_bytes: 0,
        idle: Duration::from_mins(1),
        stall: Duration::ZERO,
    };

    impl Progress {
        /// A connection that has been in its phase so long.
        pub(crate) fn since(phase: Phase, lasting: Duration) -> Self {
            let accepted = Instant::now().checked_sub(lasting);
            Self {
                accepted: accepted.expect("the machine has run that long"),
                word: AtomicU64::new(phase as u64),
                unsent: AtomicU64::new(0),
                dismissal: Notify::new(),
            }
        }
    }

    /// In how many seconds the client must have sent more.
    fn left(progress: &Progress) -> Option<u64> {
        let deadline = progress.deadline(&LIMITS)?;
        let left = deadline.saturating_duration_since(Instant::now());
        Some(left.as_secs_f64().round() as u64)
    }

    #[test]
    fn a_first_head_has_its_time_from_the_connection_and_a_later_one_from_its_first_byte() {
        let progress = Arc::new(Progress::since(Phase::First, Duration::from_secs(4)));
        assert_eq!((progress.phase(), left(&progress)), (Phase::First, Some(6)));
        progress.came();
        assert_eq!((progress.phase(), left(&progress)), (Phase::Head, Some(6)));
        progress.enter(Phase::Answering);
        progress.came();
        assert_eq!(
            (progress.phase(), left(&progress)),
            (Phase::Answering, None)
        );
        progress.enter(Phase::Body);
        assert_eq!(left(&progress), None);
        drop(progress.leaving());
        assert_eq!((progress.phase(), left(&progress)), (Phase::Idle, Some(60)));
        progress.came();
        assert_eq!((progress.phase(), left(&progress)), (Phase::Head, Some(10)));
    }
}
