//! What moves the parameters of a run: an optimizer that takes a step of each batch, or L-BFGS, whose step evaluates the
//! whole batch as often as its line search asks.

use std::ops::ControlFlow;

use crate::model::AnyNetwork;
use crate::nn::{
    BatchSums, Lbfgs, Network, Optimizer, OptimizerSpec, OptimizerState, Progress, Scalar,
    network_statistics,
};
use crate::train::run::Run;
use crate::train::{AnyOptimizerState, CheckedSpec, EpochSums, Error, Observer, is_recorded};

/// What moves the parameters.
pub(super) enum Descent<T> {
    /// One update by the gradient of each batch.
    Steps(Optimizer<T>),
    /// One line search in each epoch.
    Lines {
        lbfgs: Box<Lbfgs<T>>,
        /// What the pass at the present parameters came to, where one has been made.
        here: Option<Passed<T>>,
    },
}

/// What a pass over all rows came to.
pub(super) struct Passed<T> {
    sums: EpochSums,
    /// All of it, where it was recorded.
    recorded: Option<BatchSums<T>>,
}

impl<T: Scalar> Passed<T> {
    fn of(sums: &BatchSums<T>, record: bool) -> Self {
        let mut of_epoch = EpochSums::default();
        of_epoch.add(sums);
        Self {
            sums: of_epoch,
            recorded: record.then(|| sums.clone()),
        }
    }
}

impl<T: Scalar> Descent<T> {
    /// Before the first step.
    pub(super) fn new(spec: &CheckedSpec, network: &Network<T>) -> Self {
        let regularization = &spec.regularization;
        if let OptimizerSpec::Lbfgs(lbfgs) = spec.optimizer {
            let lbfgs = Lbfgs::new(lbfgs, network, regularization.l2, &spec.layers);
            return Self::Lines {
                lbfgs: Box::new(lbfgs),
                here: None,
            };
        }
        let optimizer = Optimizer::new(spec.optimizer, network);
        Self::Steps(optimizer.with(regularization.clone(), &spec.layers))
    }

    /// Goes on from what was remembered; false where that is of other shapes.
    pub(super) fn restore(&mut self, state: OptimizerState<T>) -> bool {
        match self {
            Self::Steps(optimizer) => optimizer.restore(state),
            Self::Lines { lbfgs, .. } => lbfgs.restore(state),
        }
    }

    /// What is remembered.
    pub(super) fn state(&self) -> &OptimizerState<T> {
        match self {
            Self::Steps(optimizer) => optimizer.state(),
            Self::Lines { lbfgs, .. } => lbfgs.state(),
        }
    }
}

impl<T: Scalar> Run<'_, T>
where
    AnyNetwork: From<Network<T>>,
    AnyOptimizerState: From<OptimizerState<T>>,
{
    /// One step of L-BFGS, which is an epoch. `Break` leaves everything as it was.
    ///
    /// A pass at the parameters that the step before ended at is not made twice: it was that step's last. A run that is
    /// taken up makes it anew, to the same bits.
    ///
    /// Panics: where the run has another optimizer, the caller's bug.
    pub(super) fn line_step(
        &mut self,
        record: bool,
        observer: &mut impl Observer,
    ) -> Result<ControlFlow<()>, Error> {
        let Self {
            network,
            train,
            backpropagation,
            descent: Descent::Lines { lbfgs, here },
            place,
            ..
        } = self
        else {
            unreachable!("a run by L-BFGS")
        };
        let (epoch, number) = (place.epoch + 1, place.step + 1);
        let loss = self.frame.loss;
        let mut pass = |network: &Network<T>, record, take: &mut dyn FnMut(&BatchSums<T>)| {
            let (batch, weights) = train.batch(0..train.len());
            let backpropagation = backpropagation.at(epoch, number).weigh(weights);
            let sums = backpropagation.run(network, loss, batch, record, || observer.poll())?;
            take(sums);
            ControlFlow::Continue(Passed::of(sums, record))
        };
        let known = here.take().filter(|_| lbfgs.has_begun());
        let known = known.filter(|passed| !record || passed.recorded.is_some());
        let Passed { sums, recorded } = match known {
            Some(passed) => passed,
            None => match pass(network, record, &mut |sums| lbfgs.begin(network, sums)) {
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                ControlFlow::Continue(passed) => passed,
            },
        };
        let diverged = |quantity| Error::Diverged {
            quantity,
            epoch,
            step: number,
        };
        if !sums.loss.is_finite() {
            return Err(diverged("loss"));
        }
        let before = recorded.map(|sums| (network.clone(), sums));
        let record = is_recorded(epoch + 1, self.spec.epochs);
        let progress = lbfgs.step(network, |network, gradient| {
            let passed = pass(network, record, &mut |sums| {
                gradient.copy_from(&sums.gradient);
            })?;
            ControlFlow::Continue(here.insert(passed).sums.loss)
        });
        match progress {
            ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            ControlFlow::Continue(Progress::NotFinite) => {
                return Err(diverged("loss or its gradient"));
            }
            ControlFlow::Continue(Progress::Converged) => self.watch.converge(),
            ControlFlow::Continue(Progress::Further) => {}
        }
        place.statistics = before.map(|(before, sums)| network_statistics(&before, &sums, network));
        place.sums = sums;
        place.step += 1;
        Ok(ControlFlow::Continue(()))
    }
}
