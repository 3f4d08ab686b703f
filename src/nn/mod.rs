//! Neural networks as pure arithmetic: arrays in, arrays out; no files, no clock, no global randomness.
//!
//! Notation, after Arango's derivation of backpropagation: layers are numbered 1..L and layer 0 is the input; the
//! weights w of a layer are J×K (units × inputs), its biases b are J; z = w·a + b is the weighted input, a = σ(z) the
//! activation, δ = ∂C/∂z the delta and C the loss. A batch is a matrix of one row per sample. The four equations:
//!
//! ```text
//! δᴸ = (aᴸ − y) ⊙ σ′(zᴸ)            the last layer, quadratic loss      loss/
//! δˡ = σ′(zˡ) ⊙ Σ δˡ⁺¹ wˡ⁺¹         every other layer                   activation/, backpropagation.rs
//! ∂C/∂b = δ,  ∂C/∂w = δ a           the gradient                        backpropagation.rs
//! p ← p − η ∇C                      gradient descent                    optimizer.rs
//! ```
#![expect(
    clippy::needless_pass_by_value,
    reason = "an array view is a pointer and is passed as one"
)]

mod activation;
mod backpropagation;
mod batch;
mod embedding;
mod error;
mod evaluation;
mod gradient;
mod gradient_check;
mod gradient_sample;
mod histogram;
mod hyperparameter;
mod initializer;
mod inspection;
mod kernel;
mod loss;
pub mod metrics;
mod network;
mod noise;
mod normalization;
mod optimizer;
pub mod products;
#[cfg(test)]
mod proofs;
pub mod random;
mod reduce;
mod regularization;
mod rightness;
mod scalar;
mod schedule;
mod spread;
mod statistics;
mod weights;
mod whole_batch;
mod workspace;
mod ziggurat;

pub use activation::{Activation, GeluApproximation};
pub use backpropagation::{Backpropagation, Stepped};
pub use batch::Batch;
pub use embedding::{Embedding, draw_vectors};
pub use error::Error;
pub(crate) use evaluation::EvaluationPass;
pub use evaluation::{Evaluation, evaluate};
pub use gradient::{BatchSums, Gradient, LayerGradient, LayerMoments};
pub use gradient_check::{
    CheckOptions, EmbeddingCheck, GradientCheck, LayerCheck, PartCheck, WorstParameter,
    check_gradients,
};
pub use histogram::{BINS, Bins, Histogram};
pub use hyperparameter::{Hyperparameter, Range, Setting};
pub use initializer::Initializer;
pub use inspection::{EmbeddingInspection, Inspection, LayerInspection, inspect};
pub use kernel::return_freed_memory;
pub(crate) use kernel::worked;
pub(crate) use kernel::{FAR_APART, Filled, PANEL_UNITS, flush_denormals, prefer_large_pages};
pub use kernel::{Leading, Team, pause_by, paused_by};
pub use loss::Loss;
pub use network::{Layer, Network};
pub use noise::Noise;
pub use normalization::{Normalization, Normalized};
pub use optimizer::{
    LayerRule, Lbfgs, LbfgsSpec, MOST_STATE_SLOTS, Optimizer, OptimizerSpec, OptimizerState,
    Progress,
};
pub use reduce::{Accumulator, BLOCK, CHUNK, FixedTree, sum_over_samples};
pub use regularization::{Dropout, Regularization};
pub use rightness::Rightness;
pub(crate) use rightness::class_of;
pub use scalar::{Dtype, Scalar};
pub use schedule::{Clock, Plateau, Schedule};
#[cfg(test)]
pub(crate) use statistics::layer_statistics;
pub use statistics::{
    EmbeddingHistograms, EmbeddingStatistics, LayerHistograms, LayerStatistics, Moments,
    NetworkStatistics, Statistics, network_statistics,
};
pub use weights::RowWeight;
pub(crate) use workspace::LARGE_LAYER;
pub use workspace::Workspace;
