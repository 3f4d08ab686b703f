//! Control: what the rest of the server tells a training thread, through one atomic that the thread reads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

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
    /// The job is no longer this attempt's, or the store failed.
    Lost,
}

const GO_ON: u8 = 0;
const CHECKPOINT_AT_EPOCH_END: u8 = 1;
const CHECKPOINT_NOW: u8 = 2;
const STOP: u8 = 3;

/// What a training thread is told.
#[derive(Debug, Default)]
pub(crate) struct Control {
    signal: AtomicU8,
    stop: Mutex<Option<Stop>>,
    /// For the task that reads the data before there is a training thread.
    told: Notify,
}

impl Control {
    /// Stops the run between two mini-batches. The first reason stands.
    pub(crate) fn stop(&self, reason: Stop) {
        lock(&self.stop).get_or_insert(reason);
        self.signal.store(STOP, Ordering::Release);
        self.told.notify_one();
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
    fn the_first_reason_to_stop_stands_and_no_checkpoint_lifts_it() {
        let control = Control::default();
        control.stop(Stop::Shutdown);
        control.stop(Stop::Lost);
        control.want_checkpoint(false);
        assert!(control.is_stopped());
        assert_eq!(control.stopped(), Some(Stop::Shutdown));
    }
}
