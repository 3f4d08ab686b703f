//! Traffic: whether predictions are asked for, so that those that train know whether somebody may wait for their processor.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long after a prediction the next is expected.
const EXPECTED: Duration = Duration::from_secs(1);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Milliseconds from the start until predictions are no longer expected. One for the process: what is shared are its processors.
static UNTIL: AtomicU64 = AtomicU64::new(0);

/// Notes that a prediction is asked for.
pub fn note_prediction() {
    let until = START.elapsed() + EXPECTED;
    UNTIL.store(until.as_millis() as u64, Ordering::Relaxed);
}

/// Whether predictions are asked for, of late, as of this moment.
pub fn is_predicting(now: Instant) -> bool {
    let since = now.saturating_duration_since(*START);
    (since.as_millis() as u64) < UNTIL.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_are_expected_for_a_second() {
        note_prediction();
        let now = Instant::now();
        assert!(is_predicting(now));
        // Others may note some meanwhile.
        assert!(!is_predicting(now + Duration::from_mins(10)));
    }
}
