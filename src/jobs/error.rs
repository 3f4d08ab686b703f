//! What can go wrong with a job's submission and moves.

use thiserror::Error;
use uuid::Uuid;

use crate::model::Violation;

/// Errors of the `jobs` floor.
#[derive(Debug, Error)]
pub enum Error {
    /// The spec breaks rules.
    #[error("the spec breaks {} of the rules of jobs", violations.len())]
    Invalid {
        /// Every rule that it breaks.
        violations: Vec<Violation>,
    },
    /// The version is not fitted.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// The store refuses or fails.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// What a job was trained from is not there, or nothing to compare with.
    #[error("job {job} cannot be verified: {why}")]
    Unverifiable {
        /// The job.
        job: Uuid,
        /// Why, and what to do.
        why: String,
    },
    /// As many verifications run as may.
    #[error("at most {most} verification at once")]
    Busy {
        /// How many that is.
        most: usize,
    },
    /// There is not enough memory for it.
    #[error(transparent)]
    Memory(#[from] crate::machine::Short),
    /// The server ends.
    #[error("the server is ending")]
    Ending,
    /// The training threads cannot be made.
    #[error("cannot make the training threads: {source}")]
    Threads {
        /// Why.
        source: std::io::Error,
    },
}

impl From<Vec<Violation>> for Error {
    fn from(violations: Vec<Violation>) -> Self {
        Self::Invalid { violations }
    }
}
