//! What the store tells the rest of the server once it is committed.

use std::sync::Arc;

use crate::model::Model;

/// A committed change of the models there are.
#[derive(Clone, Debug)]
pub enum Change {
    /// A version is there: of a new model (its first) or of one that was trained.
    Published {
        /// The model's name.
        name: String,
        /// The version, now the latest.
        version: u64,
        /// The version itself.
        model: Arc<Model>,
    },
    /// An alias names a version.
    Aliased {
        /// The model's name.
        name: String,
        /// The alias.
        alias: String,
        /// The version, or none where the alias is gone.
        version: Option<u64>,
    },
    /// A version is gone.
    VersionDeleted {
        /// The model's name.
        name: String,
        /// The version.
        version: u64,
    },
    /// A model is gone with all its versions.
    ModelDeleted {
        /// The model's name.
        name: String,
    },
}
