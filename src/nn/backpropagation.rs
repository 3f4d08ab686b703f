//! One pass over a batch: forward, backward, and the sums that gradient descent needs.

use std::ops::{ControlFlow, Range};

use ndarray::{ArrayView2, ArrayViewMut2, s};

use crate::nn::whole_batch::WholeBatch;
use crate::nn::{
    Accumulator, BatchSums, CHUNK, FixedTree, Loss, Network, Noise, Rightness, RowWeight, Scalar,
    Workspace,
};

/// Computes the gradient of a batch, in memory that is allocated once.
///
/// Source: Arango, the four equations that `nn` quotes, with every Σ over samples added up by `FixedTree`.
#[derive(Clone, Debug)]
pub struct Backpropagation<T> {
    workspace: Workspace<T>,
    /// The memory of whole batches, where the network is normalized over them; the workspace then has room for one row.
    whole: Option<WholeBatch<T>>,
    tree: FixedTree<BatchSums<T>>,
    noise: Option<Noise>,
    /// The epoch and the step whose noise is drawn.
    step: (u64, u64),
    /// Of the batch; empty where its samples have none.
    weights: Vec<RowWeight>,
}

impl<T: Scalar> Backpropagation<T> {
    /// Memory for batches of up to `largest_batch` samples of a network of these widths and activations.
    pub fn new(network: &Network<T>, largest_batch: usize) -> Self {
        let whole = network.needs_whole_batch();
        let whole = whole.then(|| WholeBatch::new(network, largest_batch));
        Self::with_memory(network, largest_batch, whole)
    }

    /// The same for a network as it predicts: batch normalization goes by its running mean and variance.
    pub fn predicting(network: &Network<T>, largest_batch: usize) -> Self {
        Self::with_memory(network, largest_batch, None)
    }

    fn with_memory(
        network: &Network<T>,
        largest_batch: usize,
        whole: Option<WholeBatch<T>>,
    ) -> Self {
        let rows = if whole.is_some() { 1 } else { largest_batch };
        Self {
            workspace: Workspace::for_rows(network, rows),
            whole,
            tree: FixedTree::new(largest_batch, || BatchSums::zeros(network)),
            noise: None,
            step: (0, 0),
            weights: Vec::new(),
        }
    }

    /// The same with noise, where there is any: each pass is then of the network that the noise leaves.
    #[must_use]
    pub fn with(mut self, noise: Option<Noise>) -> Self {
        if let Some(noise) = &noise {
            self.workspace = self.workspace.with(noise);
            self.whole = self.whole.map(|whole| whole.with(noise));
        }
        self.noise = noise;
        self
    }

    /// The same with layers that are frozen, counted from 0: batch normalization goes by its running mean and variance there.
    #[must_use]
    pub fn freezing(mut self, frozen: impl Iterator<Item = usize>) -> Self {
        if let Some(whole) = &mut self.whole {
            frozen.for_each(|layer| whole.freeze(layer));
        }
        self
    }

    /// Moves the running means and variances of batch normalization towards those of the last batch, after its step.
    /// False where any of them has become NaN or infinite. Allocates nothing.
    #[must_use]
    pub fn follow(&self, network: &mut Network<T>) -> bool {
        let whole = self.whole.as_ref();
        whole.is_none_or(|whole| whole.follow(network))
    }

    /// How often a pass over a network polls for each chunk of 64 rows.
    pub fn polls_of_chunk(layers: usize, needs_whole_batch: bool) -> usize {
        if needs_whole_batch {
            WholeBatch::<T>::polls_of_chunk(layers)
        } else {
            1
        }
    }

    /// The same, counting samples as answered right where this says so.
    #[must_use]
    pub fn judging(mut self, rightness: Rightness) -> Self {
        self.workspace = self.workspace.judging(rightness);
        self.whole = self.whole.map(|whole| whole.judging(rightness));
        self
    }

    /// The same, at a step of an epoch: passes draw its noise, however often they are made.
    pub fn at(&mut self, epoch: u64, step: u64) -> &mut Self {
        self.step = (epoch, step);
        self
    }

    /// The same, for a batch whose samples weigh this, until others are given: none, and they all weigh 1. Allocates in its
    /// first call.
    pub fn weigh(&mut self, weights: impl Iterator<Item = RowWeight>) -> &mut Self {
        self.weights.clear();
        self.weights.extend(weights);
        self
    }

    /// Σ of loss, gradient and correct answers over `samples` samples, and of moments where `record` is true.
    ///
    /// `gather(rows, x, y)` fills in the inputs and targets of the samples `rows` of the batch. `poll` is asked before
    /// every chunk; its `Break` ends the pass with nothing changed. Allocates nothing.
    ///
    /// Shapes: x (rows × K), y (rows × J). Panics: where `samples` exceeds the largest batch, there are weights but not one
    /// for each sample, the network's shapes are not those of `new`, or the loss does not accept the last activation, the
    /// caller's bug.
    pub fn run<B>(
        &mut self,
        network: &Network<T>,
        loss: Loss,
        samples: usize,
        record: bool,
        gather: impl FnMut(Range<usize>, ArrayViewMut2<T>, ArrayViewMut2<T>),
        poll: impl FnMut() -> ControlFlow<B>,
    ) -> ControlFlow<B, &BatchSums<T>> {
        self.run_observed(network, loss, samples, record, gather, poll, |_, _| {})
    }

    /// `run`, showing `observe(rows, workspace)` every chunk's z, a and δ.
    #[expect(
        clippy::too_many_arguments,
        reason = "`run` with one closure more; a struct of closures would hide them"
    )]
    pub(crate) fn run_observed<B>(
        &mut self,
        network: &Network<T>,
        loss: Loss,
        samples: usize,
        record: bool,
        mut gather: impl FnMut(Range<usize>, ArrayViewMut2<T>, ArrayViewMut2<T>),
        mut poll: impl FnMut() -> ControlFlow<B>,
        mut observe: impl FnMut(Range<usize>, &Workspace<T>),
    ) -> ControlFlow<B, &BatchSums<T>> {
        let (workspace, noise, step) = (&mut self.workspace, self.noise.as_ref(), self.step);
        let weights = (!self.weights.is_empty()).then_some(self.weights.as_slice());
        assert!(
            weights.is_none_or(|weights| weights.len() == samples),
            "a weight for each sample"
        );
        let noise_of = |chunk: usize| noise.map(|noise| noise.of(step, chunk));
        let mut add_up = |rows: Range<usize>, workspace: &Workspace<T>, sums: &mut BatchSums<T>| {
            sums.overwrite(network, workspace, rows.len(), record);
            match weights {
                Some(weights) => {
                    sums.overwrite_weighted(network, loss, workspace, &weights[rows.clone()]);
                }
                None => sums.loss = workspace.loss(network, loss, rows.len()),
            }
            observe(rows, workspace);
        };
        if let Some(whole) = &mut self.whole {
            let gather = |rows: Range<usize>, chunk: &mut Workspace<T>| {
                let (x, y) = chunk.samples_mut(rows.len());
                gather(rows, x, y);
            };
            whole.run(
                network,
                loss,
                (samples, weights),
                gather,
                noise_of,
                &mut poll,
            )?;
            let whole = &*whole;
            return self.tree.sum(samples, |rows, sums| {
                poll()?;
                let workspace = whole.chunk(rows.start / CHUNK);
                add_up(rows, workspace, sums);
                ControlFlow::Continue(())
            });
        }
        self.tree.sum(samples, |rows, sums| {
            poll()?;
            let count = rows.len();
            let (x, y) = workspace.samples_mut(count);
            gather(rows.clone(), x, y);
            workspace.forward(network, count, noise_of(rows.start / CHUNK));
            let weights = weights.map(|weights| &weights[rows.clone()]);
            workspace.backward(network, loss, count, weights);
            add_up(rows, workspace, sums);
            ControlFlow::Continue(())
        })
    }
}

/// Losses and correct answers, added up over samples by their weights wₙ: 1 where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Σₙ wₙ Cₙ.
    pub loss_sum: f64,
    /// Σₙ wₙ over the samples that were answered right, as a [`Rightness`] says.
    pub correct: f64,
    /// N.
    pub samples: usize,
    /// Σₙ wₙ.
    pub weight: f64,
}

impl Accumulator for Evaluation {
    fn add(&mut self, other: &Self) {
        self.loss_sum += other.loss_sum;
        self.correct += other.correct;
        self.samples += other.samples;
        self.weight += other.weight;
    }
}

/// Σ of losses and correct answers over the rows, without gradients: the same forward pass and tree as training's.
///
/// `poll` is asked before every chunk; its `Break` ends the evaluation.
///
/// Shapes: `inputs` (n × K), `targets` (n × J). Panics: where they are not, or the loss does not accept the last
/// activation, the caller's bug.
pub fn evaluate<T: Scalar, B>(
    network: &Network<T>,
    judged: (Loss, Rightness),
    inputs: ArrayView2<T>,
    targets: ArrayView2<T>,
    poll: impl FnMut() -> ControlFlow<B>,
) -> ControlFlow<B, Evaluation> {
    evaluate_observed(network, judged, (inputs, targets), None, poll, |_, _| {})
}

/// [`evaluate`] of samples that weigh `weights`, where there are any, showing `observe(rows, workspace)` every chunk's a.
///
/// Panics: also where there is not one weight for each row, the caller's bug.
pub(crate) fn evaluate_observed<T: Scalar, B>(
    network: &Network<T>,
    (loss, rightness): (Loss, Rightness),
    (inputs, targets): (ArrayView2<T>, ArrayView2<T>),
    weights: Option<&[f64]>,
    mut poll: impl FnMut() -> ControlFlow<B>,
    mut observe: impl FnMut(Range<usize>, &Workspace<T>),
) -> ControlFlow<B, Evaluation> {
    let samples = inputs.nrows();
    assert_eq!(
        samples,
        targets.nrows(),
        "as many rows of targets as of inputs"
    );
    assert!(
        weights.is_none_or(|weights| weights.len() == samples),
        "a weight for each sample"
    );
    let mut workspace = Workspace::for_rows(network, samples).judging(rightness);
    let sums = FixedTree::new(samples, Evaluation::default)
        .sum(samples, |rows, sums| {
            poll()?;
            let count = rows.len();
            workspace
                .inputs_mut(count)
                .assign(&inputs.slice(s![rows.clone(), ..]));
            workspace
                .targets_mut(count)
                .assign(&targets.slice(s![rows.clone(), ..]));
            workspace.forward(network, count, None);
            let (loss_sum, correct, weight) = match weights.map(|weights| &weights[rows.clone()]) {
                Some(weights) => (
                    workspace.weighted_loss(network, loss, count, |row| weights[row]),
                    workspace.weighted_correct(count, |row| weights[row]),
                    weights.iter().sum(),
                ),
                None => (
                    workspace.loss(network, loss, count),
                    workspace.correct(count) as f64,
                    count as f64,
                ),
            };
            *sums = Evaluation {
                loss_sum,
                correct,
                samples: count,
                weight,
            };
            observe(rows, &workspace);
            ControlFlow::Continue(())
        })?
        .to_owned();
    ControlFlow::Continue(sums)
}
