//! What can go wrong with a prediction or an inspection.

use thiserror::Error;

/// Errors of the `serve` floor.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no such model or version.
    #[error("there is no {kind} {name:?}")]
    NotFound {
        /// `model` or `version`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Rows or targets do not fit the model, or its preprocessing is not fitted.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// One request asks for too much.
    #[error("{name} must be at most {most}, got {got}")]
    TooLarge {
        /// What there is too much of.
        name: &'static str,
        /// What was asked for.
        got: u64,
        /// What is allowed.
        most: u64,
    },
    /// There is not enough memory for it.
    #[error(transparent)]
    Memory(#[from] crate::machine::Short),
    /// The model overflows its dtype on these rows.
    #[error("{who} answers these rows with NaN or infinity: they are beyond its dtype")]
    NotFinite {
        /// The version of a model, or the checkpoint of a job.
        who: String,
    },
    /// A version's stored bytes are damaged.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The computation broke off.
    #[error("the computation broke off: {detail}")]
    Broken {
        /// Why.
        detail: String,
    },
}
