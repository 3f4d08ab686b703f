//! What can be wrong with a network that somebody hands us.

/// Why a network, or what is to train it, was refused. Layers are numbered 1..L.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// There is no layer at all.
    #[error("a network must have at least one layer")]
    NoLayers,
    /// A layer has no units or no inputs.
    #[error(
        "layer {layer} must have at least one unit and one input, got {units} units and {inputs} inputs"
    )]
    EmptyLayer {
        /// The layer's number.
        layer: usize,
        /// Rows of its weights.
        units: usize,
        /// Columns of its weights.
        inputs: usize,
    },
    /// A layer does not take what the layer before it gives.
    #[error(
        "layer {layer} must take {expected} inputs, the units of the layer before it, got {got}"
    )]
    InputsMismatch {
        /// The layer's number.
        layer: usize,
        /// Units of the layer before it.
        expected: usize,
        /// Columns of its weights.
        got: usize,
    },
    /// The number of biases is not the number of units.
    #[error("layer {layer} must have {expected} biases, one per unit, got {got}")]
    BiasesMismatch {
        /// The layer's number.
        layer: usize,
        /// Rows of its weights.
        expected: usize,
        /// Length of its biases.
        got: usize,
    },
    /// The numbers of a normalization are not those of its layer.
    #[error(
        "layer {layer} must have a scale for each of its {expected} units, and of batch normalization a running mean and variance"
    )]
    NormalizationMismatch {
        /// The layer's number.
        layer: usize,
        /// Rows of its weights.
        expected: usize,
    },
    /// A table of vectors is empty.
    #[error(
        "the embedding of {column:?} must have at least one category and one dimension, got {categories} categories and {dimensions} dimensions"
    )]
    EmptyEmbedding {
        /// Its column.
        column: String,
        /// Rows of its table.
        categories: usize,
        /// Columns of its table.
        dimensions: usize,
    },
    /// A table is of an input that there is not, or that is not behind those of the tables before it.
    #[error("the embedding of {column:?} must be of an input in [{least}, {inputs}), got {got}")]
    EmbeddingMismatch {
        /// Its column.
        column: String,
        /// The first input behind those of the tables before it.
        least: usize,
        /// Numbers in an input row.
        inputs: usize,
        /// Its input.
        got: usize,
    },
    /// A number of a vector is NaN or infinite.
    #[error("the embedding of {column:?} has a number that is not finite")]
    NotFiniteEmbedding {
        /// Its column.
        column: String,
    },
    /// A weight or bias is NaN or infinite.
    #[error("layer {layer} has a weight or bias that is not finite")]
    NotFinite {
        /// The layer's number.
        layer: usize,
    },
}
