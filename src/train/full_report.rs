//! The full report: every figure of a model on rows, and at a job's end on those that it trained and validated on.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::model::Targets;
use crate::nn::metrics::{Tallies, Tally};
use crate::nn::{Evaluation, Loss, Network, Rightness, Scalar, evaluate};
use crate::train::figures::{Answering, Answers};
use crate::train::prepare::Samples;
use crate::train::{Metric, Metrics};

/// Every figure of a model on some rows; one that is not defined on them is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The figures.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// How many rows of each class (the outer list) were taken for each, where outputs are classes and there are not too
    /// many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confusion_matrix: Option<Vec<Vec<u64>>>,
    /// How each label fared, in the order of the outputs, where outputs are labels and there are not too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<LabelFigures>>,
}

/// How one label fared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelFigures {
    /// Its name; none where the model was trained on rows.
    pub label: Option<String>,
    /// Rows of which it was said, and is true.
    pub true_positives: u64,
    /// Rows of which it was said, and is not true.
    pub false_positives: u64,
    /// Rows of which it was not said, and is true.
    pub false_negatives: u64,
    /// tp / (tp + fp).
    pub precision: f64,
    /// tp / (tp + fn).
    pub recall: f64,
    /// tp / (tp + ½(fp + fn)).
    pub f1: f64,
}

/// What a job came to: the figures of the parameters that it publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FullReport {
    /// The epoch whose parameters they are.
    pub epoch: u64,
    /// On the rows trained on, without dropout and noise; none where the loss is not finite.
    pub train: Option<SplitReport>,
    /// On the validation rows; none where there are none.
    pub validation: Option<SplitReport>,
}

/// The figures on the rows of a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitReport {
    /// Its rows.
    pub rows: usize,
    /// Every figure.
    pub metrics: Figures,
}

/// A network and what is asked of it.
pub(super) struct Assessed<'a, T> {
    pub(super) network: &'a Network<T>,
    pub(super) loss: Loss,
    pub(super) targets: &'a Targets,
    /// The figures that are wanted.
    pub(super) wanted: Vec<Metric>,
}

/// Classes up to which there is a confusion matrix.
const MOST_CONFUSED: usize = 100;
/// Labels up to which each has its figures.
const MOST_LABELS: usize = 1000;
/// Rows × outputs up to which a report has more than the sums of the forward pass: its figures hold that many answers, and
/// sort them in about a second.
pub(super) const MOST_ANSWERS: usize = 1 << 23;

impl Figures {
    /// Whether every figure is finite.
    pub fn is_finite(&self) -> bool {
        let figures = Metric::ALL.into_iter();
        figures
            .filter_map(|metric| metric.of(&self.metrics))
            .all(f64::is_finite)
    }
}

impl FullReport {
    /// The figures on the rows trained on and on the validation rows, one after the other.
    ///
    /// `poll`: as of an evaluation.
    pub(super) fn of<T: Scalar>(
        assessed: &Assessed<T>,
        epoch: u64,
        (train, validation): (&Samples<T>, Option<&Samples<T>>),
        mut poll: impl FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), Self> {
        let train = assessed.report(train, &mut poll)?;
        let validation = match validation {
            Some(samples) => assessed.report(samples, poll)?,
            None => None,
        };
        ControlFlow::Continue(Self {
            epoch,
            train,
            validation,
        })
    }
}

impl<T: Scalar> Assessed<'_, T> {
    /// The figures that are wanted on `samples`, at least one row. The loss has the bits of a validation on them.
    ///
    /// `poll` is asked before each chunk of rows and each figure; its `Break` ends it.
    pub(super) fn figures(
        &self,
        samples: &Samples<T>,
        mut poll: impl FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), Figures> {
        let judged = (self.loss, self.targets.rightness());
        let (evaluation, answers) = Answers::of(self.network, judged, samples, &mut poll)?;
        let mut metrics = self.sums(evaluation);
        answers.fill(&self.wanted, &mut metrics, poll)?;
        let mut figures = Figures {
            metrics,
            confusion_matrix: None,
            labels: None,
        };
        let (last, outputs) = (self.network.last().activation, self.network.outputs());
        if self.targets.can_be_right(last) {
            match self.targets.rightness() {
                Rightness::OfClass if outputs <= MOST_CONFUSED => {
                    figures.confusion_matrix = confusion_matrix(&answers);
                }
                Rightness::OfLabels if outputs <= MOST_LABELS => {
                    figures.labels = answers.tallies().map(|tallies| self.labels(&tallies));
                }
                Rightness::OfClass | Rightness::OfLabels => {}
            }
        }
        ControlFlow::Continue(figures)
    }

    /// The same for a report; of very many answers, loss and accuracy alone.
    pub(super) fn report(
        &self,
        samples: &Samples<T>,
        mut poll: impl FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<SplitReport>> {
        let (inputs, targets) = (samples.inputs.view(), samples.targets.view());
        let metrics = if targets.len() <= MOST_ANSWERS {
            self.figures(samples, &mut poll)?
        } else {
            let judged = (self.loss, self.targets.rightness());
            let evaluated = evaluate(self.network, judged, inputs, targets, poll)?;
            Figures {
                metrics: self.sums(evaluated),
                confusion_matrix: None,
                labels: None,
            }
        };
        let rows = inputs.nrows();
        let report = metrics.is_finite().then_some(SplitReport { rows, metrics });
        ControlFlow::Continue(report)
    }

    fn sums(&self, evaluation: Evaluation) -> Metrics {
        let rows = evaluation.samples as f64;
        let right = self.wanted.contains(&Metric::Accuracy);
        Metrics {
            loss: evaluation.loss_sum / rows,
            accuracy: right.then(|| evaluation.correct as f64 / rows),
            ..Metrics::default()
        }
    }

    fn labels(&self, tallies: &Tallies) -> Vec<LabelFigures> {
        let names = match self.targets {
            Targets::Labels { names } | Targets::Values { names } => names.as_deref(),
            Targets::Classes { .. } => None,
        };
        let label = |place: usize| names.map(|names| names[place].clone());
        let each = tallies.each().iter().enumerate();
        each.map(|(place, tally)| LabelFigures::of(label(place), tally))
            .collect()
    }
}

impl<'a, T: Scalar> Assessed<'a, T> {
    /// Every figure that a network's outputs allow, those named as they are named.
    pub(super) fn every(
        network: &'a Network<T>,
        loss: Loss,
        targets: &'a Targets,
        named: &[Metric],
    ) -> Self {
        let answering = Answering {
            targets,
            last: network.last().activation,
            outputs: network.outputs(),
        };
        Self {
            network,
            loss,
            targets,
            wanted: answering.every(named),
        }
    }
}

impl LabelFigures {
    fn of(label: Option<String>, tally: &Tally) -> Self {
        Self {
            label,
            true_positives: tally.true_positives as u64,
            false_positives: tally.false_positives as u64,
            false_negatives: tally.false_negatives as u64,
            precision: tally.precision(),
            recall: tally.recall(),
            f1: tally.f1(),
        }
    }
}

fn confusion_matrix(answers: &Answers) -> Option<Vec<Vec<u64>>> {
    let confusion = answers.confusion()?;
    let whole = |counts: &Vec<f64>| counts.iter().map(|&count| count as u64).collect();
    Some(confusion.counts().iter().map(whole).collect())
}
