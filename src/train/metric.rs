//! Metrics: the figures that tell how good a model's answers are, by name, and the values of one split.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::choice;
use crate::nn::{Hyperparameter, Range};

/// A figure, by its name or as `{"type":"top_k_accuracy","k":3}`. Loss and accuracy of the rows trained on are, in the
/// history, those of each batch before its update; all others are of the parameters at the epoch's end.
///
/// Averages are named as scikit-learn's scorers name them; the plain name is the macro average.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    remote = "Self",
    tag = "type",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum Metric {
    /// The mean loss (always there).
    Loss,
    /// The share of rows that are right: the class is named, or every label is.
    Accuracy,
    /// The share of rows whose class is among the k of the largest outputs.
    TopKAccuracy {
        /// How many, in [1, classes].
        #[serde(default = "five")]
        k: u64,
    },
    /// Precision of classes or labels, the mean over them.
    Precision,
    /// Precision of the counts of all classes or labels together.
    PrecisionMicro,
    /// Precision, the mean over classes or labels, weighted by how often each is true.
    PrecisionWeighted,
    /// Recall of classes or labels, the mean over them.
    Recall,
    /// Recall of the counts of all classes or labels together.
    RecallMicro,
    /// Recall, the mean over classes or labels, weighted by how often each is true.
    RecallWeighted,
    /// F1 of classes or labels, the mean over them.
    F1,
    /// F1 of the counts of all classes or labels together.
    F1Micro,
    /// F1, the mean over classes or labels, weighted by how often each is true.
    F1Weighted,
    /// Area under the ROC curve, one class or label against the rest, the mean over them.
    RocAuc,
    /// Area under the ROC curve of every row and class, or label, together.
    RocAucMicro,
    /// Area under the ROC curve, the mean over classes or labels, weighted by how often each is true.
    RocAucWeighted,
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

/// k of a `top_k_accuracy` that does not say, as of Keras's `TopKCategoricalAccuracy`.
pub const DEFAULT_K: u64 = 5;

fn five() -> u64 {
    DEFAULT_K
}

/// A metric as its fields are written and read.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Tagged(#[serde(with = "Metric")] Metric);

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        choice::serialize(&Tagged(*self), serializer)
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        choice::deserialize(deserializer).map(|Tagged(metric)| metric)
    }
}

/// What a figure asks of a model's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// Any outputs will do.
    Nothing,
    /// Outputs that can be right or wrong: classes or labels.
    Decisions,
    /// Outputs of which one is right: classes.
    Classes,
    /// Outputs that are probabilities of classes: those of softmax, or one of sigmoid.
    Probabilities,
}

impl Metric {
    /// Every figure, its parameters by default.
    pub const ALL: [Self; 22] = [
        Self::Loss,
        Self::Accuracy,
        Self::TopKAccuracy { k: DEFAULT_K },
        Self::Precision,
        Self::PrecisionMicro,
        Self::PrecisionWeighted,
        Self::Recall,
        Self::RecallMicro,
        Self::RecallWeighted,
        Self::F1,
        Self::F1Micro,
        Self::F1Weighted,
        Self::RocAuc,
        Self::RocAucMicro,
        Self::RocAucWeighted,
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
            Self::TopKAccuracy { .. } => "top_k_accuracy",
            Self::Precision => "precision",
            Self::PrecisionMicro => "precision_micro",
            Self::PrecisionWeighted => "precision_weighted",
            Self::Recall => "recall",
            Self::RecallMicro => "recall_micro",
            Self::RecallWeighted => "recall_weighted",
            Self::F1 => "f1",
            Self::F1Micro => "f1_micro",
            Self::F1Weighted => "f1_weighted",
            Self::RocAuc => "roc_auc",
            Self::RocAucMicro => "roc_auc_micro",
            Self::RocAucWeighted => "roc_auc_weighted",
            Self::LogLoss => "log_loss",
            Self::Brier => "brier",
            Self::MeanAbsoluteError => "mean_absolute_error",
            Self::MeanSquaredError => "mean_squared_error",
            Self::RootMeanSquaredError => "root_mean_squared_error",
            Self::R2 => "r2",
            Self::MeanAbsolutePercentageError => "mean_absolute_percentage_error",
        }
    }

    /// What it is, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Loss => "C, the mean over rows",
            Self::Accuracy => "the share of rows whose class, or whose every label, is right",
            Self::TopKAccuracy { .. } => {
                "the share of rows whose class is among the k of the largest outputs"
            }
            Self::Precision => "precision of classes or labels, the mean over them",
            Self::PrecisionMicro => "precision of the counts of all classes or labels together",
            Self::PrecisionWeighted => {
                "precision, the mean over classes or labels, weighted by how often each is true"
            }
            Self::Recall => "recall of classes or labels, the mean over them",
            Self::RecallMicro => "recall of the counts of all classes or labels together",
            Self::RecallWeighted => {
                "recall, the mean over classes or labels, weighted by how often each is true"
            }
            Self::F1 => "F1 of classes or labels, the mean over them",
            Self::F1Micro => "F1 of the counts of all classes or labels together",
            Self::F1Weighted => {
                "F1, the mean over classes or labels, weighted by how often each is true"
            }
            Self::RocAuc => {
                "area under the ROC curve, one class or label against the rest, the mean over them"
            }
            Self::RocAucMicro => {
                "area under the ROC curve of every row and class, or label, together"
            }
            Self::RocAucWeighted => {
                "area under the ROC curve, the mean over classes or labels, weighted by how often each is true"
            }
            Self::LogLoss => "−ln of the probability of the true class, the mean over rows",
            Self::Brier => {
                "squared distance of the probabilities from the truth, the mean over rows"
            }
            Self::MeanAbsoluteError => "(1/(N·J)) Σ |y − a|",
            Self::MeanSquaredError => "(1/(N·J)) Σ (y − a)²",
            Self::RootMeanSquaredError => {
                "the root of the mean squared error, the mean over outputs"
            }
            Self::R2 => "share of the targets’ variance that is explained, the mean over outputs",
            Self::MeanAbsolutePercentageError => "|y − a| / |y|, the mean over rows and outputs",
        }
    }

    /// Its parameters, of a model with so many classes.
    pub fn hyperparameters(self, classes: usize) -> Vec<Hyperparameter> {
        match self {
            Self::TopKAccuracy { k } => {
                let range = Range::closed(1.0, classes as f64);
                let meaning = "how many of the largest outputs, at most the number of classes";
                vec![Hyperparameter::whole("k", k, range, meaning)]
            }
            Self::Loss
            | Self::Accuracy
            | Self::Precision
            | Self::PrecisionMicro
            | Self::PrecisionWeighted
            | Self::Recall
            | Self::RecallMicro
            | Self::RecallWeighted
            | Self::F1
            | Self::F1Micro
            | Self::F1Weighted
            | Self::RocAuc
            | Self::RocAucMicro
            | Self::RocAucWeighted
            | Self::LogLoss
            | Self::Brier
            | Self::MeanAbsoluteError
            | Self::MeanSquaredError
            | Self::RootMeanSquaredError
            | Self::R2
            | Self::MeanAbsolutePercentageError => Vec::new(),
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
            Self::Accuracy
            | Self::Precision
            | Self::PrecisionMicro
            | Self::PrecisionWeighted
            | Self::Recall
            | Self::RecallMicro
            | Self::RecallWeighted
            | Self::F1
            | Self::F1Micro
            | Self::F1Weighted
            | Self::RocAuc
            | Self::RocAucMicro
            | Self::RocAucWeighted => Needs::Decisions,
            Self::TopKAccuracy { .. } => Needs::Classes,
            Self::LogLoss | Self::Brier => Needs::Probabilities,
        }
    }

    /// The figure, where it was computed.
    pub fn of(self, metrics: &Metrics) -> Option<f64> {
        match self {
            Self::Loss => Some(metrics.loss),
            Self::Accuracy => metrics.accuracy,
            Self::TopKAccuracy { .. } => metrics.top_k_accuracy,
            Self::Precision => metrics.precision,
            Self::PrecisionMicro => metrics.precision_micro,
            Self::PrecisionWeighted => metrics.precision_weighted,
            Self::Recall => metrics.recall,
            Self::RecallMicro => metrics.recall_micro,
            Self::RecallWeighted => metrics.recall_weighted,
            Self::F1 => metrics.f1,
            Self::F1Micro => metrics.f1_micro,
            Self::F1Weighted => metrics.f1_weighted,
            Self::RocAuc => metrics.roc_auc,
            Self::RocAucMicro => metrics.roc_auc_micro,
            Self::RocAucWeighted => metrics.roc_auc_weighted,
            Self::LogLoss => metrics.log_loss,
            Self::Brier => metrics.brier,
            Self::MeanAbsoluteError => metrics.mean_absolute_error,
            Self::MeanSquaredError => metrics.mean_squared_error,
            Self::RootMeanSquaredError => metrics.root_mean_squared_error,
            Self::R2 => metrics.r2,
            Self::MeanAbsolutePercentageError => metrics.mean_absolute_percentage_error,
        }
    }

    /// Whether a figure is better the larger it is.
    pub fn is_larger_better(self) -> bool {
        match self {
            Self::Loss
            | Self::LogLoss
            | Self::Brier
            | Self::MeanAbsoluteError
            | Self::MeanSquaredError
            | Self::RootMeanSquaredError
            | Self::MeanAbsolutePercentageError => false,
            Self::Accuracy
            | Self::TopKAccuracy { .. }
            | Self::Precision
            | Self::PrecisionMicro
            | Self::PrecisionWeighted
            | Self::Recall
            | Self::RecallMicro
            | Self::RecallWeighted
            | Self::F1
            | Self::F1Micro
            | Self::F1Weighted
            | Self::RocAuc
            | Self::RocAucMicro
            | Self::RocAucWeighted
            | Self::R2 => true,
        }
    }

    /// Whether a figure is better than another.
    pub fn is_better(self, value: f64, than: f64) -> bool {
        self.is_better_by(value, than, 0.0)
    }

    /// Whether a figure is better than another by more than so much.
    pub fn is_better_by(self, value: f64, than: f64, margin: f64) -> bool {
        if self.is_larger_better() {
            value > than + margin
        } else {
            value < than - margin
        }
    }
}

/// The figures of one split, as of an epoch. One that is not wanted, or is not defined on the rows, is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean loss per sample.
    pub loss: f64,
    /// The share of rows that are right: the class is named, or every label is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// The share of rows whose class is among the k of the largest outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k_accuracy: Option<f64>,
    /// Precision of classes or labels, the mean over them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// Precision of the counts of all classes or labels together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision_micro: Option<f64>,
    /// Precision, the mean over classes or labels, weighted by how often each is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision_weighted: Option<f64>,
    /// Recall of classes or labels, the mean over them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Recall of the counts of all classes or labels together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall_micro: Option<f64>,
    /// Recall, the mean over classes or labels, weighted by how often each is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall_weighted: Option<f64>,
    /// F1 of classes or labels, the mean over them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// F1 of the counts of all classes or labels together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1_micro: Option<f64>,
    /// F1, the mean over classes or labels, weighted by how often each is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1_weighted: Option<f64>,
    /// Area under the ROC curve, one class or label against the rest, the mean over them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roc_auc: Option<f64>,
    /// Area under the ROC curve of every row and class, or label, together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roc_auc_micro: Option<f64>,
    /// Area under the ROC curve, the mean over classes or labels, weighted by how often each is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roc_auc_weighted: Option<f64>,
    /// −ln of the probability of the true class, the mean over rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_loss: Option<f64>,
    /// Squared distance of the probabilities from the truth, the mean over rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brier: Option<f64>,
    /// (1/(N·J)) Σ |y − a|.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_absolute_error: Option<f64>,
    /// (1/(N·J)) Σ (y − a)².
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_squared_error: Option<f64>,
    /// The root of the mean squared error, the mean over outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_mean_squared_error: Option<f64>,
    /// Share of the targets’ variance that is explained, the mean over outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// |y − a| / |y|, the mean over rows and outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_absolute_percentage_error: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Metric {
        serde_json::from_str(json).expect("a metric")
    }

    fn written(metric: Metric) -> String {
        serde_json::to_string(&metric).expect("a metric")
    }

    #[test]
    fn every_metric_is_read_and_written_by_the_name_that_its_figure_has() {
        for metric in Metric::ALL {
            let name = metric.name();
            assert_eq!(read(&format!("\"{name}\"")), metric);
            assert_eq!(read(&format!(r#"{{"type":"{name}"}}"#)), metric);
            assert_eq!(read(&written(metric)), metric);
            // What is stored under the name is the figure of the name, and of no other.
            let figure = format!(r#"{{"loss":0.5,"{name}":0.25}}"#);
            let figure = figure.replace(r#""loss":0.5,"loss""#, r#""loss""#);
            let metrics: Metrics = serde_json::from_str(&figure).expect("figures");
            assert_eq!(metric.of(&metrics), Some(0.25), "{name}");
            let others = Metric::ALL.into_iter().filter(|other| *other != metric);
            let known = others.filter_map(|other| other.of(&metrics));
            assert_eq!(known.sum::<f64>(), if name == "loss" { 0.0 } else { 0.5 });
        }
        let k = Metric::TopKAccuracy { k: 3 };
        assert_eq!(read(r#"{"type":"top_k_accuracy","k":3}"#), k);
        assert_eq!(written(k), r#"{"type":"top_k_accuracy","k":3}"#);
        assert_eq!(written(Metric::F1Micro), r#""f1_micro""#);
        assert!(serde_json::from_str::<Metric>(r#"{"type":"f1","k":3}"#).is_err());
    }

    #[test]
    fn of_classes_there_are_as_many_k_as_classes() {
        let violation = |k, classes| {
            let of = Metric::TopKAccuracy { k }.hyperparameters(classes);
            of[0].violation()
        };
        assert_eq!((violation(1, 3), violation(3, 3)), (None, None));
        for k in [0, 4] {
            let said = format!("must be in [1, 3], got {k}");
            assert_eq!(violation(k, 3), Some(said));
        }
    }

    #[test]
    fn a_figure_is_better_by_more_than_the_margin_in_its_own_direction() {
        let better = |metric: Metric, value, than| metric.is_better_by(value, than, 0.1);
        assert!(
            better(Metric::RecallWeighted, 0.7, 0.5) && !better(Metric::RecallWeighted, 0.55, 0.5)
        );
        assert!(better(Metric::Brier, 0.3, 0.5) && !better(Metric::Brier, 0.45, 0.5));
    }
}
