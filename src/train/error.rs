//! What can stop a training run.

use thiserror::Error;

/// Errors of the `train` floor: why a run ended without a model.
#[derive(Debug, Error)]
pub enum Error {
    /// A loss or a parameter became NaN or infinite.
    #[error(
        "the {quantity} became NaN or infinite in epoch {epoch}, step {step}: lower the learning rate, or scale the inputs (preprocess) or the targets"
    )]
    Diverged {
        /// `loss`, `parameters`, or what else a step computes.
        quantity: &'static str,
        /// The epoch, from 1.
        epoch: u64,
        /// The step in the epoch, from 1.
        step: u64,
    },
    /// A value does not fit the model's dtype once scaled, or the data is not what the spec was checked against.
    #[error("the data cannot be trained on: {detail}")]
    Data {
        /// What is wrong with it.
        detail: String,
    },
    /// A checkpoint that does not belong to the job.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
}

impl Error {
    /// The code of a failed job.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Diverged { .. } => "diverged",
            Self::Data { .. } => "unusable_data",
            Self::Model(_) => "unusable_checkpoint",
        }
    }
}
