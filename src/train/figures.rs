//! Figures of predictions against targets: which a job may ask for, and those that `nn::metrics` computes of all rows.

use std::ops::ControlFlow;

use ndarray::{Array2, s};

use crate::model::{Header, Targets, Violations};
use crate::nn::metrics::{
    Average, Confusion, RocAreas, Tallies, brier, log_loss, mean_absolute_error,
    mean_absolute_percentage_error, mean_squared_error, r2, root_mean_squared_error,
    top_k_accuracy,
};
use crate::nn::{Activation, Dtype, Evaluation, Loss, Network, Rightness, Scalar, Team};
use crate::train::feed::Feed;
use crate::train::{DEFAULT_K, Error, JobSpec, Metric, Metrics, Needs};

/// What a model's outputs are, as far as figures ask.
#[derive(Clone, Copy)]
pub(super) struct Answering<'a> {
    pub(super) targets: &'a Targets,
    /// The last layer's activation.
    pub(super) last: Activation,
    /// J.
    pub(super) outputs: usize,
}

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
    check_named(&wanted, Answering::of(header), violations);
    if spec.metrics.as_ref().is_some_and(Vec::is_empty) {
        let names = Metric::ALL.map(Metric::name).join(", ");
        violations.add(
            "/metrics",
            format!("must name at least one of {names}, got none"),
        );
    }
    let named: Vec<_> = wanted.into_iter().map(|(_, metric)| metric).collect();
    let by_default = spec.metrics.is_none()
        && match header.targets {
            Targets::Classes { .. } | Targets::Labels { .. } => true,
            Targets::Values { .. } => false,
        };
    let wanted = |metric: Metric| {
        let always = metric == Metric::Loss || (by_default && metric == Metric::Accuracy);
        named_as(&named, metric).or_else(|| always.then_some(metric))
    };
    Metric::ALL.into_iter().filter_map(wanted).collect()
}

/// Notes the metrics, each named at a pointer, that the outputs do not allow, or that differ where the history has one key.
pub(super) fn check_named(
    named: &[(String, Metric)],
    answering: Answering,
    violations: &mut Violations,
) {
    for (place, (pointer, metric)) in named.iter().enumerate() {
        if violations.is_full() {
            return;
        }
        if let Some(needed) = answering.lacks(*metric) {
            let name = metric.name();
            violations.add(pointer, format!("{name} needs {needed}"));
            continue;
        }
        for parameter in metric.hyperparameters(answering.classes()) {
            if let Some(detail) = parameter.violation() {
                violations.add(format!("{pointer}/{}", parameter.name), detail);
            }
        }
        let mut before = named[..place].iter();
        let first = before.find(|(_, first)| first.name() == metric.name());
        if let Some((at, first)) = first
            && first != metric
        {
            let detail = format!(
                "must be {} as at {at}, got {}",
                written(*first),
                written(*metric)
            );
            violations.add(pointer, detail);
        }
    }
}

/// A metric as a body has it.
fn written(metric: Metric) -> String {
    serde_json::to_string(&metric).expect("a metric is words and numbers")
}

/// The metric among `named` that has the name of `metric`.
fn named_as(named: &[Metric], metric: Metric) -> Option<Metric> {
    let mut named = named.iter().copied();
    named.find(|named| named.name() == metric.name())
}

impl<'a> Answering<'a> {
    pub(super) fn of(header: &'a Header) -> Self {
        Self {
            targets: &header.targets,
            last: header.last_activation(),
            outputs: header.outputs(),
        }
    }

    /// How many classes the outputs are, where they are classes: one output says yes or no.
    fn classes(self) -> usize {
        self.outputs.max(2)
    }

    /// What the outputs lack for a figure.
    pub(super) fn lacks(self, metric: Metric) -> Option<&'static str> {
        self.misses(metric.needs())
    }

    /// What the outputs lack of what is needed.
    pub(super) fn misses(self, needs: Needs) -> Option<&'static str> {
        let can_be_right = self.targets.can_be_right(self.last);
        let (fits, needed) = match needs {
            Needs::Nothing => (true, "nothing"),
            Needs::Decisions => (
                can_be_right,
                "a target of classes or labels, or a last layer of softmax or sigmoid",
            ),
            Needs::Classes => (
                can_be_right && self.targets.rightness() == Rightness::OfClass,
                "a target of classes, or a last layer of softmax or sigmoid whose targets are no labels",
            ),
            Needs::Probabilities => (
                self.last == Activation::Softmax
                    || (self.last == Activation::Sigmoid && self.outputs == 1),
                "a last layer of softmax, or of one sigmoid unit",
            ),
        };
        (!fits).then_some(needed)
    }

    /// Every figure that the outputs allow: those named as they are named, and the others by default, but for a
    /// `top_k_accuracy` of all classes or more, which is 1.
    pub(super) fn every(self, named: &[Metric]) -> Vec<Metric> {
        let wanted = |metric: Metric| {
            let is_empty =
                matches!(metric, Metric::TopKAccuracy { .. }) && self.classes() as u64 <= DEFAULT_K;
            named_as(named, metric).or_else(|| (!is_empty).then_some(metric))
        };
        let all = Metric::ALL.into_iter().filter_map(wanted);
        all.filter(|metric| self.lacks(*metric).is_none()).collect()
    }
}

/// Outputs and targets of rows, in f64 and in the targets' own units, and what the rows weigh.
pub(super) struct Answers {
    outputs: Array2<f64>,
    targets: Array2<f64>,
    weights: Option<Vec<f64>>,
    dtype: Dtype,
    rightness: Rightness,
}

impl Answers {
    /// What a network answers, and its loss and right answers, in one pass: the forward pass of training, by a team. `poll` and
    /// errors: as [`Feed::evaluate`].
    pub(super) fn of<T: Scalar>(
        by: (&Network<T>, &Team),
        judged: (Loss, Rightness),
        feed: &mut Feed<T>,
        poll: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), (Evaluation, Self)>, Error> {
        let shape = (feed.len(), by.0.outputs());
        let (mut outputs, mut targets) = (Array2::<f64>::zeros(shape), Array2::<f64>::zeros(shape));
        let to_f64 = |place: &mut f64, value: &T| *place = Scalar::to_f64(*value);
        let evaluated = feed.evaluate(by, judged, poll, |rows, a, y| {
            let rows = s![rows, ..];
            outputs.slice_mut(rows).zip_mut_with(&a, to_f64);
            targets.slice_mut(rows).zip_mut_with(&y, to_f64);
        })?;
        let ControlFlow::Continue(evaluated) = evaluated else {
            return Ok(ControlFlow::Break(()));
        };
        for matrix in [&mut outputs, &mut targets] {
            let columns = matrix.columns_mut().into_iter();
            for (mut column, scaling) in columns.zip(feed.target_scaling()) {
                column.mapv_inplace(|value| scaling.undo(value));
            }
        }
        let answers = Self {
            outputs,
            targets,
            weights: feed.figure_weights().map(<[f64]>::to_vec),
            dtype: T::DTYPE,
            rightness: judged.1,
        };
        Ok(ControlFlow::Continue((evaluated, answers)))
    }

    /// How many rows of each class were taken for each, whatever they weigh; none of no rows.
    pub(super) fn confusion(&self) -> Option<Confusion> {
        Confusion::of(self.outputs.view(), self.targets.view(), None)
    }

    /// In how many rows each label fared how, whatever they weigh; none of no rows.
    pub(super) fn label_counts(&self) -> Option<Tallies> {
        Tallies::of_labels(self.outputs.view(), self.targets.view(), None)
    }

    /// How each class or label fared, by what the rows weigh; none of no rows.
    pub(super) fn tallies(&self) -> Option<Tallies> {
        let (a, y) = (self.outputs.view(), self.targets.view());
        let weights = self.weights.as_deref();
        match self.rightness {
            Rightness::OfClass => Some(Confusion::of(a, y, weights)?.tallies()),
            Rightness::OfLabels => Tallies::of_labels(a, y, weights),
        }
    }

    /// Fills in the figures that are wanted, but for loss and accuracy, which are sums of the forward pass. One that is not
    /// defined on these rows stays none. `poll` is asked before every figure; areas are divided among `team`.
    pub(super) fn fill<B>(
        &self,
        wanted: &[Metric],
        metrics: &mut Metrics,
        team: &Team,
        mut poll: impl FnMut() -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        use Average::{Macro, Micro, Weighted};
        let (a, y) = (self.outputs.view(), self.targets.view());
        let weights = self.weights.as_deref();
        let mut areas = None;
        let mut area = |average| {
            let areas = areas.get_or_insert_with(|| RocAreas::new(a, y, weights));
            areas.as_mut()?.average(average, team)
        };
        let mut counted = None;
        let mut tally = |figure: fn(&Tallies, Average) -> f64, average| {
            let tallies = counted.get_or_insert_with(|| self.tallies());
            tallies.as_ref().map(|tallies| figure(tallies, average))
        };
        for metric in wanted {
            poll()?;
            let m = &mut *metrics;
            match *metric {
                Metric::Loss | Metric::Accuracy => {}
                Metric::TopKAccuracy { k } => {
                    m.top_k_accuracy = top_k_accuracy(a, y, k as usize, weights);
                }
                Metric::Precision => m.precision = tally(Tallies::precision, Macro),
                Metric::PrecisionMicro => m.precision_micro = tally(Tallies::precision, Micro),
                Metric::PrecisionWeighted => {
                    m.precision_weighted = tally(Tallies::precision, Weighted);
                }
                Metric::Recall => m.recall = tally(Tallies::recall, Macro),
                Metric::RecallMicro => m.recall_micro = tally(Tallies::recall, Micro),
                Metric::RecallWeighted => m.recall_weighted = tally(Tallies::recall, Weighted),
                Metric::F1 => m.f1 = tally(Tallies::f1, Macro),
                Metric::F1Micro => m.f1_micro = tally(Tallies::f1, Micro),
                Metric::F1Weighted => m.f1_weighted = tally(Tallies::f1, Weighted),
                Metric::RocAuc => m.roc_auc = area(Macro),
                Metric::RocAucMicro => m.roc_auc_micro = area(Micro),
                Metric::RocAucWeighted => m.roc_auc_weighted = area(Weighted),
                Metric::LogLoss => m.log_loss = log_loss(a, y, self.dtype, weights),
                Metric::Brier => m.brier = brier(a, y, weights),
                Metric::MeanAbsoluteError => {
                    m.mean_absolute_error = mean_absolute_error(a, y, weights);
                }
                Metric::MeanSquaredError => {
                    m.mean_squared_error = mean_squared_error(a, y, weights);
                }
                Metric::RootMeanSquaredError => {
                    m.root_mean_squared_error = root_mean_squared_error(a, y, weights);
                }
                Metric::R2 => m.r2 = r2(a, y, weights),
                Metric::MeanAbsolutePercentageError => {
                    m.mean_absolute_percentage_error =
                        mean_absolute_percentage_error(a, y, weights);
                }
            }
        }
        ControlFlow::Continue(())
    }
}
