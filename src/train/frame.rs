//! What a trained model has beside its network.

use std::sync::Arc;

use crate::model::{AnyNetwork, InputRows, Model, Preprocessing, Targets};
use crate::nn::Loss;

/// The model to publish, but for its network.
pub(super) struct Frame {
    pub(super) loss: Loss,
    pub(super) preprocessing: Arc<Preprocessing>,
    pub(super) targets: Targets,
    /// Rows whose answers each model carries.
    pub(super) golden: InputRows,
}

impl Frame {
    pub(super) fn model(&self, network: AnyNetwork) -> Model {
        let model = Model {
            network,
            loss: self.loss,
            preprocessing: Preprocessing::clone(&self.preprocessing),
            targets: self.targets.clone(),
            golden: None,
        };
        model.with_golden(self.golden.clone())
    }
}
