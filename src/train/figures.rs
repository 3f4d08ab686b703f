//! Figures of predictions against targets: which a job may ask for, and those that `nn::metrics` computes of all rows.

use std::ops::ControlFlow;

use ndarray::{Array2, Axis};

use crate::model::{Header, Violations};
use crate::nn::metrics::{
    Average, Confusion, Tallies, brier, log_loss, mean_absolute_error,
    mean_absolute_percentage_error, mean_squared_error, r2, roc_auc, root_mean_squared_error,
};
use crate::nn::{Activation, CHUNK, Dtype, Network, Scalar, Workspace};
use crate::train::prepare::Samples;
use crate::train::{JobSpec, Metric, Metrics, Needs};

/// The figures that the history holds: those asked for, and what a job may end by.
pub(super) fn check_metrics(
    spec: &JobSpec,
    header: &Header,
    violations: &mut Violations,
) -> Vec<Metric> {
    let asked = spec.metrics.iter().flatten().enumerate();
    let asked = asked.map(|(place, metric)| (format!("/metrics/{place}"), *metric));
    let early = spec.early_stopping.iter();
    let early = early.map(|early| ("/early_stopping/metric".to_owned(), early.metric));
    let target = spec.target_metric.iter();
    let target = target.map(|target| ("/target_metric/metric".to_owned(), target.metric));
    let wanted: Vec<_> = asked.chain(early).chain(target).collect();
    for (pointer, metric) in &wanted {
        if let Some(needed) = lacks(header, metric.needs()) {
            let name = metric.name();
            violations.add(pointer, format!("{name} needs {needed}"));
        }
    }
    if spec.metrics.as_ref().is_some_and(Vec::is_empty) {
        let names = Metric::ALL.map(Metric::name).join(", ");
        violations.add(
            "/metrics",
            format!("must name at least one of {names}, got none"),
        );
    }
    let by_default = spec.metrics.is_none() && header.targets.classes().is_some();
    let is_wanted = |metric: &Metric| {
        let is_named = wanted.iter().any(|(_, named)| named == metric);
        is_named || *metric == Metric::Loss || (by_default && *metric == Metric::Accuracy)
    };
    Metric::ALL.into_iter().filter(is_wanted).collect()
}

/// What a model's outputs lack for a figure.
pub(super) fn lacks(header: &Header, needs: Needs) -> Option<&'static str> {
    let last = header.layers.last()?.activation;
    let fits = match needs {
        Needs::Nothing => true,
        Needs::Classes => header.targets.can_be_right(last),
        Needs::Probabilities => {
            last == Activation::Softmax || (last == Activation::Sigmoid && header.outputs() == 1)
        }
    };
    let needed = match needs {
        Needs::Nothing => "nothing",
        Needs::Classes => "a target of classes, or a last layer of softmax or sigmoid",
        Needs::Probabilities => "a last layer of softmax, or of one sigmoid unit",
    };
    (!fits).then_some(needed)
}

/// Outputs and targets of rows, in f64.
pub(super) struct Answers {
    outputs: Array2<f64>,
    targets: Array2<f64>,
    dtype: Dtype,
}

impl Answers {
    /// What a network answers, through the forward pass of training. `poll` is asked before every chunk.
    pub(super) fn of<T: Scalar, B>(
        network: &Network<T>,
        samples: &Samples<T>,
        mut poll: impl FnMut() -> ControlFlow<B>,
    ) -> ControlFlow<B, Self> {
        let rows = samples.inputs.nrows();
        let mut outputs = Array2::<f64>::zeros((rows, network.outputs()));
        let mut workspace = Workspace::for_rows(network, rows);
        let mut chunk = Array2::zeros((CHUNK.min(rows), network.outputs()));
        let inputs = samples.inputs.axis_chunks_iter(Axis(0), CHUNK);
        for (inputs, mut outputs) in inputs.zip(outputs.axis_chunks_iter_mut(Axis(0), CHUNK)) {
            poll()?;
            let mut answered = chunk.slice_mut(ndarray::s![..inputs.nrows(), ..]);
            network.predict_into(inputs, &mut workspace, answered.view_mut());
            outputs.zip_mut_with(&answered, |output, &answer: &T| *output = answer.to_f64());
        }
        ControlFlow::Continue(Self {
            outputs,
            targets: samples.targets.mapv(Scalar::to_f64),
            dtype: T::DTYPE,
        })
    }

    /// How often each class was taken for each; none of no rows.
    pub(super) fn confusion(&self) -> Option<Confusion> {
        Confusion::of(self.outputs.view(), self.targets.view(), None)
    }

    /// Fills in the figures that are wanted, but for loss and accuracy, which are sums of the forward pass. One that is not
    /// defined on these rows stays none.
    pub(super) fn fill(&self, wanted: &[Metric], metrics: &mut Metrics) {
        let (a, y) = (self.outputs.view(), self.targets.view());
        let counts = [Metric::Precision, Metric::Recall, Metric::F1];
        let counted = wanted.iter().any(|metric| counts.contains(metric));
        let confusion = counted.then(|| self.confusion()).flatten();
        let tallies = confusion.map(|confusion| confusion.tallies());
        let tally = |figure: fn(&Tallies, Average) -> f64| {
            tallies
                .as_ref()
                .map(|tallies| figure(tallies, Average::Macro))
        };
        for metric in wanted {
            match metric {
                Metric::Loss | Metric::Accuracy => {}
                Metric::Precision => {
                    metrics.precision = tally(Tallies::precision);
                }
                Metric::Recall => metrics.recall = tally(Tallies::recall),
                Metric::F1 => metrics.f1 = tally(Tallies::f1),
                Metric::RocAuc => metrics.roc_auc = roc_auc(a, y, Average::Macro, None),
                Metric::LogLoss => metrics.log_loss = log_loss(a, y, self.dtype, None),
                Metric::Brier => metrics.brier = brier(a, y, None),
                Metric::MeanAbsoluteError => {
                    metrics.mean_absolute_error = mean_absolute_error(a, y, None);
                }
                Metric::MeanSquaredError => {
                    metrics.mean_squared_error = mean_squared_error(a, y, None);
                }
                Metric::RootMeanSquaredError => {
                    metrics.root_mean_squared_error = root_mean_squared_error(a, y, None);
                }
                Metric::R2 => metrics.r2 = r2(a, y, None),
                Metric::MeanAbsolutePercentageError => {
                    metrics.mean_absolute_percentage_error =
                        mean_absolute_percentage_error(a, y, None);
                }
            }
        }
    }
}
