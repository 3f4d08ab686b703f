//! Where a run stands, what it starts from, and the checkpoints of it.

use crate::model::{AnyNetwork, Header, Preprocessing};
use crate::nn::{Network, NetworkStatistics, OptimizerState, Plateau, Scalar, Team};
use crate::train::run::Run;
use crate::train::{AnyOptimizerState, Checkpoint, EpochSums, Watched};

/// What a run has of its base beside the network.
pub(super) struct BaseParts {
    pub(super) header: Header,
    pub(super) preprocessing: Preprocessing,
}

/// What a run starts from.
pub(super) struct Start<T> {
    pub(super) network: Network<T>,
    /// What the optimizer remembers.
    pub(super) state: Option<OptimizerState<T>>,
    /// The parameters of the best epoch.
    pub(super) best: Option<Network<T>>,
    pub(super) place: Place,
    pub(super) team: Team,
}

/// Where a run stands: so many epochs, so many steps of the next, and what those came to.
#[derive(Clone, Default)]
pub(super) struct Place {
    pub(super) epoch: u64,
    pub(super) step: u64,
    pub(super) sums: EpochSums,
    pub(super) statistics: Option<NetworkStatistics>,
    /// What `reduce_on_plateau` remembers.
    pub(super) plateau: Plateau,
    /// What stopping remembers, as it was when the run was taken up.
    pub(super) watched: Watched,
}

impl Place {
    /// The parameters, the optimizer's state, the best epoch's parameters and the place of a checkpoint.
    pub(super) fn of(
        checkpoint: Checkpoint,
    ) -> (
        AnyNetwork,
        Option<AnyOptimizerState>,
        Option<AnyNetwork>,
        Self,
    ) {
        let Checkpoint {
            epoch,
            step,
            sums,
            statistics,
            plateau,
            watched,
            optimizer,
            best,
            model,
            folds: _,
        } = checkpoint;
        let place = Self {
            epoch,
            step,
            sums,
            statistics,
            plateau,
            watched,
        };
        (model.network, optimizer, best, place)
    }
}

/// The parameters at the end of the last finished epoch, which a cancelled job keeps.
pub(super) struct EpochEnd<T> {
    pub(super) network: Network<T>,
    pub(super) epoch: u64,
}

impl<T: Scalar> Run<'_, T>
where
    AnyNetwork: From<Network<T>>,
    AnyOptimizerState: From<OptimizerState<T>>,
{
    /// The end of the last finished epoch, where no checkpoint of it was made yet.
    pub(super) fn untold_epoch_end(&mut self) -> Option<Checkpoint> {
        let EpochEnd { network, epoch } = self.epoch_end.take()?;
        let place = Place {
            epoch,
            plateau: self.place.plateau,
            ..Place::default()
        };
        Some(self.checkpoint(network, &place, None))
    }

    /// The checkpoint of where it stands when its last epoch has ended, where none of that was made yet.
    pub(super) fn last(&mut self) -> Option<Checkpoint> {
        let EpochEnd { network, .. } = self.epoch_end.take()?;
        let state = self.descent.state().clone();
        Some(self.checkpoint(network, &self.place, Some(state.into())))
    }

    /// The checkpoint of where it stands.
    pub(super) fn checkpoint_here(&mut self) -> Checkpoint {
        let network = self.copied();
        let state = self.descent.state().clone();
        self.checkpoint(network, &self.place, Some(state.into()))
    }

    /// A checkpoint of these parameters, at a place.
    fn checkpoint(
        &self,
        network: Network<T>,
        place: &Place,
        optimizer: Option<AnyOptimizerState>,
    ) -> Checkpoint {
        let model = self.frame.model(AnyNetwork::from(network));
        let (watched, best) = self.watch.state();
        let Place {
            epoch,
            step,
            sums,
            plateau,
            ..
        } = *place;
        Checkpoint {
            epoch,
            step,
            sums,
            statistics: place.statistics.clone(),
            plateau,
            watched,
            best: best.cloned().map(AnyNetwork::from),
            optimizer,
            folds: None,
            model,
        }
    }
}
