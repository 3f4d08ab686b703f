//! Train: a checked spec, data and an observer in, a trained model out. Synchronous, no IO, no clock.

mod check;
mod checkpoint;
mod cost;
mod error;
mod evaluate;
mod figures;
mod frame;
mod inline;
mod optimizer_state;
mod place;
mod prepare;
mod report;
mod run;
mod selection;
mod source;
mod spec;
mod stopping;
mod targets;
#[cfg(test)]
mod tests;
mod validation;

pub use crate::train::check::{CheckedJob, Context, DatasetView, check, check_alone};
pub use crate::train::checkpoint::{Checkpoint, EpochSums};
pub use crate::train::cost::{chunks, memory_bytes, trial};
pub use crate::train::error::Error;
pub use crate::train::evaluate::{EvaluationColumns, EvaluationSpec, Figures, evaluate};
pub use crate::train::optimizer_state::AnyOptimizerState;
pub use crate::train::report::{EpochReport, Metric, Metrics, Needs, Observer, is_recorded};
pub use crate::train::run::{Outcome, train};
pub use crate::train::source::{RawSamples, Source};
pub use crate::train::spec::{
    BatchSize, CheckedData, CheckedSpec, CheckedValidation, DataSpec, From, JobLimits, JobSpec,
    Missing, TargetKind, ValidationSpec,
};
pub use crate::train::stopping::{Best, EarlyStopping, TargetMetric, Watched};
