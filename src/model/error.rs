//! What can go wrong between a model and the rows, bytes or names it is given.

use thiserror::Error;

use crate::model::{Violation, Violations};

/// Errors of the `model` floor.
#[derive(Debug, Error)]
pub enum Error {
    /// Rows, targets or names do not fit the model.
    #[error("{}", .violations.first().map_or("invalid", |first| first.detail.as_str()))]
    Invalid {
        /// What is wrong, and where.
        violations: Vec<Violation>,
    },
    /// The model has a preprocessing whose numbers no job has fitted yet.
    #[error(
        "this version is not trained, and preprocess {} is fitted by training: train the model, or ask a version that a job published", .preprocess
    )]
    NotFitted {
        /// The preprocessing that is not fitted.
        preprocess: &'static str,
    },
    /// Bytes that are no artifact or checkpoint of ours.
    #[error("the bytes are no artifact of this program: {detail}")]
    Artifact {
        /// What is wrong with them.
        detail: String,
    },
}

impl Error {
    /// One violation.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let mut violations = Violations::default();
        violations.add(pointer, detail);
        violations.into_vec().into()
    }

    pub(crate) fn artifact(detail: impl Into<String>) -> Self {
        Self::Artifact {
            detail: detail.into(),
        }
    }
}

impl From<Vec<Violation>> for Error {
    fn from(violations: Vec<Violation>) -> Self {
        Self::Invalid { violations }
    }
}
