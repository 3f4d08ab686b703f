//! Losses and right answers of a network, without a gradient.

use std::ops::{ControlFlow, Range};

use ndarray::ArrayView2;

use crate::nn::whole_batch::rows_of;
use crate::nn::{
    Accumulator, Batch, CHUNK, FixedTree, Loss, Network, Rightness, Scalar, Team, Workspace,
    flush_denormals,
};

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
/// `poll` is asked as often as there are chunks, some of them at a time; its `Break` ends the evaluation.
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
    let alone = (network, &Team::alone());
    evaluate_observed(alone, judged, (inputs, targets), None, poll, |_, _| {})
}

/// [`evaluate`] by a team, of samples that weigh `weights`, where there are any, showing `observe(rows, a)` the outputs of
/// all rows, some at a time.
///
/// Panics: also where there is not one weight for each row, the caller's bug.
pub(crate) fn evaluate_observed<T: Scalar, B>(
    (network, team): (&Network<T>, &Team),
    (loss, rightness): (Loss, Rightness),
    (inputs, targets): (ArrayView2<T>, ArrayView2<T>),
    weights: Option<&[f64]>,
    mut poll: impl FnMut() -> ControlFlow<B>,
    mut observe: impl FnMut(Range<usize>, ArrayView2<T>),
) -> ControlFlow<B, Evaluation> {
    let _flushing = flush_denormals();
    let batch = Batch::new(inputs, targets);
    let samples = batch.len();
    assert!(
        weights.is_none_or(|weights| weights.len() == samples),
        "a weight for each sample"
    );
    let mut workspace = Workspace::for_evaluation(network, samples).judging(rightness);
    let last = network.layers().len() - 1;
    let block = workspace.capacity().next_multiple_of(CHUNK);
    let mut tree = FixedTree::new(samples, Evaluation::default);
    tree.begin();
    for first in (0..samples.max(1)).step_by(block) {
        let part = batch.slice(first..samples.min(first + block));
        let chunks = part.len().div_ceil(CHUNK).max(1);
        for _ in 0..chunks {
            poll()?;
        }
        workspace.take_targets(part.targets());
        workspace.forward(network, part.inputs(), None, team);
        for chunk in 0..chunks {
            let rows = rows_of(chunk, part.len());
            let weights = weights.map(|weights| &weights[first + rows.start..first + rows.end]);
            *tree.leaf() = of_chunk((network, loss), (&workspace, rows), weights);
            tree.add_leaf();
        }
        let answers = workspace.activations(last, 0..part.len());
        observe(first..first + part.len(), answers);
    }
    ControlFlow::Continue(*tree.total())
}

/// What some rows of the workspace's last pass add.
fn of_chunk<T: Scalar>(
    (network, loss): (&Network<T>, Loss),
    (workspace, rows): (&Workspace<T>, Range<usize>),
    weights: Option<&[f64]>,
) -> Evaluation {
    let samples = rows.len();
    match weights {
        Some(weights) => Evaluation {
            loss_sum: workspace.weighted_loss(network, loss, rows.clone(), |row| weights[row]),
            correct: workspace.weighted_correct(rows, |row| weights[row]),
            samples,
            weight: weights.iter().sum(),
        },
        None => Evaluation {
            loss_sum: workspace.loss(network, loss, rows.clone()),
            correct: workspace.correct(rows) as f64,
            samples,
            weight: samples as f64,
        },
    }
}
