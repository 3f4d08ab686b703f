//! A run of `train::train` with a clock: an observer that times epochs and costs nothing else.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use gradientd::model::Model;
use gradientd::nn::Team;
use gradientd::train::{
    CheckedSpec, Checkpoint, EpochReport, FullReport, Observer, Outcome, Source, train,
};

/// Epochs of a job whose gradients are recorded in its first epoch alone, and then in one of 500.
pub(crate) const UNRECORDED: u64 = 100_000;

/// Told the seconds of each epoch; says whether to go on.
pub(crate) trait Timekeeper {
    /// Before the first step, when the data is ready.
    fn begin(&mut self) {}
    /// After each epoch. What this takes is not counted.
    fn epoch(&mut self, seconds: f64) -> ControlFlow<()>;
}

struct Clock<'a, K> {
    keeper: &'a mut K,
    began: Option<Instant>,
    is_over: bool,
}

impl<K: Timekeeper> Observer for Clock<'_, K> {
    fn poll_preparing(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn poll(&mut self) -> ControlFlow<()> {
        if self.began.is_none() {
            self.keeper.begin();
            self.began = Some(Instant::now());
        }
        ControlFlow::Continue(())
    }

    fn wants_checkpoint(&mut self, _epoch_end: bool) -> bool {
        false
    }

    fn checkpoint(&mut self, _checkpoint: Checkpoint) {}

    /// As jobs do.
    fn wants_parameter_digest(&self) -> bool {
        true
    }

    fn epoch(&mut self, _report: EpochReport) {
        let spent = self.began.map_or(Duration::ZERO, |began| began.elapsed());
        self.is_over = self.keeper.epoch(spent.as_secs_f64()).is_break();
        self.began = Some(Instant::now());
    }

    fn is_out_of_time(&mut self) -> bool {
        self.is_over
    }
}

/// Trains until the spec's epochs are over or the keeper says so; the model, and the report of it.
///
/// Panics: where the run fails.
pub(crate) fn run(
    spec: &CheckedSpec,
    base: Model,
    source: Source,
    team: &Team,
    keeper: &mut impl Timekeeper,
) -> (Model, FullReport) {
    let mut clock = Clock {
        keeper,
        began: None,
        is_over: false,
    };
    match train(spec, base, source, None, team, &mut clock) {
        Ok(Outcome::Finished { model, report, .. }) => (model, *report),
        Ok(_) => unreachable!("the clock breaks nothing off"),
        Err(error) => panic!("the workload must train: {error}"),
    }
}
