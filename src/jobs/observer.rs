//! The observer of a run: hands what the training thread reports to the task that stores it.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::jobs::Jobs;
use crate::jobs::control::{Control, Stop};
use crate::jobs::pace::Pace;
use crate::nn::{pause_by, paused_by};
use crate::store::{HistoryRow, NewCheckpoint};
use crate::train::{Checkpoint, EpochReport, Observer};

/// How long who makes checkpoints rests, all in all.
const RESTS: Duration = Duration::from_secs(1);

/// What a training thread tells.
#[expect(clippy::large_enum_variant, reason = "most are epochs")]
pub(crate) enum Told {
    /// An epoch is done.
    Epoch {
        row: HistoryRow,
        /// The fold that its run leaves out, of cross-validation, counted from 1; the history is without those.
        fold: Option<u64>,
        samples: u64,
        /// For how long the job has trained.
        trained: Duration,
    },
    /// A checkpoint was made.
    Checkpoint {
        checkpoint: Box<Checkpoint>,
        /// For how long the job has trained.
        trained: Duration,
    },
}

/// Reports of a training thread. Sending blocks where the store falls far behind, so that memory stays bounded.
pub(crate) struct Reporter {
    pub(crate) control: Arc<Control>,
    pub(crate) told: mpsc::Sender<Told>,
    /// None until training begins: reading and preparing the data is not part of an epoch.
    pub(crate) epoch_began: Option<Instant>,
    /// When this attempt began to train.
    pub(crate) began: Option<Instant>,
    /// For how long the attempts before it had trained, up to where this one goes on.
    pub(crate) before: Duration,
    /// For how long the job may train.
    pub(crate) most: Option<Duration>,
    pub(crate) pace: Arc<Pace>,
}

impl Reporter {
    /// For how long the job has trained.
    pub(crate) fn trained(&self) -> Duration {
        self.before + self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    fn tell_epoch(&mut self, fold: Option<u64>, report: EpochReport) {
        let now = Instant::now();
        let began = self.epoch_began.replace(now).unwrap_or(now);
        let seconds = (now - began).as_secs_f64();
        let samples = report.samples;
        let row = HistoryRow::of(report, seconds);
        let trained = self.trained();
        self.tell(Told::Epoch {
            row,
            fold,
            samples,
            trained,
        });
    }

    fn tell(&self, told: Told) {
        if self.told.blocking_send(told).is_err() {
            self.control.stop(Stop::Lost);
        }
    }
}

impl Observer for Reporter {
    fn poll(&mut self) -> ControlFlow<()> {
        let began = self.epoch_began.get_or_insert_with(Instant::now);
        self.began.get_or_insert(*began);
        self.poll_preparing()
    }

    fn poll_preparing(&mut self) -> ControlFlow<()> {
        self.pace.keep();
        if self.control.is_waiting() {
            let waited = self.control.stand_still();
            for began in [&mut self.began, &mut self.epoch_began]
                .into_iter()
                .flatten()
            {
                *began += waited;
            }
        }
        if self.control.is_stopped() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn wants_checkpoint(&mut self, epoch_end: bool) -> bool {
        self.control.take_checkpoint(epoch_end)
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.tell(Told::Checkpoint {
            checkpoint: Box::new(checkpoint),
            trained: self.trained(),
        });
    }

    fn wants_parameter_digest(&self) -> bool {
        true
    }

    fn epoch(&mut self, report: EpochReport) {
        self.tell_epoch(None, report);
    }

    fn epoch_of_fold(&mut self, fold: u64, report: EpochReport) {
        self.tell_epoch(Some(fold), report);
    }

    fn is_out_of_time(&mut self) -> bool {
        self.most.is_some_and(|most| self.trained() >= most)
    }
}

impl Jobs {
    /// Checkpoints as bytes, made where it holds no other task up, giving way to predictions, and resting under a quota.
    pub(crate) async fn encoded(
        &self,
        checkpoints: Vec<Checkpoint>,
        trained: Duration,
    ) -> Vec<NewCheckpoint> {
        let pace = Arc::clone(&self.inner.pace);
        let encode = move || {
            // A long prediction that this thread computes later, or a version that it makes, gives way to shorter ones.
            let later = Arc::clone(&pace);
            pause_by(move || later.give_way());
            let each = checkpoints.iter();
            let each = each.map(|at| NewCheckpoint::of(at, trained.as_secs_f64()));
            let left = Cell::new(RESTS);
            paused_by(move || pace.keep_within(&left), || each.collect())
        };
        let encoded = tokio::task::spawn_blocking(encode).await;
        encoded.expect("a checkpoint can be encoded")
    }
}
