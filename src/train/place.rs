//! Where a run stands, and what it starts from.

use crate::model::AnyNetwork;
use crate::nn::{LayerStatistics, Network, OptimizerState, Plateau};
use crate::train::{AnyOptimizerState, Checkpoint, EpochSums, Watched};

/// What a run starts from.
pub(super) struct Start<T> {
    pub(super) network: Network<T>,
    /// What the optimizer remembers.
    pub(super) state: Option<OptimizerState<T>>,
    /// The parameters of the best epoch.
    pub(super) best: Option<Network<T>>,
    pub(super) place: Place,
}

/// The parameters at the end of the last finished epoch, which a cancelled job keeps.
pub(super) struct EpochEnd<T> {
    pub(super) network: Network<T>,
    /// The epoch; none where the run was taken up in mid-epoch: the checkpoint before that one has it.
    pub(super) epoch: Option<u64>,
    /// Whether a checkpoint of it was made.
    pub(super) told: bool,
}

/// Where a run stands: so many epochs, so many steps of the next, and what those came to.
#[derive(Clone, Default)]
pub(super) struct Place {
    pub(super) epoch: u64,
    pub(super) step: u64,
    pub(super) sums: EpochSums,
    pub(super) statistics: Option<Vec<LayerStatistics>>,
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
