//! Losses and right answers of a network, without a gradient.

use std::ops::{ControlFlow, Range};

use ndarray::ArrayView2;

use crate::nn::whole_batch::rows_of;
use crate::nn::{
    Accumulator, BLOCK, Batch, CHUNK, FixedTree, Loss, Network, Rightness, Scalar, Team, Workspace,
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
    let batch = Batch::new(inputs, targets);
    let team = Team::alone();
    let mut pass = EvaluationPass::new((network, &team), judged, batch.len());
    pass.add(batch, None, poll, |_, _| {})?;
    ControlFlow::Continue(pass.finish())
}

/// [`evaluate`] by a team, of rows that come some at a time, to the same bits as if they came together.
pub(crate) struct EvaluationPass<'a, T> {
    network: &'a Network<T>,
    team: &'a Team,
    loss: Loss,
    workspace: Workspace<T>,
    tree: FixedTree<Evaluation>,
    /// How many rows have come.
    rows: usize,
    samples: usize,
}

impl<'a, T: Scalar> EvaluationPass<'a, T> {
    /// Before the first of `samples` rows.
    pub(crate) fn new(
        (network, team): (&'a Network<T>, &'a Team),
        (loss, rightness): (Loss, Rightness),
        samples: usize,
    ) -> Self {
        let mut tree = FixedTree::new(samples, Evaluation::default);
        tree.begin();
        Self {
            network,
            team,
            loss,
            workspace: Workspace::for_evaluation(network, samples).judging(rightness),
            tree,
            rows: 0,
            samples,
        }
    }

    /// The next rows, all that are left, or a multiple of [`crate::nn::BLOCK`], and what they weigh, where not all weigh 1,
    /// showing `observe(rows, a)` their outputs, some at a time, counted from the first of all rows. `poll`: as of [`evaluate`].
    ///
    /// Panics: they are neither, too many, or there is not one weight for each, the caller's bug.
    pub(crate) fn add<B>(
        &mut self,
        batch: Batch<'_, T>,
        weights: Option<&[f64]>,
        mut poll: impl FnMut() -> ControlFlow<B>,
        mut observe: impl FnMut(Range<usize>, ArrayView2<T>),
    ) -> ControlFlow<B> {
        let _flushing = flush_denormals();
        let (rows, before) = (batch.len(), self.rows);
        assert!(
            before + rows == self.samples || rows.is_multiple_of(BLOCK),
            "whole blocks, or the last rows"
        );
        assert!(
            weights.is_none_or(|weights| weights.len() == rows),
            "a weight for each sample"
        );
        let last = self.network.layers().len() - 1;
        let block = self.workspace.capacity().next_multiple_of(CHUNK);
        for first in (0..rows.max(1)).step_by(block) {
            let part = batch.slice(first..rows.min(first + block));
            let chunks = part.len().div_ceil(CHUNK).max(1);
            for _ in 0..chunks {
                poll()?;
            }
            self.workspace.take_targets(part.targets());
            self.workspace
                .forward(self.network, part.inputs(), None, self.team);
            for chunk in 0..chunks {
                let rows = rows_of(chunk, part.len());
                let weights = weights.map(|weights| &weights[first + rows.start..first + rows.end]);
                let judged = (self.network, self.loss);
                *self.tree.leaf() = of_chunk(judged, (&self.workspace, rows), weights);
                self.tree.add_leaf();
            }
            let answers = self.workspace.activations(last, 0..part.len());
            observe(before + first..before + first + part.len(), answers);
        }
        self.rows += rows;
        ControlFlow::Continue(())
    }

    /// Σ over all rows.
    ///
    /// Panics: not all have come, the caller's bug.
    pub(crate) fn finish(mut self) -> Evaluation {
        assert_eq!(self.rows, self.samples, "all rows have come");
        *self.tree.total()
    }
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
