//! Control: what the rest of the server tells a training thread, through one atomic that the thread reads.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::jobs::lock;
use crate::store::Request;

/// Why a run is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its user asked for it.
    Requested(Request),
    /// The server ends: the job goes back into the queue.
    Shutdown,
    /// The job has trained for as long as one may.
    TimeLimit,
    /// The job is no longer this attempt's, or the store failed.
    Lost,
}

const GO_ON: u8 = 0;
const CHECKPOINT_AT_EPOCH_END: u8 = 1;
const CHECKPOINT_NOW: u8 = 2;
const STOP: u8 = 3;
const WAIT: u8 = 4;

/// What a training thread is told.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// The attempt at the job that it is for.
    attempt: u64,
    signal: AtomicU8,
    stop: Mutex<Option<Stop>>,
    /// For the task that reads the data before there is a training thread.
    told: Notify,
    /// For the training thread that stands still.
    moved: Condvar,
}

impl Control {
    pub(crate) fn of(attempt: u64) -> Self {
        Self {
            attempt,
            ..Self::default()
        }
    }

    pub(crate) fn attempt(&self) -> u64 {
        self.attempt
    }

    /// Stops the run between two mini-batches. The first reason stands.
    pub(crate) fn stop(&self, reason: Stop) {
        let mut stop = lock(&self.stop);
        stop.get_or_insert(reason);
        self.signal.store(STOP, Ordering::Release);
        drop(stop);
        self.moved.notify_all();
        self.told.notify_one();
    }

    /// Lets the run stand still at its next step until the disk has room. Returns whether that is new.
    pub(crate) fn wait_for_disk(&self) -> bool {
        let standing = |signal| (signal != STOP && signal != WAIT).then_some(WAIT);
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        self.signal.fetch_update(success, failure, standing).is_ok()
    }

    /// Lets a run that stands still go on. Returns whether it did stand still.
    pub(crate) fn go_on(&self) -> bool {
        let stop = lock(&self.stop);
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let stood = self.signal.compare_exchange(WAIT, GO_ON, success, failure);
        drop(stop);
        self.moved.notify_all();
        stood.is_ok()
    }

    /// Whether the run stands still, or is about to.
    pub(crate) fn is_waiting(&self) -> bool {
        self.signal.load(Ordering::Acquire) == WAIT
    }

    /// Returns once the run may go on or is to stop, and how long that took.
    pub(crate) fn stand_still(&self) -> Duration {
        let began = Instant::now();
        let mut stop = lock(&self.stop);
        while self.is_waiting() {
            let moved = self.moved.wait(stop);
            stop = moved.unwrap_or_else(PoisonError::into_inner);
        }
        began.elapsed()
    }

    /// Done once the run is to stop.
    pub(crate) async fn told_to_stop(&self) {
        while !self.is_stopped() {
            self.told.notified().await;
        }
    }

    /// Why the run was stopped.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        *lock(&self.stop)
    }

    /// Asks for a checkpoint: at the next epoch's end, or at the next step where that is too far.
    pub(crate) fn want_checkpoint(&self, now: bool) {
        let (from, to) = if now {
            (CHECKPOINT_AT_EPOCH_END, CHECKPOINT_NOW)
        } else {
            (GO_ON, CHECKPOINT_AT_EPOCH_END)
        };
        let _ = self
            .signal
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Whether the run is to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.signal.load(Ordering::Acquire) == STOP
    }

    /// Whether a checkpoint is wanted here; once it is answered, none is until the next is asked for.
    pub(crate) fn take_checkpoint(&self, epoch_end: bool) -> bool {
        match self.signal.load(Ordering::Acquire) {
            CHECKPOINT_NOW => self.answered(CHECKPOINT_NOW),
            CHECKPOINT_AT_EPOCH_END if epoch_end => self.answered(CHECKPOINT_AT_EPOCH_END),
            _ => false,
        }
    }

    fn answered(&self, signal: u8) -> bool {
        self.signal
            .compare_exchange(signal, GO_ON, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_made_once_for_each_time_it_is_asked_for() {
        let control = Control::default();
        assert!(!control.take_checkpoint(true));
        control.want_checkpoint(false);
        assert!(!control.take_checkpoint(false));
        assert!(control.take_checkpoint(true));
        assert!(!control.take_checkpoint(true));
        control.want_checkpoint(false);
        control.want_checkpoint(true);
        assert!(control.take_checkpoint(false));
    }

    #[test]
    fn a_run_that_waits_for_the_disk_goes_on_or_stops() {
        for stops in [false, true] {
            let control = Control::default();
            control.want_checkpoint(false);
            assert!(control.wait_for_disk());
            assert!(!control.wait_for_disk(), "it waits already");
            std::thread::scope(|scope| {
                let standing = scope.spawn(|| control.stand_still());
                assert!(control.is_waiting());
                if stops {
                    control.stop(Stop::Shutdown);
                    assert!(!control.wait_for_disk(), "it stops");
                } else {
                    assert!(control.go_on());
                }
                standing.join().expect("it moves again");
            });
            assert_eq!(control.is_stopped(), stops);
            assert!(!control.go_on());
        }
    }

    #[test]
    fn the_first_reason_to_stop_stands_and_no_checkpoint_lifts_it() {
        let control = Control::default();
        control.stop(Stop::Shutdown);
        control.stop(Stop::Lost);
        control.want_checkpoint(false);
        assert!(control.is_stopped());
        assert_eq!(control.stopped(), Some(Stop::Shutdown));
    }
}
