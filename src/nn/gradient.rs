//! What one pass over the samples of a batch adds up.

use std::mem::swap;
use std::ops::Range;

use ndarray::{Array1, Array2, ShapeBuilder};

use crate::nn::kernel::{Arithmetic, Filled, Loops, prefer_large_pages, vectorize};
use crate::nn::spread::spread;
use crate::nn::{
    Accumulator, Activation, Bins, Loss, Moments, Network, RowWeight, Scalar, Workspace,
};

/// ∂C/∂w, ∂C/∂b and ∂C/∂γ of every layer, and ∂C/∂E of every embedding, in the shapes of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient<T> {
    /// One entry per layer, in the order of `Network::layers`, then one per embedding, whose weights are its table
    /// (dimensions × categories).
    pub layers: Vec<LayerGradient<T>>,
}

/// ∂C/∂w, ∂C/∂b and ∂C/∂γ of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerGradient<T> {
    /// (J × K), column by column in memory, as [`crate::nn::Layer::weights`].
    pub weights: Array2<T>,
    /// (J).
    pub biases: Array1<T>,
    /// (J), where the layer is normalized; else empty.
    pub scales: Array1<T>,
}

impl<T: Scalar> Gradient<T> {
    /// All zeros, in the shapes of the network.
    pub fn zeros(network: &Network<T>) -> Self {
        let layers = network.parts().iter().map(|layer| {
            let gradient = LayerGradient {
                weights: Array2::zeros(layer.weights.raw_dim().f()),
                biases: Array1::zeros(layer.biases.len()),
                scales: Array1::zeros(layer.normalization.as_ref().map_or(0, |_| layer.units())),
            };
            prefer_large_pages(gradient.slices()[0], Filled::No);
            gradient
        });
        Self {
            layers: layers.collect(),
        }
    }

    /// Becomes a copy of another of the same shapes. Allocates nothing.
    pub fn copy_from(&mut self, other: &Self) {
        for (layer, other) in self.layers.iter_mut().zip(&other.layers) {
            layer.weights.assign(&other.weights);
            layer.biases.assign(&other.biases);
            layer.scales.assign(&other.scales);
        }
    }
}

impl<T: Scalar> LayerGradient<T> {
    /// The weights in the order of `Layer::weights_slice`, the biases, and the scales.
    pub(crate) fn slices(&self) -> [&[T]; 3] {
        let contiguous = "a gradient is made in one piece";
        [
            self.weights.as_slice_memory_order().expect(contiguous),
            self.biases.as_slice().expect(contiguous),
            self.scales.as_slice().expect(contiguous),
        ]
    }

    /// The same, to be changed.
    pub(crate) fn slices_mut(&mut self) -> [&mut [T]; 3] {
        let contiguous = "a gradient is made in one piece";
        [
            self.weights.as_slice_memory_order_mut().expect(contiguous),
            self.biases.as_slice_mut().expect(contiguous),
            self.scales.as_slice_mut().expect(contiguous),
        ]
    }
}

impl<T: Scalar> Accumulator for Gradient<T> {
    fn add(&mut self, other: &Self) {
        for (sum, other) in self.layers.iter_mut().zip(&other.layers) {
            sum.weights += &other.weights;
            sum.biases += &other.biases;
            sum.scales += &other.scales;
        }
    }
}

/// Sums (not means) over the samples of a batch, of weights wₙ in the loss and vₙ in figures: 1 where there are none.
#[derive(Clone, Debug)]
pub struct BatchSums<T> {
    /// Σₙ wₙ ∇Cₙ.
    pub gradient: Gradient<T>,
    /// Σₙ wₙ Cₙ.
    pub loss: f64,
    /// Σₙ vₙ over the samples that were answered right.
    pub correct: f64,
    /// N.
    pub samples: usize,
    /// Σₙ wₙ, by which loss and gradient are divided.
    pub weight: f64,
    /// Σₙ vₙ, by which `correct` is divided.
    pub figure_weight: f64,
    /// One entry per layer where the pass recorded, else empty.
    pub moments: Vec<LayerMoments>,
    /// Where `moments` rests while a pass does not record, so that no pass allocates.
    resting: Vec<LayerMoments>,
}

impl<T: Scalar> BatchSums<T> {
    /// The sums over no samples, not recording.
    pub fn zeros(network: &Network<T>) -> Self {
        Self {
            gradient: Gradient::zeros(network),
            loss: 0.0,
            correct: 0.0,
            samples: 0,
            weight: 0.0,
            figure_weight: 0.0,
            moments: Vec::new(),
            resting: Recording::new(network).layers,
        }
    }

    /// Σₙ wₙ Cₙ / Σₙ wₙ; 0 of nothing.
    pub fn mean_loss(&self) -> f64 {
        if self.weight == 0.0 {
            0.0
        } else {
            self.loss / self.weight
        }
    }

    /// Takes what is no gradient from the sums of a pass: the moments where it recorded.
    pub(super) fn take(&mut self, tally: &Tally, recording: Option<&mut Recording>) {
        self.loss = tally.loss;
        self.correct = tally.correct;
        self.samples = tally.samples;
        self.weight = tally.weight;
        self.figure_weight = tally.figure_weight;
        if recording.is_some() == self.moments.is_empty() {
            swap(&mut self.moments, &mut self.resting);
        }
        if let Some(recording) = recording {
            swap(&mut self.moments, &mut recording.layers);
        }
    }
}

/// The parts of [`BatchSums`] that are neither gradient nor moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    loss: f64,
    correct: f64,
    samples: usize,
    weight: f64,
    figure_weight: f64,
}

impl Tally {
    /// Overwrites everything with the sums over some rows of the workspace's last passes.
    pub(super) fn overwrite<T: Scalar>(
        &mut self,
        (network, loss): (&Network<T>, Loss),
        (workspace, rows): (&Workspace<T>, Range<usize>),
        weights: Option<&[RowWeight]>,
    ) {
        self.samples = rows.len();
        if let Some(weights) = weights {
            let weight = |row: usize| weights[row].loss;
            self.loss = workspace.weighted_loss(network, loss, rows.clone(), weight);
            let weight = |row: usize| weights[row].figures;
            self.correct = workspace.weighted_correct(rows.clone(), weight);
            self.weight = weights.iter().map(|weight| weight.loss).sum();
            self.figure_weight = weights.iter().map(|weight| weight.figures).sum();
        } else {
            self.loss = workspace.loss(network, loss, rows.clone());
            self.correct = workspace.correct(rows.clone()) as f64;
            self.weight = rows.len() as f64;
            self.figure_weight = rows.len() as f64;
        }
    }
}

impl Accumulator for Tally {
    fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.correct += other.correct;
        self.samples += other.samples;
        self.weight += other.weight;
        self.figure_weight += other.figure_weight;
    }
}

/// The moments of every layer over a block of samples, or over blocks.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    layers: Vec<LayerMoments>,
}

impl Recording {
    /// Over no samples.
    pub(super) fn new<T: Scalar>(network: &Network<T>) -> Self {
        let layers = network.layers().iter();
        Self {
            layers: layers
                .map(|layer| LayerMoments::new(layer.activation, layer.units()))
                .collect(),
        }
    }

    /// Overwrites everything with what the first rows of the workspace's last passes come to.
    pub(super) fn overwrite<T: Scalar>(
        &mut self,
        network: &Network<T>,
        workspace: &Workspace<T>,
        rows: usize,
    ) {
        for (index, moments) in self.layers.iter_mut().enumerate() {
            let (deltas, activations) = (
                workspace.deltas(index, 0..rows).to_slice(),
                workspace.activations(index, 0..rows).to_slice(),
            );
            let rows = "the rows of a workspace stand one after another";
            let layer = &network.layers()[index];
            let arrays = (deltas.expect(rows), activations.expect(rows));
            moments.overwrite(layer.activation, layer.units(), arrays);
        }
    }
}

impl Accumulator for Recording {
    fn add(&mut self, other: &Self) {
        for (sum, other) in self.layers.iter_mut().zip(&other.layers) {
            sum.add(other);
        }
    }
}

/// How the deltas (times the weights of their samples) and activations of one layer are spread over a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMoments {
    /// Of δ, over all samples and units.
    pub deltas: Moments,
    /// Of a, over all samples and units.
    pub activations: Moments,
    /// Of δ, over all samples and units.
    pub delta_bins: Bins,
    /// Of a, over all samples and units.
    pub activation_bins: Bins,
    /// How many activations are saturated: sigmoid below 0.01 or above 0.99, tanh and softsign beyond ±0.99,
    /// hard_sigmoid at 0 or 1, others never.
    pub saturated: u64,
    /// How many activations there are: N·J.
    pub entries: u64,
    /// For each unit of a relu layer, on how many samples it was not 0; empty for other activations.
    pub active: Vec<u32>,
}

impl LayerMoments {
    fn new(activation: Activation, units: usize) -> Self {
        Self {
            deltas: Moments::default(),
            activations: Moments::default(),
            delta_bins: Bins::default(),
            activation_bins: Bins::default(),
            saturated: 0,
            entries: 0,
            active: if activation == Activation::Relu {
                vec![0; units]
            } else {
                Vec::new()
            },
        }
    }

    fn overwrite<T: Scalar>(
        &mut self,
        activation: Activation,
        units: usize,
        (deltas, activations): (&[T], &[T]),
    ) {
        (self.deltas, self.delta_bins) = spread(deltas);
        (self.activations, self.activation_bins) = spread(activations);
        self.saturated = activation.saturated(activations);
        self.entries = activations.len() as u64;
        if !self.active.is_empty() {
            self.active.fill(0);
            vectorize(CountActive {
                units,
                activations,
                active: &mut self.active,
            });
        }
    }
}

/// Counts, for each unit, the rows in which it is not 0.
struct CountActive<'a, T> {
    units: usize,
    activations: &'a [T],
    active: &'a mut [u32],
}

impl<T: Scalar> Loops for CountActive<'_, T> {
    type Output = ();

    #[expect(
        clippy::inline_always,
        reason = "it must be compiled with the features of the function that calls it"
    )]
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for row in self.activations.chunks_exact(self.units) {
            for (active, &a) in self.active.iter_mut().zip(row) {
                *active = active.wrapping_add(u32::from(a != T::zero()));
            }
        }
    }
}

impl Accumulator for LayerMoments {
    fn add(&mut self, other: &Self) {
        self.deltas.add(&other.deltas);
        self.activations.add(&other.activations);
        self.delta_bins.add(&other.delta_bins);
        self.activation_bins.add(&other.activation_bins);
        self.saturated += other.saturated;
        self.entries += other.entries;
        for (sum, other) in self.active.iter_mut().zip(&other.active) {
            *sum += other;
        }
    }
}
