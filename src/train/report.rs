//! What a run tells of itself while it goes on, and whom it asks whether to go on.

use std::ops::ControlFlow;

use crate::model::ParameterDigest;
use crate::nn::NetworkStatistics;
use crate::train::{Checkpoint, Metrics};

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Steps taken so far in the run.
    pub step: u64,
    /// The learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Over the epoch's batches, each before its update, and with the dropout and noise of its step.
    pub train: Metrics,
    /// After the epoch.
    pub validation: Option<Metrics>,
    /// Of the epoch's last step, where the epoch is recorded.
    pub statistics: Option<NetworkStatistics>,
    /// Of the parameters that the epoch ended with, where it was wanted: those which the next epoch goes on from, and which a version
    /// of this epoch has. Where a run ends with its best epoch, that is an earlier one than the last.
    pub parameter_digest: Option<ParameterDigest>,
    /// Samples trained on in the epoch.
    pub samples: u64,
}

/// Who a run reports to. Called on the training thread: every call must be quick.
pub trait Observer {
    /// Asked again and again while the data is prepared: `Break` stops the run before it has begun.
    fn poll_preparing(&mut self) -> ControlFlow<()>;
    /// Asked as often as there are chunks of a batch: `Break` stops the run at the last whole step.
    fn poll(&mut self) -> ControlFlow<()>;
    /// Asked after each step: whether a checkpoint is wanted here. `epoch_end` tells whether the epoch is done.
    fn wants_checkpoint(&mut self, epoch_end: bool) -> bool;
    /// Takes a checkpoint that was wanted.
    fn checkpoint(&mut self, checkpoint: Checkpoint);
    /// Whether each epoch is told with the digest of its parameters: it costs a pass over them.
    fn wants_parameter_digest(&self) -> bool {
        false
    }
    /// Takes an epoch's report.
    fn epoch(&mut self, report: EpochReport);
    /// Takes an epoch's report of the run that leaves out a fold, counted from 1.
    fn epoch_of_fold(&mut self, _fold: u64, _report: EpochReport) {}
    /// Asked after each epoch's report: whether the run has had the time that it was given. It then ends as if it had learned
    /// what it can. The observer has a clock; the run has none.
    fn is_out_of_time(&mut self) -> bool {
        false
    }
}

/// Epochs whose gradient statistics are recorded, at most: the first, the last, and as many between.
const MOST_RECORDED: u64 = 200;

/// Whether gradient statistics are recorded in `epoch` of `epochs`: by number, never by the clock.
pub fn is_recorded(epoch: u64, epochs: u64) -> bool {
    epoch == 1 || epoch == epochs || epoch.is_multiple_of(epochs.div_ceil(MOST_RECORDED))
}
