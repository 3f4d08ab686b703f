//! Figures of predictions against targets that are no plain sum over samples: what `nn::metrics` computes of all rows.

use std::ops::ControlFlow;

use ndarray::{Array2, Axis};

use crate::nn::metrics::{
    Average, Confusion, Tallies, brier, log_loss, mean_absolute_error,
    mean_absolute_percentage_error, mean_squared_error, r2, roc_auc, root_mean_squared_error,
};
use crate::nn::{CHUNK, Dtype, Network, Scalar, Workspace};
use crate::train::prepare::Samples;
use crate::train::{Metric, Metrics};

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
        let tallies = self.confusion().map(|confusion| confusion.tallies());
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
