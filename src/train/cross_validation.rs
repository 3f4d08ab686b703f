//! Training, of one run or of a cross-validation: a run for each fold, which leaves it out, and then one on all rows.

use std::ops::ControlFlow;

use crate::model::Model;
use crate::nn::{Team, flush_denormals};
use crate::train::run::train_once;
use crate::train::{
    AnyOptimizerState, CheckedSpec, Checkpoint, CrossValidation, EpochReport, Error, FoldReport,
    Folds, Observer, Outcome, Source, SplitReport,
};

/// Trains `base` on `source` as `spec` says, from the start or from a checkpoint, to the same bits either way. The caller's thread
/// leads `team`, of whose size the bits do not depend.
///
/// A cross-validation of K folds is K + 1 runs from the same base. Each of the first K leaves a fold of the rows out: whatever is
/// fitted is fitted on the other rows alone, and the fold is met once, by the parameters that the run ends with. The last run is
/// on all rows, and ends with the model.
///
/// Errors: a run diverged; the data is not what the spec was checked against.
/// Source: Stone (1974), "Cross-validatory choice and assessment of statistical predictions"; Kohavi (1995), "A study of
/// cross-validation and bootstrap", for strata.
pub fn train(
    spec: &CheckedSpec,
    base: Model,
    mut source: Source,
    resume: Option<Checkpoint>,
    team: &Team,
    observer: &mut impl Observer,
) -> Result<Outcome, Error> {
    if spec.cross_validation.is_none() {
        return train_on_all_rows(spec, base, source, resume, team, observer);
    }
    let (_leading, _flushing) = (team.lead(), flush_denormals());
    let start = (resume, source.optimizer.take());
    cross_validate(spec, &base, source, start, team, observer)
}

/// The run on all rows alone, which is all of a job but the runs of a cross-validation that leave a fold out: as [`train`] makes it,
/// to the same bits.
///
/// Errors: as [`train`].
pub fn train_on_all_rows(
    spec: &CheckedSpec,
    base: Model,
    mut source: Source,
    resume: Option<Checkpoint>,
    team: &Team,
    observer: &mut impl Observer,
) -> Result<Outcome, Error> {
    let (_leading, _flushing) = (team.lead(), flush_denormals());
    let start = (resume, source.optimizer.take());
    let mut observed = OfRun {
        observer,
        folds: None,
    };
    train_once(spec, base, source, start, team, &mut observed)
}

fn cross_validate(
    spec: &CheckedSpec,
    base: &Model,
    mut source: Source,
    (mut resume, optimizer): (Option<Checkpoint>, Option<AnyOptimizerState>),
    team: &Team,
    observer: &mut impl Observer,
) -> Result<Outcome, Error> {
    let folds = resume
        .as_ref()
        .and_then(|checkpoint| checkpoint.folds.clone());
    let mut folds = folds.unwrap_or_default();
    loop {
        let left_out = Some(folds.done.len()).filter(|&fold| fold < spec.fold_rows().len());
        let run = left_out.map_or_else(|| spec.clone(), |fold| spec.without(fold));
        source.left_out = left_out.map(|fold| fold as u32);
        folds.left_out = left_out.map(|fold| fold as u64 + 1);
        folds.steps_per_epoch = run.steps_per_epoch();
        let start = (resume.take(), optimizer.clone());
        let is_begun = start.0.is_some();
        let mut observed = OfRun {
            observer,
            folds: Some(&folds),
        };
        let ended = train_once(&run, base.clone(), &source, start, team, &mut observed);
        let ended = ended.map_err(|error| folds.failed(error))?;
        let of_run = |checkpoint| Checkpoint {
            folds: Some(folds.clone()),
            ..checkpoint
        };
        return Ok(match ended {
            Outcome::Finished { epochs, report, .. } if left_out.is_some() => {
                folds.finish(epochs, report.validation)?;
                continue;
            }
            Outcome::Finished {
                model,
                epochs,
                ended_by,
                best,
                last,
                mut report,
            } => {
                let last = last.map(of_run);
                report.cross_validation = Some(CrossValidation::of(folds.done));
                Outcome::Finished {
                    model,
                    epochs,
                    ended_by,
                    best,
                    last,
                    report,
                }
            }
            Outcome::Unprepared if is_begun || folds.done.is_empty() => Outcome::Unprepared,
            Outcome::Unprepared => Outcome::Stopped {
                at: of_run(Checkpoint::beginning(base.clone(), optimizer)),
                epoch_end: None,
            },
            Outcome::Stopped { at, epoch_end } => Outcome::Stopped {
                at: of_run(at),
                // Nobody goes on from the end of an epoch that leaves rows out.
                epoch_end: epoch_end.filter(|_| left_out.is_none()).map(of_run),
            },
        });
    }
}

impl Folds {
    /// Takes what the run that left a fold out came to on it.
    ///
    /// Errors: the loss on the fold is not finite.
    fn finish(&mut self, epochs: u64, report: Option<SplitReport>) -> Result<(), Error> {
        let Some(SplitReport { rows, metrics }) = report else {
            let diverged = Error::Diverged {
                quantity: "validation loss",
                epoch: epochs,
                step: self.steps_per_epoch,
            };
            return Err(self.failed(diverged));
        };
        self.steps += epochs * self.steps_per_epoch;
        self.done.push(FoldReport {
            fold: self.done.len() as u64 + 1,
            rows,
            metrics: metrics.metrics,
        });
        Ok(())
    }

    /// The error of the present run, which says of which it is.
    fn failed(&self, error: Error) -> Error {
        match self.left_out {
            Some(fold) => Error::Fold {
                fold,
                source: Box::new(error),
            },
            None => error,
        }
    }
}

/// The observer of one run: whatever is told of it says which run it is.
struct OfRun<'a, O> {
    observer: &'a mut O,
    folds: Option<&'a Folds>,
}

impl<O: Observer> Observer for OfRun<'_, O> {
    fn poll_preparing(&mut self) -> ControlFlow<()> {
        self.observer.poll_preparing()
    }

    fn poll(&mut self) -> ControlFlow<()> {
        self.observer.poll()
    }

    fn wants_checkpoint(&mut self, epoch_end: bool) -> bool {
        self.observer.wants_checkpoint(epoch_end)
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.observer.checkpoint(Checkpoint {
            folds: self.folds.cloned(),
            ..checkpoint
        });
    }

    /// Of a run that leaves a fold out nothing is kept but what it comes to.
    fn wants_parameter_digest(&self) -> bool {
        let leaves_out = self.folds.is_some_and(|folds| folds.left_out.is_some());
        !leaves_out && self.observer.wants_parameter_digest()
    }

    fn epoch(&mut self, report: EpochReport) {
        match self.folds.and_then(|folds| folds.left_out) {
            Some(fold) => self.observer.epoch_of_fold(fold, report),
            None => self.observer.epoch(report),
        }
    }

    fn is_out_of_time(&mut self) -> bool {
        self.observer.is_out_of_time()
    }
}
