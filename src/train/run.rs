//! The run: epochs of shuffled mini-batches, each backpropagated and descended, observed from outside.

use std::borrow::Borrow;
use std::ops::ControlFlow;

use crate::model::{AnyNetwork, Model, ParameterDigest};
use crate::nn::{
    Backpropagation, Clock, Loss, Network, NetworkStatistics, Noise, OptimizerState, Scalar,
    Stepped, Team, network_statistics,
};
use crate::train::descent::Descent;
use crate::train::feed::Feed;
use crate::train::figures::Answers;
use crate::train::frame::Frame;
use crate::train::full_report::Assessed;
use crate::train::place::{BaseParts, EpochEnd, Place, Start};
use crate::train::prepare::{Prepared, prepare};
use crate::train::stopping::Watch;
use crate::train::{
    AnyOptimizerState, CheckedSpec, Checkpoint, EndedBy, EpochReport, EpochSums, Error, FullReport,
    Metric, Metrics, Observer, Outcome, Source, is_recorded,
};

/// One run of `base` on `source` as `spec` says, from the start or from a checkpoint, to the same bits either way. Of the start
/// there may be what the optimizer remembers. A source that is owned is dropped once it is prepared.
///
/// p ← p − η·∂C/∂p after each batch; the batches of an epoch are consecutive pieces of a permutation keyed by
/// (seed, epoch). Sums over samples go through the fixed tree of [`crate::nn::FixedTree`]. The caller's thread leads `team`,
/// of whose size the bits do not depend.
///
/// Errors: the run diverged; the data is not what the spec was checked against.
/// Source: Arango, gradient descent; Nielsen (2015), chapter 1, mini-batches.
pub(super) fn train_once(
    spec: &CheckedSpec,
    base: Model,
    source: impl Borrow<Source>,
    (resume, state): (Option<Checkpoint>, Option<AnyOptimizerState>),
    team: &Team,
    observer: &mut impl Observer,
) -> Result<Outcome, Error> {
    let header = base.header();
    // The network is moved: a run holds it once.
    let Model {
        network,
        preprocessing,
        ..
    } = base;
    let base = BaseParts {
        header,
        preprocessing,
    };
    let (network, state, best, place) = if let Some(checkpoint) = resume {
        drop(network);
        Place::of(checkpoint)
    } else {
        (network, state, None, Place::default())
    };
    match network {
        AnyNetwork::Float32(network) => {
            let start = Start {
                network,
                state: state.and_then(AnyOptimizerState::float32),
                best: best.and_then(AnyNetwork::float32),
                place,
                team: team.clone(),
            };
            train_from(spec, &base, source, start, observer)
        }
        AnyNetwork::Float64(network) => {
            let start = Start {
                network,
                state: state.and_then(AnyOptimizerState::float64),
                best: best.and_then(AnyNetwork::float64),
                place,
                team: team.clone(),
            };
            train_from(spec, &base, source, start, observer)
        }
    }
}

fn train_from<T: Scalar>(
    spec: &CheckedSpec,
    base: &BaseParts,
    source: impl Borrow<Source>,
    start: Start<T>,
    observer: &mut impl Observer,
) -> Result<Outcome, Error>
where
    AnyNetwork: From<Network<T>>,
    AnyOptimizerState: From<OptimizerState<T>>,
{
    let poll = &mut || observer.poll_preparing();
    let prepared = prepare::<T>(spec, base, source.borrow(), &start.team, poll)?;
    drop(source);
    match prepared {
        ControlFlow::Continue(prepared) => {
            Run::new(spec, base.header.loss, prepared, start)?.run(observer)
        }
        ControlFlow::Break(()) => Ok(Outcome::Unprepared),
    }
}

pub(super) struct Run<'a, T: Scalar> {
    pub(super) spec: &'a CheckedSpec,
    pub(super) frame: Frame,
    pub(super) network: Network<T>,
    /// Memory for the parameters before a step that is recorded. What is in it is of account in that step alone.
    before: Option<Network<T>>,
    /// The end of the last finished epoch, while no checkpoint of it was made.
    pub(super) epoch_end: Option<EpochEnd<T>>,
    pub(super) train: Feed<T>,
    pub(super) validation: Option<Feed<T>>,
    /// The fold that is left out.
    left_out: Option<Feed<T>>,
    pub(super) backpropagation: Backpropagation<T>,
    pub(super) team: Team,
    pub(super) descent: Descent<T>,
    pub(super) watch: Watch<T>,
    pub(super) place: Place,
}

/// A run broken off between two steps.
struct Stopped;

/// The split whose figures are wanted.
#[derive(Clone, Copy)]
enum Of {
    Train,
    Validation,
}

impl<'a, T: Scalar> Run<'a, T>
where
    AnyNetwork: From<Network<T>>,
    AnyOptimizerState: From<OptimizerState<T>>,
{
    fn new(
        spec: &'a CheckedSpec,
        loss: Loss,
        prepared: Prepared<T>,
        start: Start<T>,
    ) -> Result<Self, Error> {
        let Prepared {
            preprocessing,
            golden,
            train,
            validation,
            left_out,
        } = prepared;
        let frame = Frame {
            loss,
            preprocessing,
            golden,
            targets: spec.targets.clone(),
        };
        let Start {
            network,
            state,
            best,
            place,
            team,
        } = start;
        let stops = (spec.early_stopping, spec.target_metric);
        let watch = Watch::new(stops, &network, (place.watched, best));
        let mut descent = Descent::new(spec, &network);
        // A fresh state in mid-run would end with other bits.
        let is_begun = place.epoch > 0 || place.step > 0;
        let restored = match state {
            Some(state) => descent.restore(state),
            None => !is_begun || spec.optimizer.slots() == 0,
        };
        if !restored {
            let detail = "the checkpoint has not the state of this optimizer".to_owned();
            return Err(Error::Data { detail });
        }
        network.prefer_large_pages();
        let hidden_layers = network.layers().len() - 1;
        let noise = Noise::new(&spec.regularization, hidden_layers, spec.seed);
        Ok(Self {
            spec,
            frame,
            epoch_end: None,
            backpropagation: Backpropagation::new(&network, spec.batch_rows())
                .with(noise)
                .freezing(spec.frozen_layers())
                .judging(spec.targets.rightness())
                .by(team.clone()),
            team,
            descent,
            watch,
            before: None,
            network,
            train,
            validation,
            left_out,
            place,
        })
    }

    fn run(mut self, observer: &mut impl Observer) -> Result<Outcome, Error> {
        // An epoch that has begun is finished, whatever its steps have found.
        let is_over = |run: &Self| run.place.step == 0 && run.watch.ending().is_some();
        while self.place.epoch < self.spec.epochs && !is_over(&self) {
            if let Err(Stopped) = self.epoch(observer)? {
                return Ok(self.stopped());
            }
        }
        if self.watch.state().1.is_none()
            && let Some(last) = self.last()
        {
            // It can be stored while the figures are computed.
            observer.checkpoint(last);
        }
        self.before = None;
        let ControlFlow::Continue(report) = self.full_report(observer)? else {
            return Ok(self.stopped());
        };
        let ended_by = match self.watch.ending() {
            // The time is of no account where nothing was left to do.
            None | Some(EndedBy::MaxSeconds) if self.place.epoch >= self.spec.epochs => {
                EndedBy::Epochs
            }
            ending => ending.unwrap_or(EndedBy::Epochs),
        };
        let last = self.last().map(|last| Checkpoint { best: None, ..last });
        let (network, best) = match self.watch.into_best() {
            Some((network, best)) => (network, Some(best)),
            None => (self.network, None),
        };
        Ok(Outcome::Finished {
            model: self.frame.model(AnyNetwork::from(network)),
            epochs: self.place.epoch,
            ended_by,
            best,
            last,
            report: Box::new(report),
        })
    }

    /// The run as it stands. An epoch's end is kept beside it where it stands beyond one.
    fn stopped(mut self) -> Outcome {
        // At an epoch's end the checkpoint of where it stands is that of the end, with the optimizer's state.
        let is_beyond = self.place.step > 0;
        let epoch_end = is_beyond.then(|| self.untold_epoch_end()).flatten();
        let at = self.checkpoint_here();
        Outcome::Stopped { at, epoch_end }
    }

    /// Every figure of the parameters that the run ends with; `Break` where the observer broke off.
    fn full_report(
        &mut self,
        observer: &mut impl Observer,
    ) -> Result<ControlFlow<(), FullReport>, Error> {
        let (network, epoch) = match self.watch.best() {
            Some((network, best)) => (network, best.epoch),
            None => (&self.network, self.place.epoch),
        };
        let (loss, spec) = (self.frame.loss, self.spec);
        let by = (network, &self.team);
        let assessed = Assessed::every(by, loss, &spec.targets, &spec.metrics);
        let validation = self.validation.as_mut().or(self.left_out.as_mut());
        let splits = (&mut self.train, validation);
        FullReport::of(&assessed, epoch, splits, &mut || observer.poll())
    }

    /// One epoch, from the step where it stands.
    fn epoch(&mut self, observer: &mut impl Observer) -> Result<Result<(), Stopped>, Error> {
        let epoch = self.place.epoch + 1;
        let steps = self.spec.steps_per_epoch();
        let shuffled = self.spec.shuffle.then_some((self.spec.seed, epoch));
        self.train.arrange(shuffled);
        while self.place.step < steps {
            let last = self.place.step + 1 == steps;
            if self
                .step(last && is_recorded(epoch, self.spec.epochs), observer)?
                .is_break()
            {
                return Ok(Err(Stopped));
            }
            if !last && observer.wants_checkpoint(false) {
                if let Some(epoch_end) = self.untold_epoch_end() {
                    observer.checkpoint(epoch_end);
                }
                observer.checkpoint(self.checkpoint_here());
            }
        }
        let ControlFlow::Continue(validation) = self.validate(observer)? else {
            return Ok(Err(Stopped));
        };
        let train = self.metrics(self.place.sums);
        let ControlFlow::Continue(train) = self.fill(Of::Train, train, observer)? else {
            return Ok(Err(Stopped));
        };
        let statistics = self.place.statistics.take();
        let digest = observer.wants_parameter_digest();
        let digest = digest.then(|| ParameterDigest::of(&self.network));
        let report = self.report(epoch, (train, validation), (statistics, digest));
        let loss = report.validation.as_ref().unwrap_or(&report.train).loss;
        let mut plateau = self.place.plateau;
        plateau.observe(&self.spec.schedule, loss);
        self.watch.observe(&report, &self.network);
        observer.epoch(report);
        if observer.is_out_of_time() {
            self.watch.run_out();
        }
        self.place = Place {
            epoch,
            plateau,
            ..Place::default()
        };
        if observer.wants_checkpoint(true) {
            self.epoch_end = None;
            observer.checkpoint(self.checkpoint_here());
        } else {
            let network = match self.epoch_end.take() {
                Some(EpochEnd { mut network, .. }) => {
                    network.assign(&self.network);
                    network
                }
                None => self.copied(),
            };
            self.epoch_end = Some(EpochEnd { network, epoch });
        }
        Ok(Ok(()))
    }

    /// A copy of the parameters, in memory that is there already where no step needs it.
    pub(super) fn copied(&mut self) -> Network<T> {
        let Some(mut network) = self.before.take() else {
            return self.network.clone();
        };
        network.assign(&self.network);
        network
    }

    /// One step: the gradient of one batch, and the update, where a row of it weighs anything. `Break` leaves everything as
    /// it was.
    fn step(
        &mut self,
        record: bool,
        observer: &mut impl Observer,
    ) -> Result<ControlFlow<()>, Error> {
        let factor = self.factor(self.place.step);
        let Self {
            network,
            before,
            train,
            backpropagation,
            descent: Descent::Steps(optimizer),
            place,
            ..
        } = self
        else {
            return self.line_step(record, observer);
        };
        let batch = self.spec.batch_rows();
        let start = place.step as usize * batch;
        let samples = start..train.len().min(start + batch);
        if train
            .bring(samples.clone(), &mut || observer.poll())?
            .is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        let (epoch, number) = (place.epoch + 1, place.step + 1);
        let diverged = |quantity| Error::Diverged {
            quantity,
            epoch,
            step: number,
        };
        if record {
            match before {
                Some(before) => before.assign(network),
                None => *before = Some(network.clone()),
            }
        }
        let (batch, weights) = train.batch(samples);
        let stepped = backpropagation.at(epoch, number).weigh(weights).step(
            network,
            self.frame.loss,
            batch,
            (optimizer, factor),
            record,
            || observer.poll(),
        );
        let sums = match stepped {
            ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            ControlFlow::Continue((Stepped::NotFinite(quantity), _)) => {
                return Err(diverged(quantity));
            }
            ControlFlow::Continue((Stepped::Moved | Stepped::Weightless, sums)) => sums,
        };
        let before = before.as_ref().filter(|_| record);
        place.statistics = before.map(|before| network_statistics(before, sums, network));
        place.sums.add(sums);
        if !place.sums.loss.is_finite() {
            return Err(diverged("loss"));
        }
        place.step += 1;
        Ok(ControlFlow::Continue(()))
    }

    /// What the learning rate is multiplied by in a step of the epoch.
    fn factor(&self, step: u64) -> f64 {
        let steps_per_epoch = self.spec.steps_per_epoch();
        let clock = Clock {
            step: self.place.epoch * steps_per_epoch + step,
            steps_per_epoch,
            epochs: self.spec.epochs,
        };
        let (schedule, warmup) = (&self.spec.schedule, self.spec.warmup_epochs);
        schedule.factor(&clock, warmup, &self.place.plateau)
    }

    /// The figures of the validation rows, where there are any; `Break` where the observer broke off.
    fn validate(
        &mut self,
        observer: &mut impl Observer,
    ) -> Result<ControlFlow<(), Option<Metrics>>, Error> {
        let Some(feed) = &mut self.validation else {
            return Ok(ControlFlow::Continue(None));
        };
        let judged = (self.frame.loss, self.spec.targets.rightness());
        let by = (&self.network, &self.team);
        let evaluated = feed.evaluate(by, judged, &mut || observer.poll(), |_, _, _| {})?;
        let ControlFlow::Continue(evaluation) = evaluated else {
            return Ok(ControlFlow::Break(()));
        };
        if !evaluation.loss_sum.is_finite() {
            let (epoch, step) = (self.place.epoch + 1, self.place.step);
            return Err(Error::Diverged {
                quantity: "validation loss",
                epoch,
                step,
            });
        }
        let metrics = self.metrics(EpochSums::from(evaluation));
        let filled = self.fill(Of::Validation, metrics, observer)?;
        Ok(filled.map_continue(Some))
    }

    /// The figures of a split that are wanted beside loss and accuracy; `Break` where the observer broke off.
    fn fill(
        &mut self,
        split: Of,
        mut metrics: Metrics,
        observer: &mut impl Observer,
    ) -> Result<ControlFlow<(), Metrics>, Error> {
        let wanted = &self.spec.metrics;
        let feed = match split {
            Of::Train => Some(&mut self.train),
            Of::Validation => self.validation.as_mut(),
        };
        if let Some(feed) = feed.filter(|_| wanted.iter().any(|metric| !metric.is_sum())) {
            let judged = (self.frame.loss, self.spec.targets.rightness());
            let by = (&self.network, &self.team);
            let poll = &mut || observer.poll();
            let ControlFlow::Continue((_, answers)) = Answers::of(by, judged, feed, poll)? else {
                return Ok(ControlFlow::Break(()));
            };
            let filled = answers.fill(wanted, &mut metrics, &self.team, poll);
            return Ok(filled.map_continue(|()| metrics));
        }
        Ok(ControlFlow::Continue(metrics))
    }

    fn metrics(&self, sums: EpochSums) -> Metrics {
        let accuracy = self
            .spec
            .wants(Metric::Accuracy)
            .then(|| sums.correct / sums.figure_weight);
        Metrics {
            loss: sums.loss / sums.weight,
            accuracy,
            ..Metrics::default()
        }
    }

    fn report(
        &self,
        epoch: u64,
        (train, validation): (Metrics, Option<Metrics>),
        (statistics, parameter_digest): (Option<NetworkStatistics>, Option<ParameterDigest>),
    ) -> EpochReport {
        EpochReport {
            epoch,
            step: epoch * self.spec.steps_per_epoch(),
            learning_rate: self.spec.optimizer.learning_rate()
                * self.factor(self.place.step.saturating_sub(1)),
            train,
            validation,
            statistics,
            parameter_digest,
            samples: self.place.sums.samples,
        }
    }
}
