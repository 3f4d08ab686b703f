//! Train: a checked spec, data and an observer in, a trained model out. Synchronous, no IO, no clock.

mod check;
mod checkpoint;
mod columns;
mod completed;
mod continued;
mod cost;
#[cfg(test)]
mod cost_tests;
mod cross_validation;
#[cfg(test)]
mod cross_validation_tests;
mod descent;
#[cfg(test)]
mod embedding_tests;
mod encoded;
#[cfg(test)]
mod ending_tests;
mod error;
mod evaluate;
mod feed;
mod figures;
mod folds;
mod frame;
mod full_report;
mod golden;
mod inline;
mod layers;
mod layout;
mod lbfgs;
mod metric;
mod normalization;
mod optimizer_state;
mod outcome;
mod place;
mod predicted;
#[cfg(test)]
mod predicted_tests;
mod prediction;
mod prepare;
mod report;
mod run;
mod samples;
mod selection;
mod source;
mod spec;
mod split;
mod stopping;
mod targets;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod thread_tests;
mod validation;
mod warnings;
mod weighing;
mod weights;
mod window;
#[cfg(test)]
mod window_tests;

pub use crate::train::check::{CheckedJob, Context, DatasetView, check, check_alone};
pub use crate::train::checkpoint::{Checkpoint, EpochSums};
pub use crate::train::continued::Continued;
pub use crate::train::cost::{chunks, memory_bytes, trial, trial_bytes};
pub use crate::train::cross_validation::{train, train_on_all_rows};
pub use crate::train::error::Error;
pub use crate::train::evaluate::{EvaluationColumns, EvaluationSpec, evaluate};
pub use crate::train::folds::{
    CheckedCrossValidation, CrossValidation, CrossValidationSpec, FoldReport, Folds,
};
pub use crate::train::full_report::{Figures, FullReport, LabelFigures, SplitReport};
pub use crate::train::metric::{DEFAULT_K, Metric, Metrics, Needs};
pub use crate::train::optimizer_state::AnyOptimizerState;
pub use crate::train::outcome::Outcome;
pub use crate::train::predicted::{Predicting, PredictionError, ReadColumns};
pub use crate::train::prediction::{CheckedPrediction, Kept, PredictionSpec, VersionGiven};
pub use crate::train::report::{EpochReport, Observer, is_recorded};
pub use crate::train::source::{Features, RawSamples, Source, StoredColumns};
pub use crate::train::spec::{
    BatchSize, CheckedData, CheckedSpec, DataSpec, From, JobLimits, JobSpec, Missing, TargetKind,
};
pub use crate::train::stopping::{Best, EarlyStopping, EndedBy, TargetMetric, Watched};
pub use crate::train::validation::{CheckedValidation, ValidationSpec};
pub use crate::train::warnings::Warning;
pub use crate::train::weights::{ClassWeight, SampleWeight};
