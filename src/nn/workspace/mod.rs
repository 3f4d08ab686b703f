//! The memory of a forward and a backward pass, allocated once.

mod backward;
mod embedded;
mod scores;

use std::ops::Range;

use ndarray::ArrayView2;

use crate::nn::kernel::{self, Filled, Matrix};
use crate::nn::noise::ChunkNoise;
use crate::nn::normalization::NormalizedRows;
use crate::nn::workspace::embedded::Embedded;
use crate::nn::{Activation, BLOCK, CHUNK, Layer, Network, Noise, Rightness, Scalar, Team};

/// Rows of a part of a pass are a multiple of this, which is that of the highest tile of a product.
const ROWS_TOGETHER: usize = 12;

/// Weights of a layer of which a chunk of rows is no work for two threads, and a block is work for several.
pub(crate) const LARGE_LAYER: usize = 1 << 14;

/// z, a and δ of every layer, and the targets y, of the rows of a pass.
///
/// Layers are counted from 0 here, as in `Network::layers`. The views of a layer are those of the last pass.
#[derive(Clone, Debug)]
pub struct Workspace<T> {
    capacity: usize,
    /// Numbers of an input row.
    width: usize,
    /// x with its noise; none where there is no such noise, and x stays where it is.
    inputs: Option<Rows<T>>,
    /// x with vectors in the place of categories; none where there are no embeddings.
    embedded: Option<Embedded<T>>,
    targets: Rows<T>,
    weighted_inputs: Vec<Rows<T>>,
    activations: Vec<Rows<T>>,
    deltas: Vec<Rows<T>>,
    /// One entry for each layer; none where no units are left out.
    dropped: Vec<Option<Dropped<T>>>,
    /// One entry for each layer; none where it is not normalized.
    normalized: Vec<Option<NormalizedRows<T>>>,
    rightness: Rightness,
    /// Whether z of every layer is written; else not that of hidden layers which have no use for it.
    keeps_weighted_inputs: bool,
    /// δ of a layer of many units, in the order in which its gradient reads them.
    panels: Vec<T>,
    /// Which layer's they are.
    panels_of: Option<usize>,
}

/// What dropout draws for a layer, and what it makes of its activations.
#[derive(Clone, Debug)]
struct Dropped<T> {
    /// m / (1 − p).
    factors: Rows<T>,
    /// m ⊙ a / (1 − p), which the next layer takes.
    activations: Rows<T>,
}

/// Rows of one width, one after another.
#[derive(Clone, Debug)]
struct Rows<T> {
    width: usize,
    values: Vec<T>,
}

impl<T: Scalar> Rows<T> {
    fn new(width: usize, rows: usize) -> Self {
        let values = vec![T::zero(); width * rows];
        kernel::prefer_large_pages(&values, Filled::No);
        Self { width, values }
    }

    fn slice(&self, rows: usize) -> &[T] {
        &self.values[..rows * self.width]
    }

    fn slice_mut(&mut self, rows: usize) -> &mut [T] {
        &mut self.values[..rows * self.width]
    }

    fn part(&self, rows: Range<usize>) -> &[T] {
        &self.values[rows.start * self.width..rows.end * self.width]
    }

    fn matrix(&self, rows: usize) -> Matrix<'_, T> {
        Matrix::new(self.slice(rows), self.width)
    }

    fn view(&self, rows: Range<usize>) -> ArrayView2<'_, T> {
        ArrayView2::from_shape((rows.len(), self.width), self.part(rows))
            .expect("the part is rows × width long")
    }

    fn copy_from(&mut self, rows: Matrix<'_, T>) {
        if let Some(numbers) = rows.in_order() {
            self.values[..numbers.len()].copy_from_slice(numbers);
            return;
        }
        if self.width == 1 {
            for (index, place) in self.values.iter_mut().enumerate().take(rows.len()) {
                *place = rows.row(index)[0];
            }
            return;
        }
        let places = self.values.chunks_exact_mut(self.width);
        for (index, place) in places.enumerate().take(rows.len()) {
            place.copy_from_slice(rows.row(index));
        }
    }
}

impl<T: Scalar> Workspace<T> {
    /// Memory to predict `CHUNK` rows at a time.
    pub fn new(network: &Network<T>) -> Self {
        Self::for_rows(network, CHUNK)
    }

    /// Memory to predict `rows` rows at a time, at least 1 and at most `CHUNK`: enough where there are never more.
    pub fn for_rows(network: &Network<T>, rows: usize) -> Self {
        Self::of_capacity(network, rows.clamp(1, CHUNK))
    }

    /// Memory to train on `rows` rows at a time, at least 1 and at most [`Workspace::most_rows`].
    pub(super) fn for_training(network: &Network<T>, rows: usize) -> Self {
        let capacity = rows.clamp(1, Self::most_rows(network));
        let units = Self::units_far_apart(network);
        Self {
            panels: vec![T::zero(); capacity * units.next_multiple_of(kernel::PANEL_UNITS)],
            ..Self::of_capacity(network, capacity)
        }
    }

    /// Memory to evaluate `rows` rows: a block at a time where a layer is so large that its panels, or a second thread, pay
    /// only then; else a chunk, whose numbers stay in the nearest cache.
    pub(super) fn for_evaluation(network: &Network<T>, rows: usize) -> Self {
        let mut layers = network.layers().iter();
        let is_large = layers.any(|layer| layer.weights.len() >= LARGE_LAYER);
        let most = if is_large { BLOCK } else { CHUNK };
        Self {
            keeps_weighted_inputs: false,
            ..Self::of_capacity(network, rows.clamp(1, most))
        }
    }

    /// Units of the widest layer, where its numbers are far apart; else 0.
    fn units_far_apart(network: &Network<T>) -> usize {
        let widths = network.layers().iter().map(Layer::units);
        let far_apart = widths.filter(|&units| kernel::is_far_apart::<T>(units));
        far_apart.max().unwrap_or_default()
    }

    /// Rows that are trained on at a time: a block, or a chunk where layers are normalized.
    pub(super) fn most_rows(network: &Network<T>) -> usize {
        let mut layers = network.layers().iter();
        if layers.any(|layer| layer.normalization.is_some()) {
            CHUNK
        } else {
            BLOCK
        }
    }

    fn of_capacity(network: &Network<T>, capacity: usize) -> Self {
        let layers = || {
            network
                .layers()
                .iter()
                .map(|layer| Rows::new(layer.units(), capacity))
                .collect()
        };
        Self {
            capacity,
            width: network.inputs(),
            inputs: None,
            embedded: Embedded::new(network, capacity),
            targets: Rows::new(network.outputs(), capacity),
            weighted_inputs: layers(),
            activations: layers(),
            deltas: layers(),
            dropped: vec![None; network.layers().len()],
            normalized: (network.layers().iter())
                .map(|layer| {
                    let by = layer.normalization.as_ref()?.by;
                    Some(NormalizedRows::new(by, layer.units(), capacity))
                })
                .collect(),
            rightness: Rightness::default(),
            keeps_weighted_inputs: true,
            panels: Vec::new(),
            panels_of: None,
        }
    }

    /// The same, counting rows as right where this says so.
    pub(crate) fn judging(mut self, rightness: Rightness) -> Self {
        self.rightness = rightness;
        self
    }

    /// The same, with memory for passes with this noise, which every forward pass must then be given.
    pub(crate) fn with(mut self, noise: &Noise) -> Self {
        for (index, (dropped, a)) in self.dropped.iter_mut().zip(&self.activations).enumerate() {
            *dropped = noise.drops(index + 1).then(|| Dropped {
                factors: Rows::new(a.width, self.capacity),
                activations: Rows::new(a.width, self.capacity),
            });
        }
        let disturbs = noise.disturbs();
        self.inputs = disturbs.then(|| Rows::new(self.width, self.capacity));
        self
    }

    /// From now on, keeps z of every layer, or only where something is computed from it.
    pub(super) fn keep_weighted_inputs(&mut self, all: bool) {
        self.keeps_weighted_inputs = all;
    }

    /// The most rows that a pass may have here.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes y of the rows of a pass, (rows × J).
    ///
    /// Panics: where there are more rows than the capacity, the caller's bug.
    pub(crate) fn take_targets(&mut self, targets: Matrix<'_, T>) {
        assert!(targets.len() <= self.capacity, "as many rows as fit");
        self.targets.copy_from(targets);
    }

    /// y, (rows × J).
    pub fn targets(&self, rows: Range<usize>) -> ArrayView2<'_, T> {
        self.targets.view(rows)
    }

    /// z of a layer, (rows × J).
    pub fn weighted_inputs(&self, layer: usize, rows: Range<usize>) -> ArrayView2<'_, T> {
        self.weighted_inputs[layer].view(rows)
    }

    /// a of a layer, (rows × J), before units of it are left out.
    pub fn activations(&self, layer: usize, rows: Range<usize>) -> ArrayView2<'_, T> {
        self.activations[layer].view(rows)
    }

    /// δ of a layer, (rows × J).
    pub fn deltas(&self, layer: usize, rows: Range<usize>) -> ArrayView2<'_, T> {
        self.deltas[layer].view(rows)
    }

    /// z = w·a + b and a = σ(z), layer after layer, from the inputs. The one forward pass of this program.
    ///
    /// With noise, which training alone has, x is disturbed, and a layer takes m ⊙ a / (1 − p) of the one before it. Batch
    /// normalization goes by the running mean and variance. Panics: where the workspace has memory for other noise than
    /// is given, the caller's bug.
    pub(crate) fn forward(
        &mut self,
        network: &Network<T>,
        x: Matrix<'_, T>,
        noise: Option<ChunkNoise<'_>>,
        team: &Team,
    ) {
        self.take_inputs(network, x, noise);
        for index in 0..network.layers().len() {
            self.forward_layer(network, index, x, noise, team);
        }
    }

    /// One layer of the forward pass.
    pub(super) fn forward_layer(
        &mut self,
        network: &Network<T>,
        index: usize,
        x: Matrix<'_, T>,
        noise: Option<ChunkNoise<'_>>,
        team: &Team,
    ) {
        let layer = &network.layers()[index];
        if layer.normalization.is_some() {
            self.weigh(network, index, x);
            self.take_running(network, index);
            self.activate(network, index, x.len(), noise);
            return;
        }
        let rows = x.len();
        let (before, here) = self.activations.split_at_mut(index);
        let inputs = read(self.inputs.as_ref(), self.embedded.as_ref());
        let x = taken(inputs, before, &self.dropped[..index], x);
        let (units, inputs) = (layer.units(), layer.inputs());
        let arrays = [
            (self.weighted_inputs[index].slice_mut(rows), units),
            (here[0].slice_mut(rows), units),
        ];
        let (w, b) = (layer.weights_slice(), layer.biases_slice());
        let work = rows.saturating_mul(units).saturating_mul(inputs);
        let is_hidden = index + 1 < network.layers().len();
        let keeps_z = self.keeps_weighted_inputs || !is_hidden;
        team.split(rows, ROWS_TOGETHER, work, arrays, |part, [z, a]| {
            let x = x.slice(part);
            if layer.activation == Activation::Relu {
                let z = keeps_z.then_some(z);
                return kernel::forward_rectified(x, w, b, (z, a));
            }
            kernel::forward(x, w, Some(b), z);
            layer.activation.apply(units, z, a);
        });
        self.drop_out(index, rows, noise);
    }

    /// The noise of the inputs.
    ///
    /// Panics: where there are more rows than the capacity, the caller's bug.
    fn disturb(&mut self, x: Matrix<'_, T>, noise: Option<ChunkNoise<'_>>) {
        assert!(x.len() <= self.capacity, "as many rows as fit");
        if let Some(inputs) = &mut self.inputs {
            let noise = noise.expect("a workspace for noise is given it");
            inputs.copy_from(x);
            let chunks = inputs.width * CHUNK;
            for (index, x) in inputs.slice_mut(x.len()).chunks_mut(chunks).enumerate() {
                noise.plus(index).disturb(x);
            }
        }
    }

    /// The first part of the forward pass of a layer: u = w·a where it is normalized, else z = w·a + b.
    pub(crate) fn weigh(&mut self, network: &Network<T>, index: usize, x: Matrix<'_, T>) {
        let layer = &network.layers()[index];
        let rows = x.len();
        let (before, dropped) = (&self.activations[..index], &self.dropped[..index]);
        let inputs = read(self.inputs.as_ref(), self.embedded.as_ref());
        let x = taken(inputs, before, dropped, x);
        let (into, biases) = match &mut self.normalized[index] {
            Some(normalized) => (&mut normalized.values[..rows * layer.units()], None),
            None => (
                self.weighted_inputs[index].slice_mut(rows),
                Some(layer.biases_slice()),
            ),
        };
        kernel::forward(x, layer.weights_slice(), biases, into);
    }

    /// The running mean and variance of a layer, where it is normalized by them, for the next [`Workspace::activate`].
    pub(crate) fn take_running(&mut self, network: &Network<T>, index: usize) {
        let normalization = network.layers()[index].normalization.as_ref();
        if let (Some(normalized), Some(layer)) = (&mut self.normalized[index], normalization) {
            normalized.take_running(layer);
        }
    }

    /// From w·a to z and a = σ(z) of one layer: the second part of its forward pass.
    pub(crate) fn activate(
        &mut self,
        network: &Network<T>,
        index: usize,
        rows: usize,
        noise: Option<ChunkNoise<'_>>,
    ) {
        let layer = &network.layers()[index];
        let z = self.weighted_inputs[index].slice_mut(rows);
        if let (Some(normalized), Some(by)) = (&mut self.normalized[index], &layer.normalization) {
            normalized.normalize(by, layer.biases_slice(), z);
        }
        let a = self.activations[index].slice_mut(rows);
        layer.activation.apply(layer.units(), z, a);
        self.drop_out(index, rows, noise);
    }

    /// Leaves units of a layer out, where the workspace is for it.
    fn drop_out(&mut self, index: usize, rows: usize, noise: Option<ChunkNoise<'_>>) {
        let Some(dropped) = &mut self.dropped[index] else {
            return;
        };
        let noise = noise.expect("a workspace for noise is given it");
        let chunk = self.activations[index].width * CHUNK;
        let a = self.activations[index].slice(rows).chunks(chunk);
        let factors = dropped.factors.slice_mut(rows).chunks_mut(chunk);
        let dropped = dropped.activations.slice_mut(rows).chunks_mut(chunk);
        for (chunk, ((a, factors), dropped)) in a.zip(factors).zip(dropped).enumerate() {
            noise.plus(chunk).drop_out(index + 1, a, factors, dropped);
        }
    }

    /// The normalized rows of a layer. Panics: where it is not normalized, the caller's bug.
    pub(super) fn normalized(&self, layer: usize) -> &NormalizedRows<T> {
        let normalized = self.normalized[layer].as_ref();
        normalized.expect("the layer is normalized")
    }

    /// The same, to be changed.
    pub(super) fn normalized_mut(&mut self, layer: usize) -> &mut NormalizedRows<T> {
        let normalized = self.normalized[layer].as_mut();
        normalized.expect("the layer is normalized")
    }

    /// δ of a layer, row by row, of the last pass and beyond.
    pub(super) fn deltas_slice(&self, layer: usize) -> &[T] {
        &self.deltas[layer].values
    }
}

/// The inputs as layer 1 reads them; none where it reads x as it is.
fn read<'a, T: Scalar>(
    inputs: Option<&'a Rows<T>>,
    embedded: Option<&'a Embedded<T>>,
) -> Option<&'a Rows<T>> {
    embedded.map(Embedded::rows).or(inputs)
}

/// What the layer after these takes: x where there is none, else a of the last, without the units that were left out.
fn taken<'a, T: Scalar>(
    inputs: Option<&'a Rows<T>>,
    before: &'a [Rows<T>],
    dropped: &'a [Option<Dropped<T>>],
    x: Matrix<'a, T>,
) -> Matrix<'a, T> {
    let rows = x.len();
    match (before.last(), dropped.last()) {
        (Some(_), Some(Some(dropped))) => dropped.activations.matrix(rows),
        (Some(activations), Some(None) | None) => activations.matrix(rows),
        (None, _) => inputs.map_or(x, |inputs| inputs.matrix(rows)),
    }
}
