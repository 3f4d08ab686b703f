//! A job's spec: what to train, as its user declares it, and the same with everything checked and filled in.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

use crate::model::{Rows, TargetRows, Targets, choice, given};
use crate::nn::{LayerRule, OptimizerSpec, Regularization, Schedule};
use crate::train::split::SplitBy;
use crate::train::{
    CheckedCrossValidation, CheckedValidation, ClassWeight, CrossValidationSpec, EarlyStopping,
    Metric, SampleWeight, TargetMetric, ValidationSpec,
};

/// The largest jobs that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLimits {
    /// Epochs of a job, at most.
    pub epochs: u64,
    /// Samples in a batch given as a number, at most.
    pub batch_size: u64,
    /// Steps of a job (epochs × batches), at most.
    pub steps: u64,
    /// Rows of a batch × units of the network and numbers of its vectors, at most, where batch normalization holds them all at once.
    pub batch_activations: u64,
    /// Classes of a categorical target, at most.
    pub classes: usize,
    /// Seconds that a job may train.
    pub seconds: u64,
    /// Bytes of a dataset's rows, as the network reads them, that a job holds; of a larger one it holds a window.
    pub data_bytes: u64,
}

/// Samples of a batch: a number, or the whole training set (`"full"`, the seed's gradient descent).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum BatchSize {
    /// So many samples; a last, shorter batch is used.
    Samples(u64),
    /// All of them.
    Full(Full),
}

/// The word `full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Full {
    /// All samples.
    Full,
}

impl<'de> Deserialize<'de> for BatchSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BatchSizeVisitor)
    }
}

struct BatchSizeVisitor;

impl Visitor<'_> for BatchSizeVisitor {
    type Value = BatchSize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number or \"full\"")
    }

    fn visit_u64<E: Error>(self, samples: u64) -> Result<BatchSize, E> {
        Ok(BatchSize::Samples(samples))
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<BatchSize, E> {
        match word {
            "full" => Ok(BatchSize::Full(Full::Full)),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }
}

/// What to do with rows that miss a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Refuse the job.
    #[default]
    Error,
    /// Leave the rows out.
    DropRows,
}

/// What a target column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// Classes: one output for each.
    Categorical,
    /// Numbers.
    Numeric,
    /// 0 or 1 in each column: one output for each, which says yes or no for itself.
    Labels,
}

impl TargetKind {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Categorical => "categorical",
            Self::Numeric => "numeric",
            Self::Labels => "labels",
        }
    }
}

/// `data` of a job: inline rows, or columns of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Input rows, in raw units.
    #[serde(default, deserialize_with = "given")]
    pub inputs: Option<Rows>,
    /// Target rows beside `inputs`, or names of numeric target columns beside `dataset`.
    #[serde(default, deserialize_with = "given")]
    pub targets: Option<TargetRows>,
    /// The dataset to train on.
    #[serde(default, deserialize_with = "given")]
    pub dataset: Option<String>,
    /// Its feature columns; left out, every column but the targets.
    #[serde(default, deserialize_with = "given")]
    pub features: Option<Vec<String>>,
    /// Its target column.
    #[serde(default, deserialize_with = "given")]
    pub target: Option<String>,
    /// Whether the target is classes, numbers or labels. Of rows, labels alone are said.
    #[serde(default, deserialize_with = "given")]
    pub target_kind: Option<TargetKind>,
    /// What to do with rows that miss a value.
    #[serde(default, deserialize_with = "given")]
    pub missing: Option<Missing>,
    /// What the rows weigh: numbers beside `inputs`, the name of a column beside `dataset`.
    #[serde(default, deserialize_with = "given")]
    pub sample_weight: Option<SampleWeight>,
}

/// Where a job starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct From {
    /// From this version.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<u64>,
    /// From version 1, the initial parameters.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub initial: Option<bool>,
    /// From a checkpoint of this job.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub job: Option<String>,
    /// The epoch whose end the checkpoint is; left out, the newest that is kept.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub epoch: Option<u64>,
    /// Whether the optimizer goes on from what it remembered there; left out, it starts anew.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub optimizer_state: Option<bool>,
}

/// A job as its user declares it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// The model to train.
    pub model: String,
    /// What to train it on; of a model that was declared from a dataset, left out, that dataset.
    #[serde(default)]
    pub data: DataSpec,
    /// What to validate on after each epoch.
    pub validation: Option<ValidationSpec>,
    /// The folds of a cross-validation.
    #[serde(default)]
    pub cross_validation: Option<CrossValidationSpec>,
    /// The optimizer and its hyperparameters.
    #[serde(default, deserialize_with = "choice::deserialize")]
    pub optimizer: OptimizerSpec,
    /// What keeps the run from learning its rows by heart, or from running away.
    #[serde(default)]
    pub regularization: Regularization,
    /// How the learning rate changes.
    #[serde(default, deserialize_with = "choice::deserialize")]
    pub schedule: Schedule,
    /// Epochs, whole or not, over which the learning rate rises to what the schedule says.
    #[serde(default)]
    pub warmup_epochs: f64,
    /// What the classes weigh in training.
    #[serde(default)]
    pub class_weight: Option<ClassWeight>,
    /// A rule for each layer; left out, none has one of its own.
    #[serde(default)]
    pub layers: Vec<LayerRule>,
    /// When to end before the last epoch, having learned what it can.
    #[serde(default)]
    pub early_stopping: Option<EarlyStopping>,
    /// How good is good enough to end before the last epoch.
    #[serde(default)]
    pub target_metric: Option<TargetMetric>,
    /// Seconds of training after which no other epoch is begun.
    #[serde(default)]
    pub max_seconds: Option<f64>,
    /// Passes over the training rows.
    #[serde(default = "default_epochs")]
    pub epochs: u64,
    /// Samples of a batch; left out, 32 or all rows, if fewer.
    pub batch_size: Option<BatchSize>,
    /// Whether rows are shuffled in each epoch.
    #[serde(default = "default_shuffle")]
    pub shuffle: bool,
    /// Rows of the dataset that are in memory, and shuffled among each other, at a time; left out, all, or as many as there is
    /// room for.
    #[serde(default)]
    pub window_rows: Option<u64>,
    /// Fixes the split and the shuffle.
    #[serde(default)]
    pub seed: u64,
    /// What the history holds; left out, the loss, and the accuracy where there are classes.
    pub metrics: Option<Vec<Metric>>,
    /// Where to start; left out, the latest version.
    #[serde(default)]
    pub from: From,
    /// Whether features, classes and preprocessing are fitted anew on this job's data.
    #[serde(default)]
    pub refit: bool,
    /// Among the jobs that wait, the one with the highest is next; no bit of what it comes to depends on it.
    #[serde(default)]
    pub priority: i64,
    /// The user's own labels.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl JobSpec {
    /// Bytes of its inline rows as they are stored, 8 of each number.
    pub fn inline_bytes(&self) -> u64 {
        let validation = self.validation.as_ref();
        let inputs = [
            self.data.inputs.as_ref(),
            validation.and_then(|of| of.inputs.as_ref()),
        ];
        let targets = [
            self.data.targets.as_ref(),
            validation.and_then(|of| of.targets.as_ref()),
        ];
        let targets = targets.into_iter().flatten().filter_map(|of| match of {
            TargetRows::Numbers(rows) => Some(rows),
            TargetRows::Words(_) => None,
        });
        let rows = inputs.into_iter().flatten().chain(targets);
        rows.map(|rows| 8 * (rows.len() * rows.width()) as u64)
            .sum()
    }

    /// The column of `data` that rows are split by, where one is named.
    pub fn split_column(&self) -> Option<&str> {
        SplitBy::of(self).map(|by| by.column)
    }
}

fn default_epochs() -> u64 {
    10
}

fn default_shuffle() -> bool {
    true
}

/// Samples in a batch where the spec does not say.
pub(super) const DEFAULT_BATCH_SIZE: u64 = 32;

/// `data`, checked. Inline rows are kept beside the spec; it names their shape and digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CheckedData {
    /// Columns of a dataset.
    Dataset {
        /// The dataset's name.
        dataset: String,
        /// Its digest, so that the job trains on the very rows it was checked against.
        digest: String,
        /// The feature columns.
        features: Vec<String>,
        /// The target columns.
        targets: Vec<String>,
        /// Classes, numbers or labels.
        target_kind: TargetKind,
        /// What to do with rows that miss a value.
        missing: Missing,
        /// The column of sample weights.
        #[serde(default)]
        sample_weight: Option<String>,
    },
    /// Rows given in the request.
    Inline {
        /// Number of rows.
        rows: usize,
        /// Numbers in an input row.
        inputs: usize,
        /// Numbers in a target row.
        targets: usize,
        /// Whether each row has a weight of its own.
        #[serde(default)]
        weighted: bool,
        /// SHA-256 of the rows.
        digest: String,
    },
}

/// A spec that has passed every check, with every default filled in: the proof that it can be trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedSpec {
    /// The model to train.
    pub model: String,
    /// The version to start from.
    pub from: From,
    /// What to train on.
    pub data: CheckedData,
    /// What to validate on.
    pub validation: Option<CheckedValidation>,
    /// The folds of a cross-validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_validation: Option<CheckedCrossValidation>,
    /// The optimizer and its hyperparameters.
    pub optimizer: OptimizerSpec,
    /// Regularization.
    #[serde(default)]
    pub regularization: Regularization,
    /// How the learning rate changes.
    #[serde(default, with = "choice")]
    pub schedule: Schedule,
    /// Epochs over which it rises to what the schedule says.
    #[serde(default)]
    pub warmup_epochs: f64,
    /// What the classes weigh in training.
    #[serde(default)]
    pub class_weight: Option<ClassWeight>,
    /// A rule for each layer, or none.
    #[serde(default)]
    pub layers: Vec<LayerRule>,
    /// When to end before the last epoch.
    #[serde(default)]
    pub early_stopping: Option<EarlyStopping>,
    /// How good is good enough.
    #[serde(default)]
    pub target_metric: Option<TargetMetric>,
    /// Seconds of training after which no other epoch is begun.
    #[serde(default)]
    pub max_seconds: Option<f64>,
    /// Passes over the training rows.
    pub epochs: u64,
    /// Samples of a batch.
    pub batch_size: BatchSize,
    /// Whether rows are shuffled in each epoch.
    pub shuffle: bool,
    /// Rows of the dataset that are in memory at a time, where the job reads it in parts. Kept, so that no other memory changes
    /// what the job comes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_rows: Option<usize>,
    /// Fixes the split and the shuffle.
    pub seed: u64,
    /// What the history holds.
    pub metrics: Vec<Metric>,
    /// Whether features, classes and preprocessing are fitted anew.
    pub refit: bool,
    /// Rows left to train on.
    pub train_rows: usize,
    /// What the trained model's outputs will mean.
    pub targets: Targets,
}

impl CheckedData {
    /// Features and targets, where the data is a dataset.
    pub fn columns(&self) -> Option<(&[String], &[String])> {
        match self {
            Self::Dataset {
                features, targets, ..
            } => Some((features, targets)),
            Self::Inline { .. } => None,
        }
    }

    /// The column of sample weights, where there is one.
    pub fn weight_column(&self) -> Option<&String> {
        match self {
            Self::Dataset { sample_weight, .. } => sample_weight.as_ref(),
            Self::Inline { .. } => None,
        }
    }

    /// Whether rows have weights of their own.
    pub fn is_weighted(&self) -> bool {
        match self {
            Self::Dataset { sample_weight, .. } => sample_weight.is_some(),
            Self::Inline { weighted, .. } => *weighted,
        }
    }
}

impl CheckedSpec {
    /// Samples of a batch as a number, at most the rows there are.
    pub fn batch_rows(&self) -> usize {
        match self.batch_size {
            BatchSize::Samples(samples) => (samples as usize).min(self.train_rows),
            BatchSize::Full(Full::Full) => self.train_rows,
        }
    }

    /// Steps of one epoch: the batches it has, the last, shorter one counted.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.train_rows as u64).div_ceil(self.batch_rows() as u64)
    }

    /// Layers that stay as they are, counted from 0.
    pub fn frozen_layers(&self) -> impl Iterator<Item = usize> {
        let rules = self.layers.iter().enumerate();
        rules.filter_map(|(index, rule)| rule.frozen.then_some(index))
    }

    /// The version the job starts from, or the job whose checkpoint it starts from.
    pub fn base_version(&self) -> u64 {
        self.from.version.expect("a checked spec names the version")
    }

    /// Whether `metric` is wanted.
    pub fn wants(&self, metric: Metric) -> bool {
        self.metrics.contains(&metric)
    }

    /// The column of `data` that rows are split by, where there is one.
    pub fn split_column(&self) -> Option<&String> {
        match &self.validation {
            Some(CheckedValidation::Fraction { group, time, .. }) => {
                group.as_ref().or(time.as_ref())
            }
            Some(CheckedValidation::Dataset { .. } | CheckedValidation::Inline { .. }) | None => {
                self.cross_validation.as_ref()?.group.as_ref()
            }
        }
    }

    /// Names and digests of the datasets that the job reads.
    pub fn datasets(&self) -> Vec<(&str, &str)> {
        let data = match &self.data {
            CheckedData::Dataset {
                dataset, digest, ..
            } => Some((dataset.as_str(), digest.as_str())),
            CheckedData::Inline { .. } => None,
        };
        let validation = match &self.validation {
            Some(CheckedValidation::Dataset { dataset, digest }) => {
                Some((dataset.as_str(), digest.as_str()))
            }
            _ => None,
        };
        data.into_iter().chain(validation).collect()
    }

    /// Digests of everything that the job trains and validates on.
    pub fn data_digests(&self) -> Vec<String> {
        let data = match &self.data {
            CheckedData::Dataset { digest, .. } | CheckedData::Inline { digest, .. } => {
                digest.clone()
            }
        };
        let validation = match &self.validation {
            Some(
                CheckedValidation::Dataset { digest, .. }
                | CheckedValidation::Inline { digest, .. },
            ) => Some(digest.clone()),
            Some(CheckedValidation::Fraction { .. }) | None => None,
        };
        [data].into_iter().chain(validation).collect()
    }
}
