//! The full report: every figure of a model on rows, and at a job's end on those that it trained and validated on.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::model::Targets;
use crate::nn::metrics::{Tallies, Tally};
use crate::nn::{Evaluation, Loss, Network, Rightness, Scalar, Team};
use crate::train::feed::Feed;
use crate::train::figures::{Answering, Answers};
use crate::train::{CrossValidation, Error, Metric, Metrics};

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
    /// tp / (tp + fp), by what the rows weigh.
    pub precision: f64,
    /// tp / (tp + fn), by what the rows weigh.
    pub recall: f64,
    /// tp / (tp + ½(fp + fn)), by what the rows weigh.
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
    /// Of the folds of a cross-validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_validation: Option<CrossValidation>,
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
    /// The threads that go forward.
    pub(super) team: &'a Team,
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
/// The same of a table that is not held in memory: 96 MiB.
pub(super) const MOST_WINDOWED_ANSWERS: usize = 1 << 21;

fn most_answers<T: Scalar>(feed: &Feed<T>) -> usize {
    if feed.is_held() {
        MOST_ANSWERS
    } else {
        MOST_WINDOWED_ANSWERS
    }
}

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
        (train, validation): (&mut Feed<T>, Option<&mut Feed<T>>),
        poll: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), Self>, Error> {
        let ControlFlow::Continue(train) = assessed.report(train, most_answers(train), poll)?
        else {
            return Ok(ControlFlow::Break(()));
        };
        let validation = match validation {
            Some(feed) => match assessed.report(feed, most_answers(feed), poll)? {
                ControlFlow::Continue(report) => report,
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            },
            None => None,
        };
        Ok(ControlFlow::Continue(Self {
            epoch,
            train,
            validation,
            cross_validation: None,
        }))
    }
}

impl<T: Scalar> Assessed<'_, T> {
    /// The figures that are wanted on the samples of `feed`, at least one. The loss has the bits of a validation on them.
    ///
    /// `poll` is asked as often as there are chunks of rows, and before each figure; its `Break` ends it.
    pub(super) fn figures(
        &self,
        feed: &mut Feed<T>,
        poll: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), Figures>, Error> {
        let judged = (self.loss, self.targets.rightness());
        let answered = Answers::of((self.network, self.team), judged, feed, poll)?;
        let ControlFlow::Continue((evaluation, answers)) = answered else {
            return Ok(ControlFlow::Break(()));
        };
        let mut metrics = self.sums(evaluation);
        if answers
            .fill(&self.wanted, &mut metrics, self.team, poll)
            .is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
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
                    let tallies = answers.label_counts().zip(answers.tallies());
                    figures.labels =
                        tallies.map(|(counts, weighed)| self.labels(&counts, &weighed));
                }
                Rightness::OfClass | Rightness::OfLabels => {}
            }
        }
        Ok(ControlFlow::Continue(figures))
    }

    /// The same for a report; of more than so many answers, loss and accuracy alone.
    fn report(
        &self,
        feed: &mut Feed<T>,
        most_answers: usize,
        poll: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), Option<SplitReport>>, Error> {
        let rows = feed.len();
        let metrics = if rows * self.network.outputs() <= most_answers {
            self.figures(feed, poll)?
        } else {
            let judged = (self.loss, self.targets.rightness());
            let by = (self.network, self.team);
            let evaluated = feed.evaluate(by, judged, poll, |_, _, _| {})?;
            evaluated.map_continue(|evaluated| Figures {
                metrics: self.sums(evaluated),
                confusion_matrix: None,
                labels: None,
            })
        };
        Ok(metrics
            .map_continue(|metrics| metrics.is_finite().then_some(SplitReport { rows, metrics })))
    }

    fn sums(&self, evaluation: Evaluation) -> Metrics {
        let weight = evaluation.weight;
        let right = self.wanted.contains(&Metric::Accuracy);
        Metrics {
            loss: evaluation.loss_sum / weight,
            accuracy: right.then(|| evaluation.correct / weight),
            ..Metrics::default()
        }
    }

    fn labels(&self, counts: &Tallies, weighed: &Tallies) -> Vec<LabelFigures> {
        let names = match self.targets {
            Targets::Labels { names } | Targets::Values { names } => names.as_deref(),
            Targets::Classes { .. } => None,
        };
        let label = |place: usize| names.map(|names| names[place].clone());
        let each = counts.each().iter().zip(weighed.each()).enumerate();
        each.map(|(place, (counts, weighed))| LabelFigures::of(label(place), counts, weighed))
            .collect()
    }
}

impl<'a, T: Scalar> Assessed<'a, T> {
    /// Every figure that a network's outputs allow, those named as they are named.
    pub(super) fn every(
        (network, team): (&'a Network<T>, &'a Team),
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
            team,
            loss,
            targets,
            wanted: answering.every(named),
        }
    }
}

impl LabelFigures {
    /// The counts are of rows, the shares of what the rows weigh.
    fn of(label: Option<String>, counts: &Tally, weighed: &Tally) -> Self {
        Self {
            label,
            true_positives: counts.true_positives as u64,
            false_positives: counts.false_positives as u64,
            false_negatives: counts.false_negatives as u64,
            precision: weighed.precision(),
            recall: weighed.recall(),
            f1: weighed.f1(),
        }
    }
}

fn confusion_matrix(answers: &Answers) -> Option<Vec<Vec<u64>>> {
    let confusion = answers.confusion()?;
    let whole = |counts: &Vec<f64>| counts.iter().map(|&count| count as u64).collect();
    Some(confusion.counts().iter().map(whole).collect())
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::model::{AnyNetwork, ModelLimits, ModelSpec};
    use crate::train::samples::Samples;
    use crate::train::weighing::Weights;

    /// A network whose every output is ½ whatever the input, or the bias where that is not 0.
    fn network(outputs: usize, bias: f64) -> Network<f64> {
        let (weights, biases) = (vec![[0.0]; outputs], vec![bias; outputs]);
        let layer = serde_json::json!({"weights": weights, "biases": biases});
        let activation = if bias == 0.0 { "sigmoid" } else { "identity" };
        let spec = serde_json::json!({
            "name": "m", "inputs": 1, "dtype": "float64", "parameters": [layer],
            "layers": [{"units": outputs, "activation": activation}],
        });
        let spec: ModelSpec = serde_json::from_value(spec).expect("a spec");
        let limits = ModelLimits {
            layers: 1,
            units: 10_000,
            inputs: 1,
            parameters: 100_000,
        };
        let model = spec.check(&limits).expect("a good spec").build();
        let AnyNetwork::Float64(network) = model.network else {
            panic!("a float64 model")
        };
        network
    }

    fn feed(rows: usize, outputs: usize) -> Feed<f64> {
        Feed::held(Samples {
            inputs: Array2::zeros((rows, 1)),
            targets: Array2::ones((rows, outputs)),
            weights: Weights::default(),
            target_scaling: Vec::new(),
        })
    }

    fn go_on() -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn figures(outputs: usize, targets: &Targets) -> Figures {
        let network = network(outputs, 0.0);
        let team = Team::alone();
        let assessed = Assessed::every((&network, &team), Loss::Quadratic, targets, &[]);
        let figures = assessed.figures(&mut feed(1, outputs), &mut go_on);
        let figures = figures.expect("all in memory").continue_value();
        figures.expect("nothing breaks")
    }

    #[test]
    fn up_to_a_hundred_classes_are_counted_against_each_other_and_up_to_a_thousand_labels_alone() {
        let values = Targets::Values { names: None };
        for (classes, counted) in [(1, Some(2)), (100, Some(100)), (101, None)] {
            let figures = figures(classes, &values);
            let counts = figures.confusion_matrix.map(|counts| counts.len());
            assert_eq!((counts, figures.labels), (counted, None), "{classes}");
        }
        let labels = Targets::Labels { names: None };
        for (count, counted) in [(1, Some(1)), (1000, Some(1000)), (1001, None)] {
            let figures = figures(count, &labels);
            let each = figures.labels.map(|labels| labels.len());
            let expected = (counted, None, Some(1.0));
            assert_eq!(
                (each, figures.confusion_matrix, figures.metrics.f1),
                expected
            );
        }
    }

    #[test]
    fn a_report_of_more_answers_than_it_may_hold_has_loss_and_accuracy() {
        let network = network(3, 0.0);
        let labels = Targets::Labels { names: None };
        let team = Team::alone();
        let assessed = Assessed::every((&network, &team), Loss::Quadratic, &labels, &[]);
        let report = |most| {
            let report = assessed.report(&mut feed(2, 3), most, &mut go_on);
            let report = report.expect("all in memory").continue_value();
            let report = report.expect("nothing breaks");
            report.expect("finite figures")
        };
        let whole = report(6);
        assert_eq!(whole.metrics.labels.as_ref().map(Vec::len), Some(3));
        let (loss, accuracy) = (0.5 * 3.0 * 0.25, Some(1.0));
        assert_eq!(
            (whole.metrics.metrics.loss, whole.metrics.metrics.accuracy),
            (loss, accuracy)
        );
        let sums = Metrics {
            loss,
            accuracy,
            ..Metrics::default()
        };
        let expected = Figures {
            metrics: sums,
            confusion_matrix: None,
            labels: None,
        };
        assert_eq!(report(5).metrics, expected);
        assert_eq!((report(5).rows, whole.rows), (2, 2));
    }

    #[test]
    fn a_loss_beyond_f64_is_no_report() {
        let network = network(1, 1e200);
        let values = Targets::Values { names: None };
        let team = Team::alone();
        let assessed = Assessed::every((&network, &team), Loss::Quadratic, &values, &[]);
        let report = FullReport::of(&assessed, 7, (&mut feed(2, 1), None), &mut go_on);
        let expected = FullReport {
            epoch: 7,
            train: None,
            validation: None,
            cross_validation: None,
        };
        let report = report.expect("all in memory").continue_value();
        assert_eq!(report, Some(expected));
    }
}
