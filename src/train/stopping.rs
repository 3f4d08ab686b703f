//! Stopping: when a run has learned what it can, and which of its epochs was the best.

use serde::{Deserialize, Serialize};

use crate::model::Violations;
use crate::nn::{Hyperparameter, Network, Range, Scalar};
use crate::train::{EpochReport, Metric, Metrics};

/// `early_stopping` of a job: it ends once a figure has not become better for so many epochs in a row.
///
/// The figure is that of the validation rows, or of the rows trained on where there are none. As Keras's
/// `EarlyStopping`, but that patience is 10 by default, as scikit-learn's `n_iter_no_change`, and the best epoch is kept.
/// Source: Prechelt (1998), "Early stopping, but when?".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// The figure.
    #[serde(default = "loss")]
    pub metric: Metric,
    /// Epochs in a row without a better figure that end the job, at least 1.
    #[serde(default = "ten")]
    pub patience: u64,
    /// How much better than the best is better, at least 0.
    #[serde(default)]
    pub min_delta: f64,
    /// Whether the parameters of the best epoch are published, not those of the last.
    #[serde(default = "yes")]
    pub restore_best: bool,
}

/// `target_metric` of a job: it ends once a figure is as good as this.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetMetric {
    /// The figure.
    pub metric: Metric,
    /// How good: at most this for a loss, at least this for an accuracy.
    pub value: f64,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Every epoch is done.
    Epochs,
    /// A figure has not become better for so many epochs.
    EarlyStopping,
    /// A figure is as good as it was to become.
    TargetMetric,
    /// The optimizer can make the loss no smaller.
    Converged,
    /// It has trained for as long as it was given.
    MaxSeconds,
}

impl EndedBy {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Epochs,
        Self::EarlyStopping,
        Self::TargetMetric,
        Self::Converged,
        Self::MaxSeconds,
    ];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epochs => "epochs",
            Self::EarlyStopping => "early_stopping",
            Self::TargetMetric => "target_metric",
            Self::Converged => "converged",
            Self::MaxSeconds => "max_seconds",
        }
    }
}

fn loss() -> Metric {
    Metric::Loss
}

fn ten() -> u64 {
    10
}

fn yes() -> bool {
    true
}

impl EarlyStopping {
    /// Notes what is out of range.
    pub(super) fn check(&self, violations: &mut Violations) {
        let patience =
            Hyperparameter::whole("patience", self.patience, Range::closed(1.0, 1e6), "");
        let delta =
            Hyperparameter::number("min_delta", self.min_delta, Range::closed(0.0, 1e30), "");
        for part in [patience, delta] {
            if let Some(detail) = part.violation() {
                violations.add(format!("/early_stopping/{}", part.name), detail);
            }
        }
    }
}

/// The epoch with the best figure so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Its figures of the rows trained on.
    pub train: Metrics,
    /// Its figures of the validation rows.
    pub validation: Option<Metrics>,
}

/// What stopping remembers of the epochs: plain data, for a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// The best epoch.
    best: Option<Best>,
    /// Epochs since it.
    epochs_since: u64,
    /// Whether the target has been reached.
    reached: bool,
    /// Whether the optimizer can make the loss no smaller.
    #[serde(default)]
    converged: bool,
    /// Whether the run has had its time.
    #[serde(default)]
    out_of_time: bool,
}

/// Watches a run's epochs.
pub(super) struct Watch<T> {
    early: Option<EarlyStopping>,
    target: Option<TargetMetric>,
    watched: Watched,
    /// The parameters of the best epoch, where they are to be restored.
    best: Option<Network<T>>,
}

impl<T: Scalar> Watch<T> {
    /// A watch that goes on from what was remembered.
    pub(super) fn new(
        (early, target): (Option<EarlyStopping>, Option<TargetMetric>),
        network: &Network<T>,
        (watched, best): (Watched, Option<Network<T>>),
    ) -> Self {
        let restores = early.is_some_and(|early| early.restore_best);
        Self {
            early,
            target,
            watched,
            best: restores.then(|| best.unwrap_or_else(|| network.clone())),
        }
    }

    /// Takes an epoch's figures and the parameters it ended with. Allocates nothing.
    pub(super) fn observe(&mut self, report: &EpochReport, network: &Network<T>) {
        let value = |metric: Metric| metric.of(report.validation.as_ref().unwrap_or(&report.train));
        if let Some(target) = self.target
            && let Some(value) = value(target.metric)
        {
            self.watched.reached |= !target.metric.is_better(target.value, value);
        }
        let Some(early) = self.early else { return };
        let before = self.watched.best.and_then(|best| {
            let metrics = best.validation.as_ref().unwrap_or(&best.train);
            early.metric.of(metrics)
        });
        let better = match (value(early.metric), before) {
            (Some(value), Some(before)) => {
                early.metric.is_better_by(value, before, early.min_delta)
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        if !better {
            self.watched.epochs_since += 1;
            return;
        }
        self.watched.epochs_since = 0;
        self.watched.best = Some(Best {
            epoch: report.epoch,
            train: report.train,
            validation: report.validation,
        });
        if let Some(best) = &mut self.best {
            best.clone_from(network);
        }
    }

    /// Takes that the optimizer can make the loss no smaller.
    pub(super) fn converge(&mut self) {
        self.watched.converged = true;
    }

    /// Takes that the run has had its time.
    pub(super) fn run_out(&mut self) {
        self.watched.out_of_time = true;
    }

    /// Why the run ends before its last epoch, where it does. What it has learned comes before the time that it took.
    pub(super) fn ending(&self) -> Option<EndedBy> {
        let Watched {
            epochs_since,
            reached,
            converged,
            out_of_time,
            ..
        } = self.watched;
        let patience = self.early.map(|early| early.patience);
        if reached {
            Some(EndedBy::TargetMetric)
        } else if converged {
            Some(EndedBy::Converged)
        } else if patience.is_some_and(|most| epochs_since >= most) {
            Some(EndedBy::EarlyStopping)
        } else if out_of_time {
            Some(EndedBy::MaxSeconds)
        } else {
            None
        }
    }

    /// What it remembers, and the parameters of the best epoch.
    pub(super) fn state(&self) -> (Watched, Option<&Network<T>>) {
        (self.watched, self.best.as_ref())
    }

    /// The best epoch and its parameters, where they are to be restored.
    pub(super) fn best(&self) -> Option<(&Network<T>, Best)> {
        self.best.as_ref().zip(self.watched.best)
    }

    /// The same, when the run is over.
    pub(super) fn into_best(self) -> Option<(Network<T>, Best)> {
        self.best.zip(self.watched.best)
    }
}
