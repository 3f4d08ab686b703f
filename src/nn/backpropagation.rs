//! One pass over a batch: forward, backward, and the sums that gradient descent needs.

use std::ops::{ControlFlow, Range};

use crate::nn::gradient::{Recording, Tally};
use crate::nn::kernel::Matrix;
use crate::nn::whole_batch::{WholeBatch, rows_of};
use crate::nn::{
    Batch, BatchSums, CHUNK, FixedTree, Gradient, Loss, Network, Noise, Optimizer, Rightness,
    RowWeight, Scalar, Team, Workspace, flush_denormals,
};

/// Computes the gradient of a batch, in memory that is allocated once.
///
/// The passes are made over blocks of rows, whose gradients go through the tree of the chunks; a batch that is one block has
/// one gradient. Source: Arango, the four equations that `nn` quotes, with every Σ over samples added up by `FixedTree`.
#[derive(Clone, Debug)]
pub struct Backpropagation<T> {
    workspace: Workspace<T>,
    /// The memory of whole batches, where the network is normalized over them; the workspace then has room for one row.
    whole: Option<WholeBatch<T>>,
    /// Rows of a block: those that have a gradient of their own.
    block: usize,
    /// Of the blocks; none where there is only one.
    gradients: Option<FixedTree<Gradient<T>>>,
    tallies: FixedTree<Tally>,
    /// Of the blocks, in the passes that record.
    recordings: FixedTree<Recording>,
    sums: BatchSums<T>,
    noise: Option<Noise>,
    team: Team,
    /// The epoch and the step whose noise is drawn.
    step: (u64, u64),
    /// Of the batch; empty where its samples have none.
    weights: Vec<RowWeight>,
}

/// What a step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// The parameters were moved.
    Moved,
    /// No sample weighs anything: the parameters are as they were.
    Weightless,
    /// This has become NaN or infinite: the loss, before anything was moved, or what the step moved.
    NotFinite(&'static str),
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
        let (rows, block) = if whole.is_some() {
            (1, CHUNK)
        } else {
            (largest_batch, Workspace::most_rows(network))
        };
        let blocks = largest_batch.div_ceil(block);
        Self {
            workspace: Workspace::for_training(network, rows),
            whole,
            block,
            gradients: (blocks > 1)
                .then(|| FixedTree::of_leaves(blocks, || Gradient::zeros(network))),
            tallies: FixedTree::new(largest_batch, Tally::default),
            recordings: FixedTree::of_leaves(blocks.max(1), || Recording::new(network)),
            sums: BatchSums::zeros(network),
            noise: None,
            team: Team::alone(),
            step: (0, 0),
            weights: Vec::new(),
        }
    }

    /// The same, computed by a team of threads, to the same bits.
    #[must_use]
    pub fn by(mut self, team: Team) -> Self {
        self.team = team;
        self
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

    /// Σ of loss, gradient and correct answers over a batch, and of moments where `record` is true.
    ///
    /// `poll` is asked as often as there are chunks of rows, or as [`Backpropagation::polls_of_chunk`] says; its `Break` ends
    /// the pass with nothing changed. Allocates nothing.
    ///
    /// Panics: where the batch exceeds the largest, there are weights but not one for each sample, the network's shapes are
    /// not those of `new`, or the loss does not accept the last activation, the caller's bug.
    pub fn run<B>(
        &mut self,
        network: &Network<T>,
        loss: Loss,
        batch: Batch<'_, T>,
        record: bool,
        poll: impl FnMut() -> ControlFlow<B>,
    ) -> ControlFlow<B, &BatchSums<T>> {
        self.workspace.keep_weighted_inputs(false);
        self.passes(network, loss, batch, record, poll, |_, _| {})
    }

    /// `run`, showing `observe(rows, workspace)` z, a and δ of every block: of these rows, counted from 0 there.
    pub(crate) fn run_observed<B>(
        &mut self,
        network: &Network<T>,
        loss: Loss,
        batch: Batch<'_, T>,
        record: bool,
        poll: impl FnMut() -> ControlFlow<B>,
        observe: impl FnMut(Range<usize>, &Workspace<T>),
    ) -> ControlFlow<B, &BatchSums<T>> {
        self.workspace.keep_weighted_inputs(true);
        self.passes(network, loss, batch, record, poll, observe)
    }

    fn passes<B>(
        &mut self,
        network: &Network<T>,
        loss: Loss,
        batch: Batch<'_, T>,
        record: bool,
        mut poll: impl FnMut() -> ControlFlow<B>,
        mut observe: impl FnMut(Range<usize>, &Workspace<T>),
    ) -> ControlFlow<B, &BatchSums<T>> {
        let _flushing = flush_denormals();
        self.begin(network, loss, batch, &mut poll)?;
        let (samples, block) = (batch.len(), self.block);
        let blocks = samples.div_ceil(block).max(1);
        for index in 0..blocks {
            let rows = index * block..samples.min((index + 1) * block);
            self.pass_over(network, loss, batch, rows.clone(), record, &mut poll)?;
            let workspace = of_block(&self.workspace, self.whole.as_ref(), rows.start);
            let x = batch.inputs().slice(rows.clone());
            let into = match (&mut self.gradients, blocks) {
                (Some(tree), 2..) => tree.leaf(),
                _ => &mut self.sums.gradient,
            };
            for (layer, into) in into.layers.iter_mut().enumerate() {
                workspace.gradient(layer, x, into.slices_mut());
            }
            observe(rows, workspace);
            if let (Some(tree), 2..) = (&mut self.gradients, blocks) {
                tree.add_leaf();
            }
        }
        if let (Some(tree), 2..) = (&mut self.gradients, blocks) {
            std::mem::swap(&mut self.sums.gradient, tree.total());
        }
        self.take_sums(record);
        ControlFlow::Continue(&self.sums)
    }

    /// One step: the gradient of a batch, the optimizer's update by it, and what batch normalization keeps of the batch.
    ///
    /// Where the batch is one block, each part of the parameters is moved as soon as its gradient is there, while both are in
    /// the cache; the gradient of the weights may then be missing from the sums where `record` is false. `poll` and panics: as
    /// [`Backpropagation::run`]; a `Break` leaves everything as it was. Allocates nothing.
    pub fn step<B>(
        &mut self,
        network: &mut Network<T>,
        loss: Loss,
        batch: Batch<'_, T>,
        (optimizer, factor): (&mut Optimizer<T>, f64),
        record: bool,
        mut poll: impl FnMut() -> ControlFlow<B>,
    ) -> ControlFlow<B, (Stepped, &BatchSums<T>)> {
        let _flushing = flush_denormals();
        let in_passing =
            self.whole.is_none() && batch.len() <= self.block && optimizer.moves_in_passing();
        if in_passing {
            self.workspace.keep_weighted_inputs(false);
            self.begin(network, loss, batch, &mut poll)?;
            self.pass_over(network, loss, batch, 0..batch.len(), record, &mut poll)?;
            self.take_sums(record);
        } else {
            self.run(network, loss, batch, record, poll)?;
        }
        let stepped = self.move_by(
            network,
            batch.inputs(),
            (optimizer, factor),
            (in_passing, record),
        );
        ControlFlow::Continue((stepped, &self.sums))
    }

    /// The update by the sums of a batch, whose gradient is computed in passing or is there.
    fn move_by(
        &mut self,
        network: &mut Network<T>,
        x: Matrix<'_, T>,
        (optimizer, factor): (&mut Optimizer<T>, f64),
        (in_passing, record): (bool, bool),
    ) -> Stepped {
        let sums = &mut self.sums;
        if !sums.loss.is_finite() {
            return Stepped::NotFinite("loss");
        }
        if sums.weight <= 0.0 {
            if in_passing && record {
                for (layer, into) in sums.gradient.layers.iter_mut().enumerate() {
                    self.workspace.gradient(layer, x, into.slices_mut());
                }
            }
            return Stepped::Weightless;
        }
        let is_finite = if in_passing {
            optimizer.update_in_passing(
                network,
                &mut sums.gradient,
                (sums.weight, factor),
                (&mut self.workspace, x),
                (&self.team, record),
            )
        } else {
            optimizer.update(network, sums, factor)
        };
        if !is_finite {
            return Stepped::NotFinite("parameters");
        }
        if !self.follow(network) {
            return Stepped::NotFinite("running mean or variance");
        }
        Stepped::Moved
    }

    /// Begins the sums of a batch; where it is normalized as a whole, makes the passes over it.
    fn begin<B>(
        &mut self,
        network: &Network<T>,
        loss: Loss,
        batch: Batch<'_, T>,
        poll: &mut impl FnMut() -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let weights = (!self.weights.is_empty()).then_some(self.weights.as_slice());
        assert!(
            weights.is_none_or(|weights| weights.len() == batch.len()),
            "a weight for each sample"
        );
        self.tallies.begin();
        self.recordings.begin();
        if let Some(gradients) = &mut self.gradients {
            gradients.begin();
        }
        let (noise, step) = (self.noise.as_ref(), self.step);
        match &mut self.whole {
            Some(whole) => {
                let noise = |chunk: usize| noise.map(|noise| noise.of(step, chunk));
                whole.run(network, loss, (batch, weights), noise, poll)
            }
            None => ControlFlow::Continue(()),
        }
    }

    /// The passes over the rows of a block, where they have not been made yet, and what they add to all sums but the
    /// gradient.
    fn pass_over<B>(
        &mut self,
        network: &Network<T>,
        loss: Loss,
        batch: Batch<'_, T>,
        rows: Range<usize>,
        record: bool,
        poll: &mut impl FnMut() -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let first = rows.start / CHUNK;
        let weights = (!self.weights.is_empty()).then(|| &self.weights[rows.clone()]);
        if self.whole.is_some() {
            poll()?;
        } else {
            let (part, workspace, team) =
                (batch.slice(rows.clone()), &mut self.workspace, &self.team);
            let (x, count) = (part.inputs(), rows.len());
            let layers = network.layers().len();
            let mut polls = Polls::new(count.div_ceil(CHUNK).max(1), 2 * layers, poll);
            let noise = self.noise.as_ref().map(|noise| noise.of(self.step, first));
            polls.pass()?;
            workspace.take_targets(part.targets());
            workspace.take_inputs(network, x, noise);
            for layer in 0..layers {
                if layer > 0 {
                    polls.pass()?;
                }
                workspace.forward_layer(network, layer, x, noise, team);
            }
            workspace.output_deltas(network, loss, count, weights);
            for layer in (0..layers).rev() {
                polls.pass()?;
                workspace.lead_back(network, layer, count, None);
                workspace.pass_back(network, layer, count, team);
            }
        }
        for chunk in 0..rows.len().div_ceil(CHUNK).max(1) {
            let rows = rows_of(chunk, rows.len());
            let weights = weights.map(|weights| &weights[rows.clone()]);
            let workspace = of_block(&self.workspace, self.whole.as_ref(), first * CHUNK);
            let tally = self.tallies.leaf();
            tally.overwrite((network, loss), (workspace, rows), weights);
            self.tallies.add_leaf();
        }
        if record {
            let workspace = of_block(&self.workspace, self.whole.as_ref(), first * CHUNK);
            let recording = self.recordings.leaf();
            recording.overwrite(network, workspace, rows.len());
            self.recordings.add_leaf();
        }
        ControlFlow::Continue(())
    }

    /// The sums over all rows but the gradient, once all blocks have been passed over.
    fn take_sums(&mut self, record: bool) {
        let recording = record.then(|| self.recordings.total());
        self.sums.take(self.tallies.total(), recording);
    }
}

/// Where z, a and δ of the rows of a block are, from `first` on.
fn of_block<'a, T: Scalar>(
    workspace: &'a Workspace<T>,
    whole: Option<&'a WholeBatch<T>>,
    first: usize,
) -> &'a Workspace<T> {
    whole.map_or(workspace, |whole| whole.chunk(first / CHUNK))
}

/// Asks a poll so many times in all, spread evenly over the parts of a pass.
struct Polls<'a, P> {
    all: usize,
    parts: usize,
    part: usize,
    poll: &'a mut P,
}

impl<'a, B, P: FnMut() -> ControlFlow<B>> Polls<'a, P> {
    fn new(polls: usize, parts: usize, poll: &'a mut P) -> Self {
        Self {
            all: polls,
            parts,
            part: 0,
            poll,
        }
    }

    /// Before each part: asks as often as is due, the first time at least once.
    fn pass(&mut self) -> ControlFlow<B> {
        let due = |part: usize| (part * self.all).div_ceil(self.parts);
        let due = due(self.part + 1) - due(self.part);
        self.part += 1;
        for _ in 0..due {
            (self.poll)()?;
        }
        ControlFlow::Continue(())
    }
}
