//! Passes over all rows of a batch, layer by layer, for networks that normalize over the batch.

use std::convert::Infallible;
use std::ops::{ControlFlow, Range};

use ndarray::Array1;

use crate::nn::noise::ChunkNoise;
use crate::nn::{
    Batch, CHUNK, FixedTree, Loss, Network, Noise, Rightness, RowWeight, Scalar, Team, Workspace,
};

/// Memory for every chunk of a batch, so that a layer can be normalized over all of them before the next is computed.
///
/// The parts of the passes are those of [`Workspace`]; only their order differs: all chunks of a layer, then the next layer.
/// Sums over samples go through the fixed tree.
#[derive(Clone, Debug)]
pub(super) struct WholeBatch<T> {
    /// One for each chunk.
    chunks: Vec<Workspace<T>>,
    /// One for each layer; none where it is not normalized over the batch, or is frozen.
    layers: Vec<Option<Sums>>,
    /// Samples of the last pass.
    samples: usize,
}

/// Sums over the samples of a batch, for each unit of a layer.
#[derive(Clone, Debug)]
struct Sums {
    tree: FixedTree<Array1<f64>>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    /// Σ δ.
    of_deltas: Vec<f64>,
    /// Σ δ ⊙ n(u).
    of_products: Vec<f64>,
}

impl Sums {
    fn new(units: usize, largest_batch: usize) -> Self {
        Self {
            tree: FixedTree::new(largest_batch, || Array1::zeros(units)),
            mean: vec![0.0; units],
            variance: vec![0.0; units],
            of_deltas: vec![0.0; units],
            of_products: vec![0.0; units],
        }
    }
}

/// The rows of a chunk of a batch.
pub(super) fn rows_of(chunk: usize, samples: usize) -> Range<usize> {
    chunk * CHUNK..samples.min((chunk + 1) * CHUNK)
}

/// Σ over samples of what `row(chunk, row of the chunk, unit)` is, times `share`, for each unit.
fn sum_up(
    tree: &mut FixedTree<Array1<f64>>,
    (samples, share): (usize, f64),
    into: &mut [f64],
    row: impl Fn(usize, usize, usize) -> f64,
) {
    let sum = tree.sum(samples, |rows, sum| {
        sum.fill(0.0);
        for within in 0..rows.len() {
            for (unit, sum) in sum.iter_mut().enumerate() {
                *sum += row(rows.start / CHUNK, within, unit);
            }
        }
        ControlFlow::<Infallible, _>::Continue(())
    });
    let ControlFlow::Continue(sum) = sum;
    for (into, sum) in into.iter_mut().zip(sum) {
        *into = share * sum;
    }
}

impl<T: Scalar> WholeBatch<T> {
    /// Memory for batches of up to `largest_batch` samples.
    pub(super) fn new(network: &Network<T>, largest_batch: usize) -> Self {
        let chunks = largest_batch.div_ceil(CHUNK).max(1);
        let layers = network.layers().iter().map(|layer| {
            let by = layer.normalization.as_ref()?.by;
            by.is_of_batch()
                .then(|| Sums::new(layer.units(), largest_batch))
        });
        Self {
            chunks: vec![Workspace::for_rows(network, largest_batch); chunks],
            layers: layers.collect(),
            samples: 0,
        }
    }

    /// The same with memory for noise.
    pub(super) fn with(mut self, noise: &Noise) -> Self {
        let chunks = self.chunks.into_iter();
        self.chunks = chunks.map(|chunk| chunk.with(noise)).collect();
        self
    }

    /// The same, counting samples as answered right where this says so.
    pub(super) fn judging(mut self, rightness: Rightness) -> Self {
        let chunks = self.chunks.into_iter();
        self.chunks = chunks.map(|chunk| chunk.judging(rightness)).collect();
        self
    }

    /// The same, in which a layer goes by its running mean and variance, and leaves them.
    pub(super) fn freeze(&mut self, layer: usize) {
        self.layers[layer] = None;
    }

    /// The memory of a chunk.
    pub(super) fn chunk(&self, chunk: usize) -> &Workspace<T> {
        &self.chunks[chunk]
    }

    /// Polls that a pass asks for each chunk of rows, with that of the sums of its gradient.
    pub(super) fn polls_of_chunk(layers: usize) -> usize {
        2 * layers + 2
    }

    /// The forward and the backward pass over a batch. `poll` is asked before each chunk of each layer, and of the inputs.
    pub(super) fn run<'n, B>(
        &mut self,
        network: &Network<T>,
        loss: Loss,
        (batch, weights): (Batch<'_, T>, Option<&[RowWeight]>),
        noise: impl Fn(usize) -> Option<ChunkNoise<'n>>,
        poll: &mut impl FnMut() -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let samples = batch.len();
        self.samples = samples;
        let count = samples.div_ceil(CHUNK).max(1);
        let team = Team::alone();
        for (index, chunk) in self.chunks[..count].iter_mut().enumerate() {
            poll()?;
            let part = batch.slice(rows_of(index, samples));
            chunk.take_targets(part.targets());
            chunk.take_inputs(network, part.inputs(), noise(index));
        }
        for layer in 0..network.layers().len() {
            for (index, chunk) in self.chunks[..count].iter_mut().enumerate() {
                poll()?;
                let part = batch.slice(rows_of(index, samples));
                chunk.weigh(network, layer, part.inputs());
                chunk.take_running(network, layer);
            }
            self.take_batch(network, layer);
            for (index, chunk) in self.chunks[..count].iter_mut().enumerate() {
                let rows = rows_of(index, samples).len();
                chunk.activate(network, layer, rows, noise(index));
            }
        }
        for (index, chunk) in self.chunks[..count].iter_mut().enumerate() {
            let rows = rows_of(index, samples);
            let weights = weights.map(|weights| &weights[rows.clone()]);
            chunk.output_deltas(network, loss, rows.len(), weights);
        }
        for layer in (0..network.layers().len()).rev() {
            self.add_up_deltas(layer);
            let sums = self.layers[layer].as_ref().filter(|_| samples > 1);
            let sums = sums.map(|sums| (&*sums.of_deltas, &*sums.of_products, samples));
            for (index, chunk) in self.chunks[..count].iter_mut().enumerate() {
                poll()?;
                let rows = rows_of(index, samples).len();
                chunk.lead_back(network, layer, rows, sums);
                chunk.pass_back(network, layer, rows, &team);
            }
        }
        ControlFlow::Continue(())
    }

    /// The mean and variance of u = w·a over the batch, for the activation of a layer.
    fn take_batch(&mut self, network: &Network<T>, layer: usize) {
        let samples = self.samples;
        let (Some(sums), true) = (&mut self.layers[layer], samples > 1) else {
            return;
        };
        let share = (samples, 1.0 / samples as f64);
        let units = network.layers()[layer].units();
        let chunks = &self.chunks;
        let u = |chunk: usize, row: usize, unit: usize| {
            chunks[chunk].normalized(layer).values[row * units + unit].to_f64()
        };
        sum_up(&mut sums.tree, share, &mut sums.mean, u);
        let mean = &sums.mean;
        sum_up(
            &mut sums.tree,
            share,
            &mut sums.variance,
            |chunk, row, unit| {
                let difference = u(chunk, row, unit) - mean[unit];
                difference * difference
            },
        );
        let by = network.layers()[layer].normalization.as_ref();
        let epsilon = by.map_or(0.0, |normalized| normalized.by.epsilon());
        for chunk in &mut self.chunks {
            let normalized = chunk.normalized_mut(layer);
            normalized.take_batch(&sums.mean, &sums.variance, epsilon);
        }
    }

    /// Σ δ and Σ δ ⊙ n(u) of a layer that was normalized over the batch.
    fn add_up_deltas(&mut self, layer: usize) {
        let samples = self.samples;
        let (Some(sums), true) = (&mut self.layers[layer], samples > 1) else {
            return;
        };
        let whole = (samples, 1.0);
        let (chunks, units) = (&self.chunks, sums.mean.len());
        let delta = |chunk: usize, row: usize, unit: usize| {
            chunks[chunk].deltas_slice(layer)[row * units + unit].to_f64()
        };
        sum_up(&mut sums.tree, whole, &mut sums.of_deltas, delta);
        sum_up(
            &mut sums.tree,
            whole,
            &mut sums.of_products,
            |chunk, row, unit| {
                let value = chunks[chunk].normalized(layer).values[row * units + unit];
                delta(chunk, row, unit) * value.to_f64()
            },
        );
    }

    /// Moves the running means and variances of a network towards those of the last batch. False where any has become
    /// NaN or infinite. Allocates nothing.
    pub(super) fn follow(&self, network: &mut Network<T>) -> bool {
        if self.samples < 2 {
            return true;
        }
        let mut finite = true;
        for (layer, sums) in network.layers_mut().iter_mut().zip(&self.layers) {
            if let (Some(normalized), Some(sums)) = (&mut layer.normalization, sums) {
                finite &= normalized.follow((&sums.mean, &sums.variance), self.samples);
            }
        }
        finite
    }
}
