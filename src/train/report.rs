//! What a run tells of itself while it goes on, and whom it asks whether to go on.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::nn::LayerStatistics;
use crate::train::Checkpoint;

/// A figure of the history. Loss and accuracy of the rows trained on are those of each batch before its update; all others
/// are of the parameters at the epoch's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The mean loss (always there).
    Loss,
    /// The share of rows whose largest output is the largest target.
    Accuracy,
    /// Precision of classes, the mean over them.
    Precision,
    /// Recall of classes, the mean over them.
    Recall,
    /// F1 of classes, the mean over them.
    F1,
    /// Area under the ROC curve, one class against the rest, the mean over them.
    RocAuc,
    /// −ln of the probability of the true class, the mean over rows.
    LogLoss,
    /// Squared distance of the probabilities from the truth, the mean over rows.
    Brier,
    /// (1/(N·J)) Σ |y − a|.
    MeanAbsoluteError,
    /// (1/(N·J)) Σ (y − a)².
    MeanSquaredError,
    /// The root of the mean squared error, the mean over outputs.
    RootMeanSquaredError,
    /// Share of the targets’ variance that is explained, the mean over outputs.
    R2,
    /// |y − a| / |y|, the mean over rows and outputs.
    MeanAbsolutePercentageError,
}

impl Metric {
    /// Every figure.
    pub const ALL: [Self; 13] = [
        Self::Loss,
        Self::Accuracy,
        Self::Precision,
        Self::Recall,
        Self::F1,
        Self::RocAuc,
        Self::LogLoss,
        Self::Brier,
        Self::MeanAbsoluteError,
        Self::MeanSquaredError,
        Self::RootMeanSquaredError,
        Self::R2,
        Self::MeanAbsolutePercentageError,
    ];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Accuracy => "accuracy",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::F1 => "f1",
            Self::RocAuc => "roc_auc",
            Self::LogLoss => "log_loss",
            Self::Brier => "brier",
            Self::MeanAbsoluteError => "mean_absolute_error",
            Self::MeanSquaredError => "mean_squared_error",
            Self::RootMeanSquaredError => "root_mean_squared_error",
            Self::R2 => "r2",
            Self::MeanAbsolutePercentageError => "mean_absolute_percentage_error",
        }
    }

    /// Whether it is a sum over samples, which the passes of training and validation add up anyway.
    pub fn is_sum(self) -> bool {
        matches!(self, Self::Loss | Self::Accuracy)
    }

    /// What it asks of a model's outputs.
    pub fn needs(self) -> Needs {
        match self {
            Self::Loss
            | Self::MeanAbsoluteError
            | Self::MeanSquaredError
            | Self::RootMeanSquaredError
            | Self::R2
            | Self::MeanAbsolutePercentageError => Needs::Nothing,
            Self::Accuracy | Self::Precision | Self::Recall | Self::F1 | Self::RocAuc => {
                Needs::Classes
            }
            Self::LogLoss | Self::Brier => Needs::Probabilities,
        }
    }

    /// The figure, where it was computed.
    pub fn of(self, metrics: &Metrics) -> Option<f64> {
        match self {
            Self::Loss => Some(metrics.loss),
            Self::Accuracy => metrics.accuracy,
            Self::Precision => metrics.precision,
            Self::Recall => metrics.recall,
            Self::F1 => metrics.f1,
            Self::RocAuc => metrics.roc_auc,
            Self::LogLoss => metrics.log_loss,
            Self::Brier => metrics.brier,
            Self::MeanAbsoluteError => metrics.mean_absolute_error,
            Self::MeanSquaredError => metrics.mean_squared_error,
            Self::RootMeanSquaredError => metrics.root_mean_squared_error,
            Self::R2 => metrics.r2,
            Self::MeanAbsolutePercentageError => metrics.mean_absolute_percentage_error,
        }
    }

    /// Whether a figure is better than another.
    pub fn is_better(self, value: f64, than: f64) -> bool {
        self.is_better_by(value, than, 0.0)
    }

    /// Whether a figure is better than another by more than so much.
    pub fn is_better_by(self, value: f64, than: f64, margin: f64) -> bool {
        match self {
            Self::Loss
            | Self::LogLoss
            | Self::Brier
            | Self::MeanAbsoluteError
            | Self::MeanSquaredError
            | Self::RootMeanSquaredError
            | Self::MeanAbsolutePercentageError => value < than - margin,
            Self::Accuracy
            | Self::Precision
            | Self::Recall
            | Self::F1
            | Self::RocAuc
            | Self::R2 => value > than + margin,
        }
    }
}

/// What a figure asks of a model's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any outputs will do.
    Nothing,
    /// Outputs that can be right or wrong.
    Classes,
    /// Outputs that are probabilities of classes: those of softmax, or one of sigmoid.
    Probabilities,
}

/// The figures of one split in one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean loss per sample.
    pub loss: f64,
    /// Share of right answers, where it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Precision of classes, the mean over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// Recall of classes, the mean over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// F1 of classes, the mean over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// Area under the ROC curve, one class against the rest, the mean over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roc_auc: Option<f64>,
    /// −ln of the probability of the true class, the mean over rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_loss: Option<f64>,
    /// Squared distance of the probabilities from the truth, the mean over rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brier: Option<f64>,
    /// (1/(N·J)) Σ |y − a|.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_absolute_error: Option<f64>,
    /// (1/(N·J)) Σ (y − a)².
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_squared_error: Option<f64>,
    /// The root of the mean squared error, the mean over outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_mean_squared_error: Option<f64>,
    /// Share of the targets’ variance that is explained, the mean over outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// |y − a| / |y|, the mean over rows and outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_absolute_percentage_error: Option<f64>,
}

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Steps taken so far in the run.
    pub step: u64,
    /// The learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Over the epoch's batches, each before its update, and with the dropout and noise of its step.
    pub train: Metrics,
    /// After the epoch.
    pub validation: Option<Metrics>,
    /// Of the epoch's last step, where the epoch is recorded.
    pub statistics: Option<Vec<LayerStatistics>>,
    /// Samples trained on in the epoch.
    pub samples: u64,
}

/// Who a run reports to. Called on the training thread: every call must be quick.
pub trait Observer {
    /// Asked before each column while the data is prepared: `Break` stops the run before it has begun.
    fn poll_preparing(&mut self) -> ControlFlow<()>;
    /// Asked before each chunk of a batch: `Break` stops the run at the last whole step.
    fn poll(&mut self) -> ControlFlow<()>;
    /// Asked after each step: whether a checkpoint is wanted here. `epoch_end` tells whether the epoch is done.
    fn wants_checkpoint(&mut self, epoch_end: bool) -> bool;
    /// Takes a checkpoint that was wanted.
    fn checkpoint(&mut self, checkpoint: Checkpoint);
    /// Takes an epoch's report.
    fn epoch(&mut self, report: EpochReport);
}

/// Epochs whose gradient statistics are recorded, at most: the first, the last, and as many between.
const MOST_RECORDED: u64 = 200;

/// Whether gradient statistics are recorded in `epoch` of `epochs`: by number, never by the clock.
pub fn is_recorded(epoch: u64, epochs: u64) -> bool {
    epoch == 1 || epoch == epochs || epoch.is_multiple_of(epochs.div_ceil(MOST_RECORDED))
}
