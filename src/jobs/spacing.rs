//! When a checkpoint is due: so seldom that it costs little, and often enough that little is lost.

use std::time::{Duration, Instant};

use crate::jobs::control::Control;

/// The time between two checkpoints is at least so many times what the last one cost: 2 % of the time.
const SELDOM: u32 = 50;
/// The time between two checkpoints, at least.
const LEAST: Duration = Duration::from_secs(1);
/// Up to here it is twice that, 1 % of the time: whoever asks for predictions waits longer while a checkpoint is stored.
const OFTEN: Duration = Duration::from_secs(30);
/// How long an epoch's end is waited for before a checkpoint is made at the next step.
const EPOCH_PATIENCE: Duration = Duration::from_secs(5);

/// The last checkpoint of a run.
pub(super) struct Spacing {
    /// What it cost.
    cost: Duration,
    /// When it was stored, or could not be.
    at: Instant,
}

impl Spacing {
    /// Of a run that begins.
    pub(super) fn new() -> Self {
        Self {
            cost: Duration::ZERO,
            at: Instant::now(),
        }
    }

    /// Notes that one was made in so much time.
    pub(super) fn made(&mut self, cost: Duration) {
        self.cost = cost;
    }

    /// Notes that it was stored, in so much more.
    pub(super) fn stored(&mut self, cost: Duration) {
        self.cost += cost;
        self.at = Instant::now();
    }

    /// Notes that it could not be stored.
    pub(super) fn failed(&mut self) {
        self.at = Instant::now();
    }

    /// Asks for the next one where it is due.
    pub(super) fn ask(&self, control: &Control) {
        let (due, waited) = (due_after(self.cost), self.at.elapsed());
        if waited >= due {
            control.want_checkpoint(false);
        }
        if waited >= due + EPOCH_PATIENCE {
            control.want_checkpoint(true);
        }
    }
}

/// The time from a checkpoint of that cost to the next.
fn due_after(cost: Duration) -> Duration {
    let seldom = SELDOM * cost;
    seldom.max((2 * seldom).min(OFTEN)).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_is_asked_for_at_an_epochs_end_and_a_while_later_at_once() {
        let ago = |seconds: f64| {
            let before = Instant::now().checked_sub(Duration::from_secs_f64(seconds));
            before.expect("a while ago")
        };
        let mut spacing = Spacing::new();
        spacing.made(Duration::from_millis(30));
        spacing.stored(Duration::from_millis(10));
        assert_eq!(spacing.cost, Duration::from_millis(40));
        for (seconds, at_end, now) in [(3.5, false, false), (4.5, true, false), (9.5, true, true)] {
            let control = Control::of(1);
            spacing.at = ago(seconds);
            // First as soon as it is due, then again, as the runner does all the while.
            spacing.ask(&control);
            spacing.ask(&control);
            assert_eq!(control.take_checkpoint(false), now, "{seconds}");
            assert_eq!(control.take_checkpoint(true), at_end && !now, "{seconds}");
        }
        spacing.failed();
        let control = Control::of(1);
        spacing.ask(&control);
        assert!(!control.take_checkpoint(true));
    }

    #[test]
    fn a_checkpoint_takes_a_hundredth_of_the_time_up_to_30_s_and_a_fiftieth_beyond() {
        let ms = Duration::from_millis;
        for (cost, due) in [
            (0, 1000),
            (9, 1000),
            (20, 2000),
            (300, 30_000),
            (400, 30_000),
            (600, 30_000),
            (1000, 50_000),
        ] {
            assert_eq!(due_after(ms(cost)), ms(due), "{cost}");
        }
    }
}
