//! What a trained model has beside its network.

use crate::model::{AnyNetwork, Model, Scaling, Targets};
use crate::nn::Loss;

/// The model to publish, but for its network.
pub(super) struct Frame {
    pub(super) loss: Loss,
    pub(super) scaling: Scaling,
    pub(super) features: Option<Vec<String>>,
    pub(super) targets: Targets,
}

impl Frame {
    pub(super) fn model(&self, network: AnyNetwork) -> Model {
        Model {
            network,
            loss: self.loss,
            scaling: self.scaling.clone(),
            features: self.features.clone(),
            targets: self.targets.clone(),
        }
    }
}
