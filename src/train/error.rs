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
    /// The run that leaves out a fold ended without a model.
    #[error("in the run that leaves out fold {fold}: {source}")]
    Fold {
        /// The fold, from 1.
        fold: u64,
        /// Why.
        source: Box<Self>,
    },
    /// A value does not fit the model's dtype once scaled, or the data is not what the spec was checked against.
    #[error("the data cannot be trained on: {detail}")]
    Data {
        /// What is wrong with it.
        detail: String,
    },
    /// Rows of the data cannot be read.
    #[error("the data cannot be read: {detail}")]
    Unreadable {
        /// Why.
        detail: String,
        /// Whether they may be readable later.
        for_now: bool,
    },
    /// A checkpoint that does not belong to the job.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
}

impl Error {
    /// The epoch and its step in which it happened, where that is known; of a fold, those of its run.
    pub fn place(&self) -> Option<(u64, u64)> {
        match self {
            Self::Diverged { epoch, step, .. } => Some((*epoch, *step)),
            Self::Fold { source, .. } => source.place(),
            Self::Data { .. } | Self::Unreadable { .. } | Self::Model(_) => None,
        }
    }

    /// Whether a job that is begun anew may come through.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreadable { for_now, .. } => *for_now,
            Self::Fold { source, .. } => source.may_pass(),
            Self::Diverged { .. } | Self::Data { .. } | Self::Model(_) => false,
        }
    }

    /// The code of a failed job.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Diverged { .. } => "diverged",
            Self::Fold { source, .. } => source.code(),
            Self::Data { .. } => "unusable_data",
            Self::Unreadable { .. } => "unreadable_data",
            Self::Model(_) => "unusable_checkpoint",
        }
    }
}
